#include "io/blocking.h"

#include "support/sockets.h"

#include <stop_token>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using io::Address;
using test::Answer;
using test::Door;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

}  // namespace

TEST_CASE("blocking: names become addresses with the port asked for") {
  const auto literal = io::resolve("192.0.2.7", 8080, soon());
  REQUIRE(literal);
  CHECK(literal->front().text() == "192.0.2.7:8080");
  CHECK(io::resolve("::1", 53, soon())->front().text() == "[::1]:53");
  const auto local = io::resolve("localhost", 443, soon());
  REQUIRE(local);
  CHECK(local->front().port() == 443);
  // Where no name server answers, that is a time-out.
  const auto none = io::resolve("none.invalid", 443, Deadline::in(Millis{200}));
  REQUIRE_FALSE(none);
  CHECK(none.error().detail.find("none.invalid") != std::string::npos);
}

TEST_CASE("blocking: the next address is tried when one refuses or does not answer") {
  for (const Answer first : {Answer::refuses, Answer::hangs}) {
    const auto [dead, alive] = Door::twins(first, Answer::accepts);
    io::Poll poll;
    const std::vector<Address> both = {dead.address, alive.address};
    const auto connected = io::connect(both, poll, soon());
    REQUIRE(connected);
    const test::Fd peer = alive.accept();
    CHECK(peer.get() >= 0);
  }
}

TEST_CASE("blocking: who cannot be reached is named") {
  const Door dead("127.0.0.1", Answer::refuses);
  io::Poll poll;
  const std::vector<Address> one = {dead.address};
  const auto refused = io::connect(one, poll, soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::refused);
  CHECK(refused.error().detail.find(dead.address.text()) != std::string::npos);

  const Door silent("127.0.0.1", Answer::hangs);
  const std::vector<Address> other = {silent.address};
  CHECK(io::connect(other, poll, Deadline::in(Millis{20})).error().code == Errc::timeout);
}

TEST_CASE("blocking: what is ready counts after the deadline as well, nothing else does") {
  const Door door;
  io::Poll poll;
  const std::vector<Address> one = {door.address};
  const auto connected = io::connect(one, poll, soon());
  REQUIRE(connected);
  const test::Fd peer = door.accept();
  CHECK(poll.wait(*connected, POLLIN, Deadline::in(Millis{0})).error().code == Errc::timeout);
  peer.send("x");
  CHECK(poll.wait(*connected, POLLIN, soon()));
  CHECK(poll.wait(*connected, POLLIN, Deadline::in(Millis{0})));
}

TEST_CASE("blocking: a stop request ends a wait at once, and the next wait is none the wiser") {
  const Door door;
  io::Poll poll;
  const std::vector<Address> one = {door.address};
  const auto connected = io::connect(one, poll, soon());
  REQUIRE(connected);
  const test::Fd peer = door.accept();
  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  const auto waited = poll.wait(*connected, POLLIN, Deadline::never(stop.get_token()));
  CHECK(waited.error().code == Errc::cancelled);
  stopper.join();
  CHECK(poll.wait(*connected, POLLIN, Deadline::in(Millis{0})).error().code == Errc::timeout);
}
