#include "auth/throttle.h"

#include <string>

#include <doctest/doctest.h>

namespace proxycore::auth {

namespace {
using Time = Throttle::Time;
const Time begin = Time{} + std::chrono::hours{1};

std::uint32_t wait_of(Throttle& throttle, std::string_view address, std::string_view account,
                      Time now) {
  const auto admitted = throttle.admit(address, account, now);
  if (admitted) return 0;
  CHECK(admitted.error().code == Errc::busy);
  return admitted.error().retry_after_s;
}
}  // namespace

TEST_CASE("throttle: failures in a row double the wait of an account, up to half a minute") {
  Throttle throttle;
  Time now = begin;
  std::string waits;
  for (int i = 0; i < 12; ++i) {
    // Each from another address.
    throttle.failed("192.0.2." + std::to_string(i), "alice", now);
    const std::uint32_t wait = wait_of(throttle, "198.51.100.1", "alice", now);
    waits += std::to_string(wait) + " ";
    now += Seconds{wait};
  }
  CHECK(waits == "0 0 0 0 1 2 4 8 16 30 30 30 ");
  CHECK(wait_of(throttle, "198.51.100.1", "bob", now) == 0);
}

TEST_CASE("throttle: an address waits longer, whatever accounts it tries") {
  Throttle throttle;
  Time now = begin;
  for (int i = 0; i < 20; ++i) {
    throttle.failed("192.0.2.1", "user" + std::to_string(i), now);
    now += Seconds{wait_of(throttle, "192.0.2.1", "alice", now)};
  }
  throttle.failed("192.0.2.1", "another", now);
  CHECK(wait_of(throttle, "192.0.2.1", "alice", now) == 900);
  CHECK(wait_of(throttle, "192.0.2.2", "alice", now) == 0);
}

TEST_CASE("throttle: a success ends the count") {
  Throttle throttle;
  for (int i = 0; i < 4; ++i) throttle.failed("192.0.2.1", "alice", begin);
  throttle.succeeded("192.0.2.1", "alice");
  throttle.failed("192.0.2.1", "alice", begin);
  CHECK(wait_of(throttle, "192.0.2.1", "alice", begin) == 0);
}

TEST_CASE("throttle: an address has 60 tries in 15 minutes") {
  Throttle throttle;
  for (int i = 0; i < 60; ++i) {
    REQUIRE(throttle.admit("192.0.2.1", "user" + std::to_string(i), begin));
  }
  CHECK(wait_of(throttle, "192.0.2.1", "x", begin + Seconds{60}) == 840);
  CHECK(wait_of(throttle, "192.0.2.2", "x", begin) == 0);
  CHECK(wait_of(throttle, "192.0.2.1", "x", begin + Seconds{900}) == 0);
}

TEST_CASE("throttle: the addresses of an IPv6 network are one") {
  Throttle throttle;
  for (int i = 0; i < 60; ++i) {
    REQUIRE(throttle.admit("2001:db8:0:1::" + std::to_string(i), "user", begin));
  }
  CHECK(wait_of(throttle, "2001:db8:0:1:ffff::1", "user", begin) == 900);
  CHECK(wait_of(throttle, "2001:db8:0:2::1", "user", begin) == 0);
}

TEST_CASE("throttle: an address and an account of the same name are not confused") {
  Throttle throttle;
  for (int i = 0; i < 10; ++i) throttle.failed("192.0.2.1", "192.0.2.2", begin);
  CHECK(wait_of(throttle, "192.0.2.2", "alice", begin) == 0);
}

TEST_CASE("throttle: whoever has been quiet longest is forgotten first") {
  Throttle throttle;
  for (int i = 0; i < 9; ++i) throttle.failed("192.0.2.1", "first", begin);
  for (std::size_t i = 0; i < Throttle::max_known; ++i) {
    throttle.failed("198.51.100.1", "user" + std::to_string(i), begin);
  }
  CHECK(throttle.known() == Throttle::max_known);
  CHECK(wait_of(throttle, "192.0.2.1", "first", begin) == 0);
}

TEST_CASE("throttle: nobody is forgotten for a flood of tries that are refused") {
  Throttle throttle;
  for (int i = 0; i < 20; ++i) throttle.failed("192.0.2.1", "alice", begin);
  throttle.failed("192.0.2.2", "bob", begin);
  const std::size_t known = throttle.known();
  std::size_t admitted = 0;
  for (std::size_t i = 0; i < 2 * Throttle::max_known; ++i) {
    const std::string number = std::to_string(i);
    if (throttle.admit("198.51.100.1", "user" + number, begin)) ++admitted;
    // An account that has to wait, from a new address each time.
    if (throttle.admit("203.0.113." + number, "alice", begin)) ++admitted;
  }
  CHECK(admitted == Throttle::tries);
  CHECK(throttle.known() == known + 1);
  CHECK(wait_of(throttle, "192.0.2.1", "carol", begin) == 900);
  CHECK(wait_of(throttle, "192.0.2.3", "alice", begin) == 30);
}

TEST_CASE("throttle: names of any length are kept short") {
  Throttle throttle;
  const std::string name(100'000, 'x');
  for (int i = 0; i < 5; ++i) throttle.failed("192.0.2.1", name, begin);
  CHECK(wait_of(throttle, "192.0.2.2", name + "y", begin) == 1);
}

}  // namespace proxycore::auth
