#include "dns/patience.h"

#include "base/clock.h"
#include "support/http_server.h"

#include <deque>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace proxycore;

namespace {

// A server that gives these replies, and then 200.
struct Rig {
  std::deque<test::Reply> replies;
  test::HttpServer server{[this](const test::Ask&) {
    if (replies.empty()) return test::Reply{.body = "good"};
    test::Reply reply = replies.front();
    replies.pop_front();
    return reply;
  }};
  client::HttpClient http;

  Result<dns::Sent> send(Millis span, std::string_view reset_header = {}) {
    return dns::send_patiently(http, {.url = server.url("/")}, reset_header, Deadline::in(span));
  }
};

test::Reply busy(int status, std::string_view field, std::string_view value) {
  test::Reply reply{.status = status, .body = "slow down"};
  if (!field.empty()) reply.headers.emplace_back(field, value);
  return reply;
}

}  // namespace

TEST_CASE("dns patience: a short Retry-After is waited for inside the call") {
  Rig rig;
  rig.replies = {busy(429, "Retry-After", "0"), busy(503, "Retry-After", "1")};
  const auto began = Deadline::Clock::now();
  const auto sent = rig.send(Millis{20'000});
  REQUIRE(sent);
  CHECK(sent->response.body == "good");
  CHECK_FALSE(sent->busy);
  CHECK(Deadline::Clock::now() - began >= Millis{1'000});
  CHECK(rig.server.requests() == 3);
}

TEST_CASE("dns patience: a long one is told at once") {
  Rig rig;
  rig.replies = {busy(429, "Retry-After", "3600")};
  const auto sent = rig.send(Millis{7'200'000});
  REQUIRE(sent);
  CHECK(sent->busy);
  CHECK(sent->asked_s == 3600);
  CHECK(sent->response.body == "slow down");
  CHECK(rig.server.requests() == 1);
}

TEST_CASE("dns patience: so is one that goes past the deadline") {
  Rig rig;
  rig.replies = {busy(503, "Retry-After", "20")};
  const auto sent = rig.send(Millis{10'000});
  REQUIRE(sent);
  CHECK(sent->busy);
  CHECK(sent->asked_s == 20);
}

TEST_CASE("dns patience: without Retry-After the reset of the limit counts, if there is one") {
  Rig rig;
  const auto reset = fmt::format("{}", base::now_s() + 1000);
  rig.replies = {busy(429, "RateLimit-Reset", reset)};
  const auto sent = rig.send(Millis{60'000}, "ratelimit-reset");
  REQUIRE(sent);
  CHECK(sent->busy);
  REQUIRE(sent->asked_s);
  CHECK(*sent->asked_s > 990);
  CHECK(*sent->asked_s <= 1000);
}

TEST_CASE("dns patience: it has an end") {
  Rig rig;
  for (int i = 0; i < 10; ++i) rig.replies.push_back(busy(429, "Retry-After", "0"));
  const auto sent = rig.send(Millis{60'000});
  REQUIRE(sent);
  CHECK(sent->busy);
  CHECK(rig.server.requests() == dns::tries);
}

TEST_CASE("dns patience: a vendor that does not say when is asked again after a second") {
  Rig rig;
  rig.replies = {busy(503, "", "")};
  const auto began = Deadline::Clock::now();
  const auto sent = rig.send(Millis{20'000});
  REQUIRE(sent);
  CHECK(sent->response.body == "good");
  CHECK(Deadline::Clock::now() - began >= Millis{1'000});
}

TEST_CASE("dns patience: other failures are not repeated") {
  Rig rig;
  rig.replies = {busy(500, "Retry-After", "0")};
  const auto sent = rig.send(Millis{20'000});
  REQUIRE(sent);
  CHECK(sent->response.status == 500);
  CHECK_FALSE(sent->busy);
  CHECK(rig.server.requests() == 1);
}
