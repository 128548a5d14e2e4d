#include "server/route_feed.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/keys.h"

#include <algorithm>
#include <utility>

namespace proxycore::server {

namespace {

// For all hosts; a store that does not answer at all is given up long before.
constexpr Millis store_limit{120'000};
// After a change in the store, the time for others to join it.
constexpr Millis settle_time{20};
constexpr Millis retry_pause{1'000};
constexpr Millis look_pause{1'000};  // between two looks at the store's health
constexpr std::int64_t confirm_pause =
    10'000;                                  // milliseconds between two confirmations of the copy
constexpr std::size_t most_pending = 4'096;  // changed hosts; beyond, the table is built whole
// Who is asked for hosts may learn of a change after us: it is told again.
constexpr Millis repeats[] = {Millis{40}, Millis{200}, Millis{1'000}};
constexpr std::size_t most_repeats = 1'000;  // beyond, it is told once
// Fewer may go at once without anybody asking why.
constexpr std::size_t least_suspicious = 100;

bool is_conflict(const Error& why) {
  return why.code == Errc::conflict || why.code == Errc::invalid;
}

}  // namespace

RouteFeed::RouteFeed(RouteSource& source, Store& store, base::Snapshot<host::RouteTable>& table,
                     Options options)
    : source_(source), store_(store), table_(table), options_(options) {}

RouteFeed::~RouteFeed() {
  stop();
}

Result<void> RouteFeed::prepare() {
  // Before the first look, so that no change falls in between.
  auto watching =
      store_.watch(host::keys::host_prefix, [this](std::string_view key) { note(key); });
  if (watching) {
    watch_ = *std::move(watching);
  } else {
    base::log::error("store.watch",
                     {{"store", store_.describe()}, {"why", watching.error().message()}});
  }
  if (options_.whole && options_.copy != nullptr) {
    mirror_ = std::make_unique<Mirror>(store_, *options_.copy, host::keys::host_prefix);
  }
  auto read = read_whole(RouteSource::Clash::refuse, Belief::told, {});
  if (read || !options_.remote || is_conflict(read.error())) return read;
  return read_copy();
}

void RouteFeed::start(Changed changed) {
  changed_ = std::move(changed);
  thread_ = std::thread([this] { run(); });
}

void RouteFeed::stop() {
  watch_.reset();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  stop_.request_stop();
  if (thread_.joinable()) thread_.join();
  mirror_.reset();
}

void RouteFeed::note(std::string_view key) {
  const std::lock_guard lock(mutex_);
  if (key == host::keys::host_prefix || keys_.size() >= most_pending) {
    any_ = true;
    keys_.clear();
  } else if (!any_) {
    keys_.emplace(key);
  }
  wake_.notify_one();
}

void RouteFeed::run() {
  auto look_at = Clock::now() + look_pause;
  const State begun = state();
  const bool read = begun.known && !begun.from_copy;
  auto again = read ? Clock::time_point::max() : Clock::now() + retry_pause;
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const auto now = Clock::now();
    if (any_ || !keys_.empty() || now >= again) {
      wake_.wait_for(lock, settle_time, [this] { return ending_; });
      if (ending_) return;
      const bool any = std::exchange(any_, false) || now >= again;
      const std::vector<std::string> keys(keys_.begin(), keys_.end());
      keys_.clear();
      lock.unlock();
      Result<void> done;
      {
        const std::lock_guard one(reading_);
        done = any ? read_whole(RouteSource::Clash::skip, Belief::checked, {}) : read_changed(keys);
      }
      tell(any, keys);
      if (!options_.whole) repeat_later(any, keys);
      lock.lock();
      if (!done) {
        again = Clock::now() + retry_pause;  // it may be back soon
      } else if (any || !state_.distrusted) {
        again = Clock::time_point::max();
      } else {
        again = std::min(again, Clock::now() + retry_pause);  // its hosts may be back
      }
    } else if (!repeats_.empty() && now >= repeats_.begin()->first) {
      lock.unlock();
      repeat_due();
      lock.lock();
    } else if (now >= look_at) {
      lock.unlock();
      look_after();
      lock.lock();
      look_at = Clock::now() + look_pause;
    } else {
      const auto due = repeats_.empty() ? look_at : std::min(repeats_.begin()->first, look_at);
      wake_.wait_until(lock, std::min(again, due));
    }
  }
}

void RouteFeed::tell(bool any, const std::vector<std::string>& keys) {
  if (!changed_) return;
  if (any) return changed_({});
  std::vector<std::string> names;
  for (const std::string& key : keys) {
    auto name =
        HostName::canonical_pattern(std::string_view{key}.substr(host::keys::host_prefix.size()));
    if (name) names.push_back(*std::move(name));
  }
  if (!names.empty()) changed_(names);
}

void RouteFeed::repeat_later(bool any, const std::vector<std::string>& keys) {
  const auto now = Clock::now();
  for (const Millis span : repeats) {
    if (repeats_.size() < most_repeats) repeats_.emplace(now + span, Change{any, keys});
  }
}

void RouteFeed::repeat_due() {
  const Change change = std::move(repeats_.begin()->second);
  repeats_.erase(repeats_.begin());
  tell(change.any, change.keys);
}

// Tables that nobody uses any more, and how old ours is.
void RouteFeed::look_after() {
  table_.sweep();
  if (!options_.remote) return;
  const std::lock_guard one(reading_);
  const bool current = !away_ && store_.health().reachable;
  if (!current) return mark_away();
  const std::int64_t now = base::now_ms();
  bool confirm = false;
  {
    const std::lock_guard lock(mutex_);
    if (state_.distrusted || any_ || !keys_.empty()) return;
    if (options_.whole && !table_.current()->complete()) {
      any_ = true;  // it is back
      return;
    }
    state_.synced = now;
    confirm = now - confirmed_ >= confirm_pause;
    if (confirm) confirmed_ = now;
  }
  if (confirm && mirror_) mirror_->confirm(now);
}

// A table that may lack hosts says so, and names it does not know are asked for elsewhere.
void RouteFeed::mark_away() {
  auto now = table_.current();
  if (now && now->complete()) publish(source_.with_complete(std::move(now), false));
}

Result<void> RouteFeed::read_whole(RouteSource::Clash clash, Belief belief,
                                   const std::function<Result<void>()>& before_publishing) {
  Result<Table> next = source_.build_declared();
  if (options_.whole) {
    next = source_.build(store_, true, Deadline::in(store_limit, stop_.get_token()), clash);
  }
  away_ = !next && !is_conflict(next.error());
  if (!next) {
    {
      const std::lock_guard lock(mutex_);
      ++state_.failures;
    }
    base::log::error("routes.update", {{"store", store_.describe()},
                                       {"why", next.error().message()},
                                       {"action", "the hosts known before go on"}});
    if (away_ && options_.remote) mark_away();
    return std::move(next).error();
  }
  if (belief == Belief::checked && loses_hosts(**next)) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(state_.distrusted, true)) {
      base::log::error("routes.distrusted",
                       {{"store", store_.describe()},
                        {"hosts", std::to_string((*next)->size())},
                        {"before", std::to_string(table_.current()->size())},
                        {"action", "the hosts known before go on; SIGHUP makes the store right"}});
    }
    return {};
  }
  if (before_publishing) PX_CHECK(before_publishing());
  publish(*next);
  if (mirror_) mirror_->all_changed();
  const std::lock_guard lock(mutex_);
  state_.known = true;
  state_.from_copy = false;
  state_.distrusted = false;
  state_.synced = base::now_ms();
  return {};
}

// The copy on disk, and the file's hosts if there is none.
Result<void> RouteFeed::read_copy() {
  Table next = source_.build_declared();
  std::int64_t synced = 0;
  if (options_.copy != nullptr) {
    const Deadline by = Deadline::in(store_limit);
    auto copied = source_.build(*options_.copy, false, by, RouteSource::Clash::skip);
    if (copied) {
      next = *std::move(copied);
      synced = Mirror::confirmed(*options_.copy, by);
    } else {
      base::log::error("replica.read",
                       {{"copy", options_.copy->describe()}, {"why", copied.error().message()}});
    }
  }
  const bool known = next->size() > source_.declared();
  base::log::warning("routes.copy", {{"store", store_.describe()},
                                     {"hosts", std::to_string(next->size())},
                                     {"action", known ? "serving the hosts last known"
                                                      : "no hosts are known yet"}});
  publish(std::move(next));
  const std::lock_guard lock(mutex_);
  state_.known = known;
  state_.from_copy = true;
  state_.synced = synced;
  return {};
}

Result<void> RouteFeed::read_changed(const std::vector<std::string>& keys) {
  if (!options_.whole) return {};
  Table before = table_.current();
  // Hosts that were missed while the store was away are found only by reading them all.
  const bool refilled = distrusted();
  if (away_ || (!before->complete() && !refilled)) {
    return read_whole(RouteSource::Clash::skip, Belief::checked, {});
  }
  const Deadline by = Deadline::in(store_limit, stop_.get_token());
  const auto broken = refilled ? RouteSource::Broken::kept : RouteSource::Broken::removed;
  auto next = source_.update(std::move(before), store_, keys, broken, by);
  if (next && *next == nullptr) {
    return read_whole(RouteSource::Clash::skip, Belief::checked, {});
  }
  if (!next) {
    away_ = true;
    base::log::error("routes.update", {{"store", store_.describe()},
                                       {"why", next.error().message()},
                                       {"action", "the hosts known before go on"}});
    const std::lock_guard lock(mutex_);
    ++state_.failures;
    return std::move(next).error();
  }
  publish(*next);
  if (mirror_) mirror_->changed(keys);
  return {};
}

void RouteFeed::publish(Table next) {
  table_.publish(std::move(next));
  const std::lock_guard lock(mutex_);
  ++state_.updates;
}

bool RouteFeed::loses_hosts(const host::RouteTable& next) const {
  if (!options_.remote) return false;
  const std::size_t own = source_.declared();
  const std::size_t before = table_.current()->size() - own;
  const std::size_t after = next.size() - own;
  if (before == 0) return false;
  if (after == 0) return true;
  if (distrusted()) return after < before;
  return after < before / 2 && before - after > least_suspicious;
}

Result<void> RouteFeed::reload(std::vector<Config::DeclaredHost> hosts,
                               const std::function<Result<void>()>& before_publishing) {
  const std::lock_guard one(reading_);
  PX_CHECK(source_.declare(std::move(hosts)));
  auto read = read_whole(RouteSource::Clash::refuse, Belief::told, before_publishing);
  if (read) return read;
  if (options_.remote && !is_conflict(read.error())) {
    // The file's hosts change all the same.
    Result<void> ready;
    if (before_publishing) ready = before_publishing();
    if (ready) {
      publish(source_.redeclare(table_.current()));
      return {};
    }
    read = std::move(ready);
  }
  source_.take_back();
  return read;
}

RouteFeed::State RouteFeed::state() {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool RouteFeed::distrusted() const {
  const std::lock_guard lock(mutex_);
  return state_.distrusted;
}

}  // namespace proxycore::server
