#include "lookup/cache_tier.h"

#include "support/fake_clock.h"
#include "support/tiers.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::CacheTier;
using test::Asker;
using test::pass;
using test::route_to;
using test::told;

namespace {

using Names = std::vector<std::string>;

struct Rig {
  explicit Rig(std::size_t entries = 100)
      : cache(loop, {.entries = entries, .ttl = Millis{1'000}, .negative_ttl = Millis{100}}) {}
  std::string find(std::string_view host) {
    Asker nobody;
    return told(*cache.find(host, nobody));
  }
  void learn(const std::string& host, std::string pattern = {}) {
    cache.learn(host, route_to(pattern.empty() ? host : std::move(pattern)));
  }
  io::Loop loop;
  CacheTier cache;
};

}  // namespace

TEST_CASE("cache: knows what it learned, for its time") {
  Rig rig;
  CHECK(rig.cache.name() == "cache");
  CHECK(rig.find("a.test") == "unknown");
  rig.learn("a.test");
  rig.cache.learn("none.test", Error{Errc::not_found});
  CHECK(rig.find("a.test") == "a.test");
  CHECK(rig.find("none.test") == "not_found");
  pass(rig.loop, Millis{100});
  CHECK(rig.find("none.test") == "unknown");
  CHECK(rig.find("a.test") == "a.test");
  pass(rig.loop, Millis{900});
  CHECK(rig.find("a.test") == "unknown");
  rig.learn("a.test");
  CHECK(rig.find("a.test") == "a.test");
  CHECK(rig.cache.size() == 2);
}

TEST_CASE("cache: an answer that is too old, or forgotten, is still the last known") {
  Rig rig;
  CHECK(rig.cache.last_known("a.test") == nullptr);
  rig.learn("a.test");
  rig.cache.learn("none.test", Error{Errc::not_found});
  SUBCASE("too old") {
    pass(rig.loop, Millis{1'000});
  }
  SUBCASE("forgotten") {
    rig.cache.forget(Names{"a.test"});
  }
  SUBCASE("with all others") {
    rig.cache.forget_all();
  }
  CHECK(rig.find("a.test") == "unknown");
  REQUIRE(rig.cache.last_known("a.test") != nullptr);
  CHECK(rig.cache.last_known("none.test") == nullptr);
  rig.cache.learn("a.test", Error{Errc::not_found});
  CHECK(rig.cache.last_known("a.test") == nullptr);
}

TEST_CASE("cache: a pattern makes it forget whom it matches and whom it answered") {
  Rig rig;
  rig.learn("a.example.com", "*.example.com");
  rig.learn("b.example.com");
  rig.learn("example.com", "*.example.com");  // of a service with another rule
  rig.learn("a.b.example.com", "**.example.com");
  rig.cache.learn("c.example.com", Error{Errc::not_found});
  rig.cache.forget(Names{"*.example.com"});
  CHECK(rig.find("a.example.com") == "unknown");
  CHECK(rig.find("b.example.com") == "unknown");
  CHECK(rig.find("c.example.com") == "unknown");
  CHECK(rig.find("example.com") == "unknown");
  CHECK(rig.find("a.b.example.com") == "**.example.com");
}

TEST_CASE("cache: a name makes it forget that name only") {
  Rig rig;
  rig.learn("a.test");
  rig.learn("b.test");
  rig.cache.forget(Names{"a.test", "unknown.test"});
  CHECK(rig.find("a.test") == "unknown");
  CHECK(rig.find("b.test") == "b.test");
}

TEST_CASE("cache: is bounded, and the one used longest ago makes room") {
  Rig rig(4);
  for (const char* name : {"1", "2", "3", "4"}) rig.learn(name);
  rig.learn("5");
  CHECK(rig.cache.size() == 4);
  CHECK(rig.find("1") == "unknown");
  for (const char* name : {"2", "3", "4", "5"}) CHECK(rig.find(name) == name);
  // All were used again now; three quarters may count as such.
  rig.learn("6");
  CHECK(rig.find("2") == "unknown");
  for (const char* name : {"3", "4", "5", "6"}) CHECK(rig.find(name) == name);
}

TEST_CASE("cache: a flood of names that come once does not push out the busy ones") {
  Rig rig(100);
  for (int i = 0; i < 70; ++i) {
    rig.learn("busy" + std::to_string(i));
    rig.find("busy" + std::to_string(i));
  }
  for (int i = 0; i < 10'000; ++i) rig.learn("random" + std::to_string(i), "*.test");
  CHECK(rig.cache.size() == 100);
  for (int i = 0; i < 70; ++i) {
    CAPTURE(i);
    CHECK(rig.find("busy" + std::to_string(i)) == "busy" + std::to_string(i));
  }
}

TEST_CASE("cache: one entry is enough") {
  Rig rig(1);
  for (const char* name : {"a", "b", "b", "c"}) {
    rig.learn(name);
    CHECK(rig.find(name) == name);
    CHECK(rig.find(name) == name);
  }
  CHECK(rig.cache.size() == 1);
}
