#include "lookup/redis_tier.h"

#include "support/golden.h"
#include "support/redis_server.h"
#include "support/tiers.h"
#include "support/turns.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::RedisTier;
using test::Asker;
using test::RedisServer;
using test::run_until;
using test::told;

namespace {

struct Rig {
  Rig() : tier(loop, *redis::Url::parse(server.url()), limits(), ids) {}

  static io::Conversation::Limits limits() {
    io::Conversation::Limits limits;
    limits.back_off = Millis{20};
    limits.back_off_most = Millis{100};
    return limits;
  }
  lookup::Answer ask(std::string_view host) {
    Asker asker;
    if (auto now = tier.find(host, asker)) return *std::move(now);
    run_until(loop, [&] { return asker.times == 1; });
    return *std::move(asker.heard);
  }
  std::string find(std::string_view host) { return told(ask(host)); }

  RedisServer server;
  host::StatsIds ids{10};
  io::Loop loop;
  RedisTier tier;
};

}  // namespace

TEST_CASE("redis tier: finds the record of that very name") {
  Rig rig;
  CHECK(rig.tier.name() == "redis");
  CHECK(rig.tier.remote());
  rig.server.run({"HSET", "proxy_Host_a.test", "host", "a.test", "ip", "10.0.0.5", "targetPort",
                  "8080", "forcessl", "false"});
  const auto answer = rig.ask("a.test");
  REQUIRE(answer);
  REQUIRE(*answer);
  CHECK((*answer)->pattern == "a.test");
  CHECK((*answer)->targets.front().text() == "10.0.0.5:8080");
  CHECK_FALSE((*answer)->forcessl);
  CHECK(rig.find("b.test") == "unknown");
}

TEST_CASE("redis tier: no index is needed, a ghost is no host, the key says whose record it is") {
  Rig rig;
  rig.server.run({"HSET", "proxy_Host_ghost.test", "updated_by", "a", "updated_on", "1"});
  rig.server.run(
      {"HSET", "proxy_Host_odd.test", "host", "other.test", "ip", "10.0.0.5", "targetPort", "80"});
  CHECK(rig.find("ghost.test") == "unknown");
  CHECK(rig.find("odd.test") == "odd.test");
}

TEST_CASE("redis tier: a broken record is told with server, key and field, and the next is fine") {
  Rig rig;
  rig.server.run(
      {"HSET", "proxy_Host_bad.test", "host", "bad.test", "ip", "10.0.0.5", "targetPort", "99999"});
  rig.server.run({"SET", "proxy_Host_text.test", "hello"});
  rig.server.run({"HSET", "proxy_Host_a.test", "ip", "10.0.0.5", "targetPort", "80"});
  const auto bad = rig.ask("bad.test");
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == Errc::invalid);
  CHECK(bad.error().detail == rig.server.url() +
                                  "/0: proxy_Host_bad.test: field 'targetPort': 99999 is over "
                                  "65535");
  const auto text = rig.ask("text.test");
  REQUIRE_FALSE(text);
  CHECK(text.error().code == Errc::invalid);
  CHECK(text.error().detail ==
        rig.server.url() + "/0: HGETALL proxy_Host_text.test: expected a hash, found another type");
  CHECK(rig.find("a.test") == "a.test");
}

TEST_CASE("redis tier: a record of 100 MB is refused, and not asked for again for a while") {
  Rig rig;
  rig.server.run({"HSET", "proxy_Host_huge.test", "ip", "10.0.0.5", "targetPort", "80"});
  rig.server.run({"SETRANGE", "big", "99999999", "x"});
  rig.server.run({"EVAL", "redis.call('HSET', KEYS[1], 'x', redis.call('GET', KEYS[2]))", "2",
                  "proxy_Host_huge.test", "big"});
  rig.server.run({"HSET", "proxy_Host_a.test", "ip", "10.0.0.5", "targetPort", "80"});
  // The server takes its time for it, maybe too long: then the late answer tells.
  CHECK_FALSE(rig.ask("huge.test"));
  Asker nobody;
  std::optional<lookup::Answer> again;
  run_until(rig.loop, [&] {
    nobody.unlink();
    if (!again || told(*again) != "limit") again = rig.tier.find("huge.test", nobody);
    return again && told(*again) == "limit";
  });
  CHECK(again->error().detail == rig.server.url() + "/0: proxy_Host_huge.test: too large");
  run_until(rig.loop, [&] { return rig.find("a.test") == "a.test"; });
  // Once it changed it may be asked for.
  rig.server.run({"DEL", "proxy_Host_huge.test"});
  rig.tier.forget(std::vector<std::string>{"huge.test"});
  run_until(rig.loop, [&] { return rig.find("huge.test") == "unknown"; });
}

TEST_CASE("redis tier: nobody waits for a server that is gone, and one that hangs costs one wait") {
  Rig rig;
  rig.server.run({"HSET", "proxy_Host_a.test", "ip", "10.0.0.5", "targetPort", "80"});
  CHECK(rig.find("a.test") == "a.test");
  SUBCASE("it hangs") {
    rig.server.hang();
    CHECK(rig.find("a.test") == "timeout");
    Asker nobody;
    const auto refused = rig.tier.find("a.test", nobody);
    REQUIRE(refused);
    CHECK(told(*refused) == "busy");
    rig.server.go_on();
    run_until(rig.loop, [&] { return rig.find("a.test") == "a.test"; });
  }
  SUBCASE("it is killed") {
    rig.server.kill();
    run_until(rig.loop, [&] { return rig.find("a.test") == "closed"; });
    Asker nobody;
    const auto refused = rig.tier.find("a.test", nobody);
    REQUIRE(refused);
    rig.server.start();
    run_until(rig.loop, [&] { return rig.find("a.test") == "unknown"; });
  }
}

TEST_CASE("redis tier: who goes away is not told") {
  Rig rig;
  {
    Asker gone;
    REQUIRE_FALSE(rig.tier.find("a.test", gone));
  }
  CHECK(rig.find("b.test") == "unknown");
}

TEST_CASE("redis tier: every usable host of a real installation is found") {
  Rig rig;
  test::load_golden(rig.server);
  const redis::Reply index = rig.server.run({"SMEMBERS", "proxy_Host"});
  int found = 0;
  std::vector<std::string> refused;
  for (const redis::Reply& member : index.items) {
    std::string scratch;
    const std::string name(HostName::normalize(member.text, scratch));
    if (name != member.text) continue;  // a pattern, or a name that no request has
    const std::string key = "proxy_Host_" + name;
    const redis::Reply address = rig.server.run({"HGET", key, "ip"});
    CAPTURE(name);
    if (address.is(redis::Reply::Type::nil)) {
      CHECK(rig.find(name) == "unknown");
      continue;
    }
    const auto answer = rig.ask(name);
    if (!answer) {
      refused.push_back(name);
      continue;
    }
    REQUIRE(*answer);
    CHECK((*answer)->targets.front().name == address.text);
    ++found;
  }
  std::sort(refused.begin(), refused.end());
  CHECK(refused == std::vector<std::string>{"port0.example.com"});  // no port is 0
  CHECK(found > 5);
}
