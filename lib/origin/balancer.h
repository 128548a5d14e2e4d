// Balancer: which of a route's targets gets the next request; Health, what we know of a target.
//
// Round robin over the targets, without those that rest after consecutive failures; if all rest,
// the one that rests the shortest. Every worker keeps its own counts. Further algorithms belong
// here, active checks feed Health.
// Thread: its worker's.
#pragma once

#include <proxycore/host.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace proxycore::origin {

// Passive health of one target.
struct Health {
  std::uint32_t failures = 0;    // consecutive
  std::int64_t rests_until = 0;  // milliseconds of the loop's clock

  [[nodiscard]] bool resting(std::int64_t now) const noexcept { return now < rests_until; }
  void succeeded() noexcept { failures = 0; }
  // Returns true if it begins to rest.
  bool failed(std::int64_t now, std::uint32_t limit, std::int64_t cool_down) noexcept;
};

class Balancer {
 public:
  static constexpr std::size_t none = SIZE_MAX;
  static constexpr std::size_t max_routes = 10'000;  // remembered positions

  // The index of the target to use. `avoid` (or `none`) failed this request already and is taken
  // only when it is the only one. `health(i)` tells of target i.
  template <class HealthOf>
  std::size_t pick(const Route& route, std::size_t avoid, std::int64_t now, HealthOf&& health) {
    const std::size_t count = route.targets.size();
    if (count == 1) return 0;
    const std::size_t start = next(route.pattern);
    std::size_t rested_most = none;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = (start + i) % count;
      if (at == avoid) continue;
      const Health& known = health(at);
      if (!known.resting(now)) return at;
      if (rested_most == none || known.rests_until < health(rested_most).rests_until) {
        rested_most = at;
      }
    }
    return rested_most;
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  // The route's turn, and one further for the next request.
  std::size_t next(std::string_view pattern);

  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> turns_;
};

}  // namespace proxycore::origin
