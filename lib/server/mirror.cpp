#include "server/mirror.h"

#include "base/log.h"
#include "base/text.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace proxycore::server {

namespace {

constexpr Millis limit{120'000};  // of one look at everything
constexpr Millis retry_pause{1'000};
constexpr std::size_t most_pending = 100'000;  // keys; beyond, everything is looked at
constexpr std::size_t batch = 2'000;           // records written at once

// The one record of a copy that is not copied.
constexpr std::string_view state_key = "proxycore_replica";
constexpr std::string_view confirmed_field = "confirmed_on";

std::uint64_t digest(const Record& record) {
  std::uint64_t sum = record.size();
  const auto add = [&sum](std::string_view text) {
    sum = (sum ^ std::hash<std::string_view>{}(text)) * 0x9e3779b97f4a7c15ULL;
    sum ^= sum >> 29;
  };
  for (const auto& [field, value] : record) {
    add(field);
    add(value);
  }
  return sum;
}

}  // namespace

Mirror::Mirror(Store& from, Store& to, std::string_view prefix)
    : from_(from), to_(to), prefix_(prefix), thread_([this] { run(); }) {}

Mirror::~Mirror() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  stop_.request_stop();
  wake_.notify_one();
  thread_.join();
}

void Mirror::changed(std::span<const std::string> keys) {
  const std::lock_guard lock(mutex_);
  keys_.insert(keys.begin(), keys.end());
  if (keys_.size() > most_pending) {
    keys_.clear();
    all_ = true;
  }
  wake_.notify_one();
}

void Mirror::all_changed() {
  const std::lock_guard lock(mutex_);
  keys_.clear();
  all_ = true;
  wake_.notify_one();
}

void Mirror::confirm(std::int64_t now) {
  const std::lock_guard lock(mutex_);
  confirmed_ = now;
  wake_.notify_one();
}

std::int64_t Mirror::confirmed(Store& copy, const Deadline& by) {
  const auto state = copy.get(state_key, by);
  if (!state) return 0;
  const auto at = state->find(confirmed_field);
  if (at == state->end()) return 0;
  return static_cast<std::int64_t>(base::parse_decimal(at->second, INT64_MAX).value_or(0));
}

void Mirror::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return ending_ || all_ || !keys_.empty() || confirmed_ != 0; });
    if (ending_) return;
    const bool all = std::exchange(all_, false);
    auto keys = std::exchange(keys_, {});
    // What was confirmed before these changes is older than the copy will be with them.
    const std::int64_t confirmed = std::exchange(confirmed_, 0);
    lock.unlock();
    const Deadline by = Deadline::in(limit, stop_.get_token());
    Result<void> copied;
    if (all) copied = copy_all(by);
    while (copied && !keys.empty()) {
      copied = copy(*keys.begin(), by);
      if (copied) keys.erase(keys.begin());
    }
    if (copied && confirmed != 0) {
      copied =
          to_.put(state_key, {{std::string(confirmed_field), std::to_string(confirmed)}}, {}, by);
    }
    lock.lock();
    if (copied || ending_) continue;
    base::log::warning(
        "replica.copy",
        {{"store", from_.describe()}, {"copy", to_.describe()}, {"why", copied.error().message()}});
    if (all) {
      all_ = true;
    } else {
      keys_.merge(keys);
    }
    wake_.wait_for(lock, retry_pause, [this] { return ending_; });
  }
}

// Writes what differs only: after a restart that is little.
Result<void> Mirror::copy_all(const Deadline& by) {
  std::unordered_map<std::string, std::uint64_t> here;
  PX_CHECK(to_.scan(
      prefix_, [&](std::string_view key, Record&& record) { here.emplace(key, digest(record)); },
      by));
  std::vector<std::pair<std::string, Record>> fresh;
  Result<void> written;
  bool any = false;
  const auto flush = [&] {
    if (written && !fresh.empty()) written = to_.put_all(fresh, {}, by);
    fresh.clear();
  };
  PX_CHECK(from_.scan(
      prefix_,
      [&](std::string_view key, Record&& record) {
        any = true;
        const auto known = here.find(std::string(key));
        const bool same = known != here.end() && known->second == digest(record);
        if (known != here.end()) here.erase(known);
        if (same || !written) return;
        fresh.emplace_back(key, std::move(record));
        if (fresh.size() == batch) flush();
      },
      by));
  flush();
  PX_CHECK(std::move(written));
  if (!any) return {};  // it lost everything since somebody thought that it had not
  for (const auto& gone : here) PX_CHECK(to_.erase(gone.first, by));
  return {};
}

Result<void> Mirror::copy(const std::string& key, const Deadline& by) {
  auto record = from_.get(key, by);
  if (record) return to_.put(key, *record, {}, by);
  if (record.error().code == Errc::not_found) {
    PX_CHECK(to_.erase(key, by));
    return {};
  }
  // A record that nobody can read is no reason to try for ever.
  if (record.error().code == Errc::invalid || record.error().code == Errc::limit) return {};
  return std::move(record).error();
}

}  // namespace proxycore::server
