#include "origin/failing_targets.h"

#include <algorithm>
#include <map>
#include <utility>

namespace proxycore::origin {

void FailingTargets::failed(const void* view, Entry seen) {
  const std::lock_guard lock(mutex_);
  const auto known = entries_.find(view);
  if (known == entries_.end() && entries_.size() >= max_entries) forget_oldest();
  seen.since = known == entries_.end() ? seen.last : known->second.since;
  entries_.insert_or_assign(view, std::move(seen));
}

void FailingTargets::recovered(const void* view) {
  const std::lock_guard lock(mutex_);
  entries_.erase(view);
}

void FailingTargets::forget_oldest() {
  entries_.erase(std::min_element(
      entries_.begin(), entries_.end(),
      [](const auto& one, const auto& other) { return one.second.last < other.second.last; }));
}

std::vector<FailingTargets::Entry> FailingTargets::list(std::int64_t now) const {
  std::map<std::string, Entry> merged;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [view, entry] : entries_) {
      if (now - entry.last > kept_for) continue;
      const auto [at, is_new] = merged.try_emplace(entry.target, entry);
      if (is_new) continue;
      Entry& shown = at->second;
      shown.failures = std::max(shown.failures, entry.failures);
      shown.since = std::min(shown.since, entry.since);
      shown.last = std::max(shown.last, entry.last);
      shown.rests_until = std::max(shown.rests_until, entry.rests_until);
    }
  }
  std::vector<Entry> all;
  all.reserve(merged.size());
  for (auto& [target, entry] : merged) all.push_back(std::move(entry));
  return all;
}

}  // namespace proxycore::origin
