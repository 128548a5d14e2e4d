#include "origin/balancer.h"

#include <cstddef>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using origin::Balancer;
using origin::Health;

namespace {

constexpr std::int64_t now = 1'000'000;

struct Fixture {
  Route route_to(std::size_t count, std::string pattern = "a.test") {
    Route route;
    route.pattern = std::move(pattern);
    route.targets = Targets(std::vector<Target>(count));
    health.resize(count);
    return route;
  }
  std::size_t pick(const Route& route, std::size_t avoid = Balancer::none) {
    return balancer.pick(route, avoid, now,
                         [&](std::size_t at) -> const Health& { return health[at]; });
  }
  // The next picks, as digits.
  std::string picks(const Route& route, int count, std::size_t avoid = Balancer::none) {
    std::string all;
    for (int i = 0; i < count; ++i) all += std::to_string(pick(route, avoid));
    return all;
  }

  Balancer balancer;
  std::vector<Health> health;
};

}  // namespace

TEST_CASE("health: rests after consecutive failures, and at once when it fails after its rest") {
  Health health;
  CHECK_FALSE(health.failed(now, 3, 10'000));
  CHECK_FALSE(health.failed(now, 3, 10'000));
  CHECK_FALSE(health.resting(now));
  CHECK(health.failed(now, 3, 10'000));
  CHECK(health.resting(now));
  CHECK(health.resting(now + 9'999));
  CHECK_FALSE(health.resting(now + 10'000));
  CHECK(health.failed(now + 10'000, 3, 10'000));
  CHECK(health.resting(now + 19'999));
}

TEST_CASE("health: a success in between starts the count anew") {
  Health health;
  health.failed(now, 2, 10'000);
  health.succeeded();
  CHECK_FALSE(health.failed(now, 2, 10'000));
  CHECK(health.failed(now, 2, 10'000));
}

TEST_CASE_FIXTURE(Fixture, "balancer: the targets take turns") {
  const Route route = route_to(3);
  CHECK(picks(route, 7) == "0120120");
}

TEST_CASE_FIXTURE(Fixture, "balancer: every route has turns of its own") {
  const Route one = route_to(2, "one.test");
  const Route two = route_to(2, "two.test");
  CHECK(picks(one, 1) == "0");
  CHECK(picks(two, 1) == "0");
  CHECK(picks(one, 1) == "1");
}

TEST_CASE_FIXTURE(Fixture, "balancer: a target that rests is passed over") {
  const Route route = route_to(3);
  health[1].rests_until = now + 1;
  CHECK(picks(route, 6) == "022022");
  health[1].rests_until = now;
  CHECK(picks(route, 3) == "012");
}

TEST_CASE_FIXTURE(Fixture, "balancer: when all rest, the one that rests the shortest is tried") {
  const Route route = route_to(3);
  health[0].rests_until = now + 300;
  health[1].rests_until = now + 100;
  health[2].rests_until = now + 200;
  CHECK(picks(route, 3) == "111");
}

TEST_CASE_FIXTURE(Fixture, "balancer: a second try goes elsewhere, if there is anywhere else") {
  const Route route = route_to(3);
  CHECK(picks(route, 6, 0).find('0') == std::string::npos);
  health[1].rests_until = now + 1;
  CHECK(picks(route, 3, 2) == "000");
  health[0].rests_until = now + 2;  // all others rest: still not the one that has just failed
  CHECK(picks(route, 3, 2) == "111");
  const Route single = route_to(1, "single.test");
  CHECK(picks(single, 2, 0) == "00");
}

TEST_CASE_FIXTURE(Fixture,
                  "balancer: remembers the turns of so many routes, and goes on after that") {
  for (std::size_t i = 0; i < Balancer::max_routes + 10; ++i) {
    const Route route = route_to(2, "host" + std::to_string(i) + ".test");
    REQUIRE(pick(route) == 0);
    REQUIRE(pick(route) == 1);
  }
}
