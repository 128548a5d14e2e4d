#include "base/pause.h"

#include <chrono>
#include <stop_token>
#include <thread>

#include <doctest/doctest.h>

using namespace proxycore;

TEST_CASE("pause: takes as long as it says") {
  const auto began = Deadline::Clock::now();
  CHECK(base::pause(Millis{20}, Deadline::never()));
  CHECK(Deadline::Clock::now() - began >= Millis{20});
}

TEST_CASE("pause: a deadline that comes first is a timeout, then") {
  const auto by = Deadline::in(Millis{10});
  const auto paused = base::pause(Millis{3'600'000}, by);
  REQUIRE_FALSE(paused);
  CHECK(paused.error().code == Errc::timeout);
  CHECK(by.passed());
}

TEST_CASE("pause: a stop ends it at once, and one before it begins too") {
  std::stop_source stop;
  std::jthread stopper([&stop] { stop.request_stop(); });
  const auto paused = base::pause(Millis{3'600'000}, Deadline::never(stop.get_token()));
  REQUIRE_FALSE(paused);
  CHECK(paused.error().code == Errc::cancelled);
  CHECK(base::pause(Millis{0}, Deadline::never(stop.get_token())).error().code == Errc::cancelled);
}
