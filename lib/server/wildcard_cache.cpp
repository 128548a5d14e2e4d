#include "server/wildcard_cache.h"

#include "base/log.h"
#include "host/host_record.h"
#include "host/keys.h"
#include <proxycore/host_trie.h>

#include <utility>

namespace proxycore::server {

namespace {

namespace keys = host::keys;

constexpr Millis limit{10'000};
constexpr Millis retry_pause{1'000};
constexpr std::size_t most_changed = 10'000;  // beyond: as if any had

// There is none, or one that nobody can read.
bool is_no_record(const Error& why) {
  return why.code == Errc::not_found || why.code == Errc::invalid || why.code == Errc::limit;
}

}  // namespace

WildcardCache::WildcardCache(Store& store, const base::Snapshot<host::RouteTable>& table,
                             Seconds ttl, std::size_t most)
    : store_(store), table_(table), ttl_(ttl), most_(most) {
  auto watching = store_.watch(keys::cached_prefix, [this](std::string_view key) {
    const std::lock_guard lock(mutex_);
    if (key == keys::cached_prefix || row_keys_.size() >= most_changed) {
      any_row_ = true;
      row_keys_.clear();
    } else {
      row_keys_.emplace(key);
    }
    wake_.notify_one();
  });
  if (watching) {
    watch_ = *std::move(watching);
  } else {
    base::log::error("store.watch",
                     {{"store", store_.describe()}, {"why", watching.error().message()}});
  }
  thread_ = std::thread([this] { run(); });
}

WildcardCache::~WildcardCache() {
  watch_.reset();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  stop_.request_stop();
  wake_.notify_one();
  thread_.join();
}

void WildcardCache::hit(std::string_view name, std::string_view parent) {
  const std::lock_guard lock(mutex_);
  if (hits_.size() >= max_waiting) return;
  hits_.push_back({std::string(name), std::string(parent)});
  wake_.notify_one();
}

void WildcardCache::changed(std::span<const std::string> names) {
  const std::lock_guard lock(mutex_);
  if (names.empty() || changed_.size() + names.size() > most_changed) {
    any_changed_ = true;
    changed_.clear();
  } else if (!any_changed_) {
    changed_.insert(changed_.end(), names.begin(), names.end());
  }
  wake_.notify_one();
}

void WildcardCache::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] {
      return ending_ || any_row_ || !row_keys_.empty() || any_changed_ || !changed_.empty() ||
             !hits_.empty();
    });
    if (ending_) return;
    const bool any_row = std::exchange(any_row_, false);
    const auto row_keys = std::exchange(row_keys_, {});
    const bool any_changed = std::exchange(any_changed_, false);
    auto changed = std::exchange(changed_, {});
    const auto hits = std::exchange(hits_, {});
    lock.unlock();

    const Deadline by = Deadline::in(limit, stop_.get_token());
    expire();
    Result<void> done = finish_removing(by);
    if (done && any_row) done = load(by);
    if (done) done = note_rows(row_keys, by);
    for (const Hit& hit : hits) {
      if (done) done = write(hit, by);
    }
    // After new rows: they may be of what was there before the change.
    if (done && any_changed) {
      changed.clear();
      for (const auto& row : rows_) changed.push_back(row.second.parent);
    }
    if (done) done = bust(changed, by);

    lock.lock();
    if (done || ending_) continue;
    // Rows that outlive their wildcard would be wrong; one that is not written is only slower.
    any_row_ = true;
    any_changed_ = any_changed_ || any_changed || !changed.empty();
    base::log::warning("wildcard_cache",
                       {{"store", store_.describe()}, {"why", done.error().message()}});
    wake_.wait_for(lock, retry_pause, [this] { return ending_; });
  }
}

Result<void> WildcardCache::load(const Deadline& by) {
  rows_.clear();
  count_.clear();
  ends_.clear();
  return store_.scan(
      keys::cached_prefix,
      [this](std::string_view key, Record&& record) {
        const auto parent = record.find("parent");
        if (parent == record.end()) return;
        add_row(std::string(key.substr(keys::cached_prefix.size())), parent->second);
      },
      by);
}

Result<void> WildcardCache::note_rows(const std::set<std::string, std::less<>>& keys,
                                      const Deadline& by) {
  for (const std::string& key : keys) {
    const std::string name = key.substr(keys::cached_prefix.size());
    auto record = store_.get(key, by);
    if (!record && !is_no_record(record.error())) return std::move(record).error();
    const auto known = rows_.find(name);
    const auto parent = record ? record->find("parent") : Record::iterator{};
    const bool is_row = record && parent != record->end();
    // Its time began anew if the store has it again.
    if (known != rows_.end() && is_row && known->second.parent == parent->second) continue;
    remove_row(name);
    if (is_row) add_row(name, parent->second);
  }
  return {};
}

Result<void> WildcardCache::write(const Hit& hit, const Deadline& by) {
  if (rows_.contains(hit.name)) return {};
  if (const auto count = count_.find(hit.parent); count != count_.end() && count->second >= most_) {
    return {};
  }
  // The table that answered may be an older one, whose change has been seen to before this hit.
  const auto table = table_.current();
  const Route* route = table ? table->find(hit.name) : nullptr;
  if (route == nullptr || route->pattern != hit.parent) return {};
  // As it is now: who was hit may know of an older one.
  auto parent = store_.get(keys::host(hit.parent), by);
  if (!parent) return is_no_record(parent.error()) ? Result<void>{} : std::move(parent).error();
  // What it is found by when its wildcard changes comes first, so that nobody can leave a row
  // without it; and again, as another service may have removed it with a row of before.
  const std::string cached = keys::cached(hit.name);
  const Record entry = {{"host", hit.name}, {"parent", hit.parent}};
  PX_CHECK(store_.put(cached, entry, ttl_, by));
  Record record = *std::move(parent);
  record["host"] = hit.name;
  record["is_cache"] = "true";
  record["is_wildcard"] = "false";
  record["wildcard_parent"] = hit.parent;
  auto created = store_.create(keys::host(hit.name), record, ttl_, by);
  if (created) PX_CHECK(store_.put(cached, entry, ttl_, by));
  if (created || (created.error().code == Errc::conflict && is_row(hit.name, by))) {
    add_row(hit.name, hit.parent);
    return {};
  }
  PX_CHECK(store_.erase(cached, by));
  // A host of that name is there: nothing to do.
  if (created.error().code == Errc::conflict) return {};
  return created;
}

bool WildcardCache::is_row(const std::string& name, const Deadline& by) {
  const auto record = store_.get(keys::host(name), by);
  return record && host::is_cache_row(*record);
}

// Removes the rows of these wildcards, those that one of them could answer now, and what is left of
// a row where a host of that name was made.
Result<void> WildcardCache::bust(std::span<const std::string> names, const Deadline& by) {
  if (names.empty() || rows_.empty()) return {};
  const std::set<std::string_view> changed(names.begin(), names.end());
  HostTrie<char> patterns;
  for (const std::string& name : names) {
    if (name.find('*') != std::string::npos) (void)patterns.insert(name, 0);  // twice is no harm
  }
  std::vector<std::string> gone;
  std::vector<std::string> replaced;
  for (const auto& [name, row] : rows_) {
    if (changed.contains(row.parent) || patterns.find(name) != nullptr) {
      gone.push_back(name);
    } else if (changed.contains(name)) {
      replaced.push_back(name);
    }
  }
  for (const std::string& name : gone) PX_CHECK(remove(name, If::any, by));
  for (const std::string& name : replaced) PX_CHECK(remove(name, If::replaced, by));
  return {};
}

Result<void> WildcardCache::remove(const std::string& name, If condition, const Deadline& by) {
  if (condition == If::replaced) {
    auto record = store_.get(keys::host(name), by);
    if (!record && !is_no_record(record.error())) return std::move(record).error();
    // That a row was written is told as a change of the host, too.
    if (record && host::is_cache_row(*record)) return {};
  }
  removing_.insert(name);
  // In this order, so that another service that writes the row anew meanwhile leaves it whole.
  PX_CHECK(store_.erase(keys::cached(name), by));
  // A host of its own that somebody makes of that name meanwhile stays.
  auto erased = store_.erase_if(keys::host(name), host::is_cache_row, by);
  if (!erased && !is_no_record(erased.error())) return std::move(erased).error();
  removing_.erase(name);
  remove_row(name);
  return {};
}

// A row without its entry is found by nobody.
Result<void> WildcardCache::finish_removing(const Deadline& by) {
  const auto names = removing_;
  for (const std::string& name : names) PX_CHECK(remove(name, If::any, by));
  return {};
}

void WildcardCache::add_row(const std::string& name, const std::string& parent) {
  const auto until = Deadline::Clock::now() + ttl_;
  if (!rows_.try_emplace(name, Row{parent, until}).second) return;
  ++count_[parent];
  ends_.emplace_back(until, name);
}

void WildcardCache::remove_row(const std::string& name) {
  const auto row = rows_.find(name);
  if (row == rows_.end()) return;
  const auto count = count_.find(row->second.parent);
  if (--count->second == 0) count_.erase(count);
  rows_.erase(row);
}

// What the store has dropped by itself.
void WildcardCache::expire() {
  const auto now = Deadline::Clock::now();
  while (!ends_.empty() && ends_.front().first <= now) {
    const auto row = rows_.find(ends_.front().second);
    if (row != rows_.end() && row->second.until <= now) remove_row(ends_.front().second);
    ends_.pop_front();
  }
}

}  // namespace proxycore::server
