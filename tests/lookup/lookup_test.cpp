#include "lookup/lookup.h"

#include "lookup/cache_tier.h"
#include "support/count_allocations.h"
#include "support/tiers.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::Answer;
using lookup::Lookup;
using test::Asker;
using test::route_to;
using test::ScriptedTier;
using test::told;

namespace {

using Names = std::vector<std::string>;

// A cache, a remote tier and another one, all played by the test.
struct Rig {
  Rig() {
    std::vector<std::unique_ptr<lookup::Tier>> made;
    for (auto* made_at : {&cache, &redis, &socket}) {
      const bool remote = made_at != &cache;
      const char* name = made_at == &cache ? "cache" : made_at == &redis ? "redis" : "socket";
      auto tier = std::make_unique<ScriptedTier>(name, remote);
      *made_at = tier.get();
      made.push_back(std::move(tier));
    }
    lookup.emplace(loop, std::move(made), counters);
  }
  std::string find(std::string_view host, Asker& asker) {
    const auto now = lookup->find(host, asker);
    return now ? told(*now) : "later";
  }

  io::Loop loop;
  lookup::LookupCounters counters{3};
  ScriptedTier* cache = nullptr;
  ScriptedTier* redis = nullptr;
  ScriptedTier* socket = nullptr;
  std::optional<Lookup> lookup;
};

const Answer no_such_host = Error{Errc::not_found};
const Answer failure = Error{Errc::closed, "redis://10.0.0.1:6379/0: connection refused"};

}  // namespace

TEST_CASE("lookup: the first tier that knows decides, and no other is asked") {
  Rig rig;
  Asker asker;
  rig.cache->answers.emplace("a.test", route_to("a.test"));
  rig.cache->answers.emplace("none.test", no_such_host);
  CHECK(rig.find("a.test", asker) == "a.test");
  CHECK(rig.find("none.test", asker) == "not_found");
  CHECK(rig.redis->asked.empty());
  CHECK(rig.counters.tiers[0].hits.value() == 2);
  CHECK(rig.counters.tiers[0].name == "cache");
  CHECK_FALSE(rig.counters.tiers[0].remote);
  CHECK(rig.counters.tiers[1].remote);
}

TEST_CASE("lookup: tiers before the one that knows are taught, those behind it are not asked") {
  Rig rig;
  Asker asker;
  CHECK(rig.find("a.test", asker) == "later");
  rig.redis->answer(lookup::unknown());
  CHECK(asker.times == 0);
  rig.socket->answer(route_to("*.test"));
  CHECK(asker.text() == "*.test");
  CHECK(rig.cache->learned == Names{"a.test=*.test"});
  CHECK(rig.redis->learned == Names{"a.test=*.test"});
  CHECK(rig.counters.tiers[1].misses.value() == 1);
  CHECK(rig.counters.tiers[2].hits.value() == 1);
  CHECK(rig.counters.tiers[2].latency.bucket(0) == 1);
}

TEST_CASE("lookup: that there is no such host is an answer and taught as well") {
  Rig rig;
  Asker one;
  CHECK(rig.find("one.test", one) == "later");
  rig.redis->answer(no_such_host);
  CHECK(one.text() == "not_found");
  CHECK(rig.socket->asked.empty());
  CHECK(rig.cache->learned == Names{"one.test=not_found"});

  Asker two;
  CHECK(rig.find("two.test", two) == "later");
  rig.redis->answer(lookup::unknown());
  rig.socket->answer(lookup::unknown());
  CHECK(two.text() == "not_found");
  CHECK(rig.cache->learned == Names{"one.test=not_found", "two.test=not_found"});
}

TEST_CASE("lookup: a tier that failed is passed over; its failure is what is left in the end") {
  Rig rig;
  Asker asker;
  SUBCASE("and another one knows") {
    CHECK(rig.find("a.test", asker) == "later");
    rig.redis->answer(failure);
    rig.socket->answer(route_to("a.test"));
    CHECK(asker.text() == "a.test");
    CHECK(rig.cache->learned == Names{"a.test=a.test"});
  }
  SUBCASE("and nobody knows") {
    CHECK(rig.find("a.test", asker) == "later");
    rig.redis->answer(failure);
    rig.socket->answer(Error{Errc::timeout, "late"});
    REQUIRE(asker.heard);
    CHECK(asker.heard->error().detail == failure.error().detail);
    CHECK(rig.cache->learned.empty());
    CHECK(rig.counters.tiers[1].failures.value() == 1);
    CHECK(rig.counters.tiers[2].failures.value() == 1);
  }
  SUBCASE("but there is an answer of before") {
    rig.cache->before.emplace("a.test", route_to("a.test", 81));
    CHECK(rig.find("a.test", asker) == "later");
    rig.redis->answer(failure);
    rig.socket->answer(lookup::unknown());
    CHECK(asker.text() == "a.test");
    CHECK((**asker.heard)->targets.front().port == 81);
    CHECK(rig.cache->learned.empty());
    CHECK(rig.counters.last_known.value() == 1);
  }
  SUBCASE("at once, so that all is said at once") {
    rig.redis->answers.emplace("a.test", failure);
    rig.socket->answers.emplace("a.test", lookup::unknown());
    CHECK(rig.find("a.test", asker) == "closed");
  }
}

TEST_CASE("lookup: many who ask for one name are one question") {
  Rig rig;
  Asker askers[3];
  Asker other;
  for (Asker& asker : askers) CHECK(rig.find("a.test", asker) == "later");
  CHECK(rig.find("b.test", other) == "later");
  CHECK(rig.redis->asked == Names{"a.test", "b.test"});
  rig.redis->answer(route_to("a.test"));
  for (const Asker& asker : askers) CHECK(asker.text() == "a.test");
  CHECK(other.times == 0);
  rig.redis->answer(route_to("b.test"));
  CHECK(other.text() == "b.test");
}

TEST_CASE("lookup: who goes away is not told, and the cache learns all the same") {
  Rig rig;
  std::optional<Asker> gone(std::in_place);
  Asker stays;
  CHECK(rig.find("a.test", *gone) == "later");
  CHECK(rig.find("a.test", stays) == "later");
  gone.reset();
  rig.redis->answer(route_to("a.test"));
  CHECK(stays.times == 1);

  std::optional<Asker> alone(std::in_place);
  CHECK(rig.find("b.test", *alone) == "later");
  alone.reset();
  rig.redis->answer(route_to("b.test"));
  CHECK(rig.cache->learned.back() == "b.test=b.test");
}

TEST_CASE("lookup: who is told may ask again and send others away") {
  Rig rig;
  Asker first;
  std::optional<Asker> second(std::in_place);
  std::string again;
  Asker next;
  first.then = [&] {
    second.reset();
    again = rig.find("a.test", next);
  };
  CHECK(rig.find("a.test", first) == "later");
  CHECK(rig.find("a.test", *second) == "later");
  rig.redis->answer(route_to("a.test"));
  CHECK(first.times == 1);
  CHECK(again == "later");
  rig.redis->answer(route_to("other.test"));
  CHECK(next.text() == "other.test");
}

TEST_CASE("lookup: an answer from before a change is not taught, and nobody new waits for it") {
  Rig rig;
  Asker before;
  Asker after;
  CHECK(rig.find("a.test", before) == "later");
  SUBCASE("by name") {
    rig.lookup->forget(Names{"a.test"});
    CHECK(rig.cache->forgotten == Names{"a.test"});
  }
  SUBCASE("by a pattern") {
    rig.lookup->forget(Names{"**.test", "b.test"});
  }
  SUBCASE("by everything") {
    rig.lookup->forget_all();
    CHECK(rig.cache->forgotten == Names{"everything"});
  }
  CHECK(rig.find("a.test", after) == "later");
  CHECK(rig.redis->asked.size() == 2);
  rig.redis->answer(route_to("old.test"));
  CHECK(before.text() == "old.test");
  CHECK(rig.cache->learned.empty());
  CHECK(after.times == 0);
  rig.redis->answer(route_to("new.test"));
  CHECK(after.text() == "new.test");
  CHECK(rig.cache->learned == Names{"a.test=new.test"});
}

TEST_CASE("lookup: a change of other hosts leaves what is under way alone") {
  Rig rig;
  Asker asker;
  CHECK(rig.find("a.test", asker) == "later");
  rig.lookup->forget(Names{"b.test", "*.example.com"});
  rig.redis->answer(route_to("a.test"));
  CHECK(rig.cache->learned == Names{"a.test=a.test"});
}

TEST_CASE("lookup: names that are looked up at the same time are bounded") {
  Rig rig;
  std::vector<std::unique_ptr<Asker>> askers;
  for (std::size_t i = 0; i < Lookup::max_flights; ++i) {
    askers.push_back(std::make_unique<Asker>());
    REQUIRE(rig.find(std::to_string(i) + ".test", *askers.back()) == "later");
  }
  Asker more;
  CHECK(rig.find("more.test", more) == "busy");
  CHECK(rig.redis->asked.size() == Lookup::max_flights);
  Asker joins;
  CHECK(rig.find("0.test", joins) == "later");
  rig.redis->answer(route_to("0.test"));
  CHECK(joins.times == 1);
  CHECK(rig.find("more.test", more) == "later");
}

TEST_CASE("lookup: it may go while names are looked up") {
  Asker asker;
  {
    Rig rig;
    CHECK(rig.find("a.test", asker) == "later");
  }
  CHECK(asker.times == 0);
  CHECK_FALSE(asker.linked());
}

TEST_CASE("lookup: a hit of the cache allocates nothing") {
  io::Loop loop;
  lookup::LookupCounters counters(2);
  std::vector<std::unique_ptr<lookup::Tier>> tiers;
  tiers.push_back(std::make_unique<lookup::CacheTier>(
      loop, lookup::CacheTier::Limits{10, Millis{60'000}, Millis{1'000}}));
  auto other = std::make_unique<ScriptedTier>("other");
  other->answers.emplace("a.example.test", route_to("a.example.test"));
  tiers.push_back(std::move(other));
  Lookup lookup(loop, std::move(tiers), counters);
  Asker asker;
  REQUIRE(lookup.find("a.example.test", asker));
  const std::size_t before = test::allocations();
  for (int i = 0; i < 1000; ++i) {
    const auto found = lookup.find("a.example.test", asker);
    if (!found || !*found) FAIL("not found");
  }
  CHECK(test::allocations() == before);
  CHECK(counters.tiers[0].hits.value() == 1000);
}

TEST_CASE("patterns: names are named, or matched by a pattern") {
  const Names texts = {"a.test", "*.example.com", "**.deep.test", "*.example.com"};
  const lookup::Patterns patterns(texts);
  CHECK(patterns.names().size() == 1);
  CHECK(patterns.wild());
  CHECK(patterns.match("x.example.com"));
  CHECK_FALSE(patterns.match("x.y.example.com"));
  CHECK(patterns.match("x.y.deep.test"));
  CHECK_FALSE(patterns.match("a.test"));
  CHECK(patterns.has("*.example.com"));
  CHECK_FALSE(patterns.has("*.test"));
  CHECK_FALSE(lookup::Patterns(Names{"a.test"}).wild());
}
