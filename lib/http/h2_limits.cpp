#include "http/h2_limits.h"

#include <algorithm>
#include <chrono>

namespace proxycore::http {

namespace {

constexpr std::int64_t cost_of(Waste what) noexcept {
  switch (what) {
    case Waste::request:
      return 50;
    case Waste::control:
      return 10;
    case Waste::frame:
      return 2;
  }
  return 0;
}

}  // namespace

std::int64_t steady_millis() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

bool H2Budget::spend(Waste what) noexcept {
  const std::int64_t cost = cost_of(what);
  if (left_ < cost) {
    const std::int64_t now = limits_.clock();
    const std::int64_t gained = (now - filled_) * limits_.refill / 1000;
    left_ = std::min(limits_.budget, left_ + gained);
    // What the division left over counts the next time.
    if (gained > 0) filled_ = now;
    if (left_ < cost) return false;
  }
  left_ -= cost;
  return true;
}

}  // namespace proxycore::http
