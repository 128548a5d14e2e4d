#include "lookup/record_answer.h"

#include "support/tiers.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::answer_of;
using test::told;

TEST_CASE("record: a usable one is a route") {
  host::StatsIds ids(10);
  const auto answer = answer_of(
      "a.test", {{"host", "a.test"}, {"ip", "10.0.0.5"}, {"targetPort", "8080"}, {"x", "y"}}, ids);
  REQUIRE(answer);
  CHECK((*answer)->pattern == "a.test");
  CHECK((*answer)->targets.front().text() == "10.0.0.5:8080");
  CHECK((*answer)->stats_id == 1);
}

TEST_CASE("record: nothing, or what a renamed host left behind, is no host") {
  host::StatsIds ids(10);
  CHECK(told(answer_of("a.test", {}, ids)) == "unknown");
  CHECK(told(answer_of("a.test", {{"updated_by", "alice"}, {"updated_on", "1"}}, ids)) ==
        "unknown");
}

TEST_CASE("record: one without its name has the name that was asked for") {
  host::StatsIds ids(10);
  CHECK(told(answer_of("a.test", {{"ip", "10.0.0.5"}, {"targetPort", "80"}}, ids)) == "a.test");
}

TEST_CASE("record: a wildcard hit that was written back counts as its wildcard") {
  host::StatsIds ids(1);
  const Record row = {{"host", "x.w.test"},
                      {"ip", "10.0.0.5"},
                      {"targetPort", "80"},
                      {"is_cache", "true"},
                      {"wildcard_parent", "*.w.test"},
                      {"domain", R"({"domain":"w.test","provider":{"name":"x"}})"}};
  const auto answer = answer_of("x.w.test", row, ids);
  CHECK(told(answer) == "*.w.test");
  CHECK(ids.names().back() == "*.w.test");
}

TEST_CASE("record: what is wrong with a broken one is told") {
  host::StatsIds ids(10);
  const auto answer = answer_of("a.test", {{"ip", "10.0.0.5"}, {"targetPort", "no"}}, ids);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::invalid);
  CHECK(answer.error().detail == "field 'targetPort': expected a number, found 'no'");
}

TEST_CASE("complaints: one line a minute for a key, and not for any number of keys") {
  lookup::Complaints complaints;
  CHECK(complaints.admit("a", 0));
  CHECK_FALSE(complaints.admit("a", 59'999));
  CHECK(complaints.admit("b", 59'999));
  CHECK(complaints.admit("a", 60'000));
  int told = 0;
  for (int i = 0; i < 5'000; ++i) told += complaints.admit(std::to_string(i), 60'000) ? 1 : 0;
  CHECK(told == 998);
  CHECK_FALSE(complaints.admit("c", 60'001));
  CHECK(complaints.admit("c", 120'001));
}
