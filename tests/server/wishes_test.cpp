#include "server/wishes.h"

#include "support/away_store.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using server::Wishes;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{5});
}

struct Rig {
  explicit Rig(Config::Acme given = {}) : limits(std::move(given)) {}

  bool wished(const std::string& name) {
    return store.get("proxycore_wish_" + name, soon()).has_value();
  }
  // The runner has taken it.
  void take(const std::string& name) { REQUIRE(store.erase("proxycore_wish_" + name, soon())); }
  void tell_story(const std::string& name, const Record& story) {
    REQUIRE(store.put("proxycore_story_" + name, story, {}, soon()));
  }

  AwayStore store;
  std::map<std::string, std::string> hosts = {{"a.test", "a.test"}, {"b.test", "b.test"}};
  std::int64_t now = 1'000'000'000'000;
  Config::Acme limits;
  Wishes wishes{store, limits,
                [this](const std::string& name, const Deadline& /*by*/) -> Result<std::string> {
                  if (name.ends_with(".w.test")) return std::string("**.w.test");
                  const auto at = hosts.find(name);
                  if (at == hosts.end()) return Error{Errc::not_found};
                  return at->second;
                },
                [this] { return now; }};
};

Config::Acme of(std::uint32_t pending, std::uint32_t names_per_pattern) {
  Config::Acme limits;
  limits.pending = pending;
  limits.names_per_pattern = names_per_pattern;
  return limits;
}

}  // namespace

TEST_CASE("wishes: the name of a host becomes a record that tells since when") {
  Rig rig;
  CHECK(rig.wishes.wanted("a.test"));
  const auto record = rig.store.get("proxycore_wish_a.test", soon());
  REQUIRE(record);
  CHECK(*record == Record{{"name", "a.test"}, {"since", "1000000000000"}});
  CHECK(rig.wishes.pending("a.test"));
  rig.now += 5;
  CHECK(rig.wishes.wanted("a.test"));  // by another visitor, or another proxyd
  CHECK(*rig.store.get("proxycore_wish_a.test", soon()) == *record);
  rig.wishes.done("a.test");
  CHECK_FALSE(rig.wishes.pending("a.test"));
}

TEST_CASE("wishes: nothing is wished for that no host allows, or no CA vouches for") {
  Rig rig;
  for (const char* name : {"localhost", "127.0.0.1", "[::1]", "other.test"}) {
    CAPTURE(name);
    rig.hosts.erase("other.test");
    if (std::string_view(name) != "other.test") rig.hosts.emplace(name, name);
    CHECK_FALSE(rig.wishes.wanted(name));
    CHECK_FALSE(rig.wished(name));
    CHECK_FALSE(rig.wishes.pending(name));
  }
  for (const char* type : {"none", "wildcardChild"}) {
    CAPTURE(type);
    REQUIRE(rig.store.put("proxy_Host_a.test", {{"host", "a.test"}, {"challengeType", type}}, {},
                          soon()));
    CHECK_FALSE(rig.wishes.wanted("a.test"));
    CHECK_FALSE(rig.wished("a.test"));
  }
  REQUIRE(rig.store.put("proxy_Host_a.test", {{"host", "a.test"}, {"challengeType", "HTTP-01"}}, {},
                        soon()));
  CHECK(rig.wishes.wanted("a.test"));
}

TEST_CASE("wishes: after a failure nothing is wished for until the next try is due") {
  Rig rig;
  CHECK(rig.wishes.wanted("a.test"));
  rig.tell_story("a.test", {{"state", "valid"}, {"next_ms", "1000000060000"}});
  CHECK(rig.wishes.wanted("a.test"));  // it goes on
  rig.tell_story("a.test", {{"state", "failing"}, {"next_ms", "1000000060000"}});
  rig.take("a.test");
  CHECK_FALSE(rig.wishes.wanted("a.test"));
  CHECK_FALSE(rig.wished("a.test"));
  CHECK_FALSE(rig.wishes.pending("a.test"));
  rig.now = 1'000'000'060'000;
  CHECK(rig.wishes.wanted("a.test"));
  CHECK(rig.wished("a.test"));
  // What cannot be read keeps nobody away.
  rig.tell_story("b.test", {{"state", "dreaming"}, {"next_ms", "later"}});
  CHECK(rig.wishes.wanted("b.test"));
}

TEST_CASE("wishes: so many at a time, until they are done or their time has passed") {
  Rig rig(of(2, 100));
  CHECK(rig.wishes.wanted("a.test"));
  CHECK(rig.wishes.wanted("x.w.test"));
  CHECK_FALSE(rig.wishes.wanted("b.test"));
  CHECK_FALSE(rig.wished("b.test"));
  CHECK(rig.wishes.wanted("a.test"));
  rig.wishes.done("a.test");
  CHECK(rig.wishes.wanted("b.test"));
  CHECK_FALSE(rig.wishes.wanted("a.test"));
  rig.now += 60'000;
  CHECK(rig.wishes.wanted("a.test"));
}

TEST_CASE("wishes: so many names of a pattern an hour; a host's own name is none of these") {
  Rig rig(of(100, 2));
  CHECK(rig.wishes.wanted("x.w.test"));
  CHECK(rig.wishes.wanted("y.w.test"));
  CHECK_FALSE(rig.wishes.wanted("z.w.test"));
  CHECK_FALSE(rig.wished("z.w.test"));
  for (const char* name : {"x.w.test", "y.w.test"}) rig.wishes.done(name);
  CHECK_FALSE(rig.wishes.wanted("z.w.test"));
  CHECK(rig.wishes.wanted("x.w.test"));  // counted already
  CHECK(rig.wishes.wanted("a.test"));
  CHECK(rig.wishes.wanted("b.test"));
  rig.now += 3'600'000;
  CHECK(rig.wishes.wanted("z.w.test"));
}

TEST_CASE("wishes: a store that is away is nobody to wait for") {
  Rig rig(of(1, 1));
  rig.store.away = true;
  CHECK_FALSE(rig.wishes.wanted("a.test"));
  CHECK_FALSE(rig.wishes.pending("a.test"));
  rig.store.away = false;
  CHECK(rig.wishes.wanted("b.test"));
}
