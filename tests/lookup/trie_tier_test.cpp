#include "lookup/trie_tier.h"

#include <memory>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

struct NoWaiter final : lookup::Waiter {
  void on_answer(lookup::Answer /*answer*/) override { FAIL("the trie answers at once"); }
};

std::shared_ptr<const host::RouteTable> table_of(std::string_view name, std::uint16_t port,
                                                 bool complete = true) {
  static host::StatsIds ids(10);
  host::RouteTable::Builder builder(ids);
  REQUIRE(
      builder.add({.host = std::string(name), .ip = "127.0.0.1", .target_port = port}, "a test"));
  return builder.finish(complete);
}

}  // namespace

TEST_CASE("lookup: the trie answers at once, also that there is no such host") {
  base::View<host::RouteTable> view;
  lookup::TrieTier tier("trie", view);
  NoWaiter waiter;
  CHECK(tier.name() == "trie");
  const auto before = tier.find("a.example.test", waiter);
  REQUIRE(before);
  CHECK(before->error().code == Errc::busy);  // without a table it cannot tell

  view.set(table_of("*.example.test", 8001));
  const auto found = tier.find("a.example.test", waiter);
  REQUIRE(found);
  REQUIRE(*found);
  CHECK((**found)->pattern == "*.example.test");
  const auto missing = tier.find("example.test", waiter);
  REQUIRE(missing);
  CHECK(missing->error().code == Errc::not_found);
}

TEST_CASE("lookup: a table that has not all hosts does not decide that there is none") {
  base::View<host::RouteTable> view;
  view.set(table_of("*.example.test", 8001, false));
  lookup::TrieTier tier("file", view, lookup::TrieTier::Holds::some);
  NoWaiter waiter;
  CHECK(tier.name() == "file");
  CHECK_FALSE(tier.remote());
  const auto found = tier.find("a.example.test", waiter);
  REQUIRE(found);
  CHECK((**found)->pattern == "*.example.test");
  const auto missing = tier.find("other.test", waiter);
  REQUIRE(missing);
  REQUIRE(*missing);
  CHECK(**missing == nullptr);
  // Nor does one that lacks some for a while, but that is no answer.
  lookup::TrieTier replica("replica", view);
  CHECK((**replica.find("a.example.test", waiter))->pattern == "*.example.test");
  CHECK(replica.find("other.test", waiter)->error().code == Errc::busy);
}

TEST_CASE("lookup: who holds a route keeps the table it came from") {
  base::View<host::RouteTable> view;
  lookup::TrieTier tier("replica", view);
  NoWaiter waiter;
  auto first = table_of("a.example.test", 8001);
  const std::weak_ptr<const host::RouteTable> watched = first;
  view.set(std::move(first));
  auto answer = tier.find("a.example.test", waiter);
  REQUIRE(answer);
  REQUIRE(*answer);
  std::shared_ptr<const Route> held = **answer;
  answer.reset();
  view.set(table_of("a.example.test", 8002));
  CHECK_FALSE(watched.expired());
  CHECK(held->targets.front().port == 8001);
  held.reset();
  CHECK(watched.expired());
}
