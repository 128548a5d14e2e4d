#include "certs/renewal.h"

#include <cstdint>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::certs;

namespace {

constexpr std::int64_t day_s = 86'400;
constexpr std::int64_t day = day_s * 1'000;
constexpr std::int64_t start_s = 1'800'000'000;
constexpr std::int64_t start = start_s * 1'000;

Validity lasting(std::int64_t days) {
  return {start_s, start_s + days * day_s};
}

acme::Problem problem(std::string_view type, std::uint16_t status = 403) {
  return {.status = status, .type = std::string(type)};
}

}  // namespace

TEST_CASE("renewal: after two thirds of a life, of a short one after half") {
  CHECK(renewal_of(lasting(90), {}, 0).at_ms == start + 60 * day);
  CHECK(renewal_of(lasting(45), {}, 0).at_ms == start + 30 * day);
  CHECK(renewal_of(lasting(6), {}, 0).at_ms == start + 3 * day);
}

TEST_CASE("renewal: names of one day are spread, and keep away from the end") {
  const auto first = renewal_of(lasting(90), {}, 0).at_ms;
  const auto last = renewal_of(lasting(90), {}, 0.999).at_ms;
  CHECK(last - first > day);
  CHECK(last < start + 63 * day);
}

TEST_CASE("renewal: the CA's proposal comes first, but a twentieth of the life is kept") {
  const Proposal early{start + 10 * day, start + 12 * day, start + 11 * day};
  CHECK(renewal_of(lasting(90), early, 0).at_ms == start + 11 * day);
  const Proposal late{start + 200 * day, start + 201 * day, start + 200 * day};
  CHECK(renewal_of(lasting(90), late, 0).at_ms == start + 90 * day * 19 / 20);
}

TEST_CASE("renewal: the moment is anywhere in the window, and now if that has passed (RFC 9773)") {
  CHECK(chosen_in(start, start + 2 * day, start - day, 0.5) == start + day);
  CHECK(chosen_in(start, start + 2 * day, start - day, 0) == start);
  CHECK(chosen_in(start, start + 2 * day, start + 3 * day, 0.5) <= start + 3 * day);
}

TEST_CASE("renewal: pauses after failures grow from a minute to a day") {
  const auto pause = [](std::uint32_t failures) { return pause_after(failures, {}, 0.5); };
  CHECK(pause(1) == 60'000);
  CHECK(pause(2) == 300'000);
  CHECK(pause(4) == 3'600'000);
  CHECK(pause(8) == day);
  CHECK(pause(1'000) == day);
  CHECK(pause(0) == 60'000);
}

TEST_CASE("renewal: a pause is never so long that a short life ends in it") {
  CHECK(pause_after(100, lasting(6), 0.5) == 6 * day / 20);
  CHECK(pause_after(100, Validity{start_s, start_s + 3'600}, 0.5) == 600'000);
}

TEST_CASE("renewal: pauses differ, so that many names do not come back at once") {
  CHECK(pause_after(4, {}, 0) < pause_after(4, {}, 0.99));
  CHECK(pause_after(4, {}, 0) >= 3'240'000);
  CHECK(pause_after(4, {}, 0.99) <= 3'960'000);
}

TEST_CASE("renewal: who is to blame is told by what the CA said") {
  const Error refused{Errc::denied, "no"};
  for (const char* type : {"dns", "unauthorized", "caa", "connection", "tls", "rateLimited",
                           "rejectedIdentifier", "incorrectResponse"}) {
    CAPTURE(type);
    CHECK(blame_of(problem(type), refused, "order") == Blame::name);
  }
  for (const char* type :
       {"userActionRequired", "externalAccountRequired", "malformed", "badCSR"}) {
    CAPTURE(type);
    CHECK(blame_of(problem(type), refused, "order") == Blame::setup);
  }
  CHECK(blame_of(problem("serverInternal", 500), refused, "order") == Blame::issuer);
  CHECK(blame_of(problem("", 503), refused, "order") == Blame::issuer);
  CHECK(blame_of(problem("", 0), Error{Errc::refused, "nobody listens"}, "order") == Blame::issuer);
  CHECK(blame_of(problem("", 0), Error{Errc::not_found, "no provider has the zone"}, "present") ==
        Blame::name);
  CHECK(blame_of(problem("", 0), Error{Errc::refused, "the vendor is down"}, "present") ==
        Blame::name);
}
