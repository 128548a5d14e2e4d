#include "http/h2_limits.h"

#include <tuple>

#include <doctest/doctest.h>

using namespace proxycore::http;

namespace {

std::int64_t now = 0;
int asked = 0;
std::int64_t clock_of_test() noexcept {
  ++asked;
  return now;
}

// How often it may be spent at once.
int spendable(H2Budget& budget, Waste what) {
  int count = 0;
  while (budget.spend(what)) ++count;
  return count;
}

}  // namespace

TEST_CASE("h2 limits: a budget for each kind of waste, filled again by time") {
  H2Limits limits;
  limits.clock = &clock_of_test;
  now = 1'000'000;
  for (const auto& [what, most, in_a_second] :
       {std::tuple{Waste::request, 200, 20}, std::tuple{Waste::control, 1000, 100},
        std::tuple{Waste::frame, 5000, 500}}) {
    H2Budget budget(limits);
    CHECK(spendable(budget, what) == most);
    now += 1000;
    CHECK(spendable(budget, what) == in_a_second);
    now += 3'600'000;
    CHECK(spendable(budget, what) == most);
  }
}

TEST_CASE("h2 limits: little by little is as much as at once") {
  H2Limits limits;
  limits.clock = &clock_of_test;
  H2Budget budget(limits);
  spendable(budget, Waste::request);
  int count = 0;
  for (int i = 0; i < 1000; ++i) {
    now += 1;
    count += spendable(budget, Waste::request);
  }
  CHECK(count == 20);
}

TEST_CASE("h2 limits: the clock is not asked while there is something left") {
  H2Limits limits;
  limits.clock = &clock_of_test;
  H2Budget budget(limits);
  asked = 0;
  for (int i = 0; i < 100; ++i) CHECK(budget.spend(Waste::request));
  CHECK(asked == 0);
}
