#include "origin/balancer.h"

namespace proxycore::origin {

bool Health::failed(std::int64_t now, std::uint32_t limit, std::int64_t cool_down) noexcept {
  if (failures < limit) ++failures;
  if (failures < limit) return false;
  // One more failure after the rest is enough to rest again: the count stays at its limit.
  const bool begins = !resting(now);
  rests_until = now + cool_down;
  return begins;
}

std::size_t Balancer::next(std::string_view pattern) {
  const auto at = turns_.find(pattern);
  if (at != turns_.end()) return at->second++;
  if (turns_.size() >= max_routes) turns_.clear();
  turns_.emplace(pattern, 1);
  return 0;
}

}  // namespace proxycore::origin
