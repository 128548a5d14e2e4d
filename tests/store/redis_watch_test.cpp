#include "store/redis_watch.h"

#include "support/redis_server.h"
#include "support/told.h"

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using store::RedisWatch;
using store::Watchers;

namespace {

// A watch of "a_" by itself, as a store has one.
struct Rig {
  explicit Rig(const std::string& url, Seconds poll = Seconds{3600})
      : watch(*redis::Url::parse(url), backoff, watchers, poll),
        handle(watchers.add("a_", told.callback())) {
    watch.cover();
  }
  // Until what the watch says of itself is so.
  template <class Condition>
  bool comes(Condition condition) {
    const Deadline by = Deadline::in(test::Told::patience);
    while (!condition(*watch.health())) {
      if (by.passed()) return false;
      std::this_thread::yield();
    }
    return true;
  }

  test::Told told;
  redis::Backoff backoff;
  Watchers watchers;
  RedisWatch watch;
  std::unique_ptr<Watch> handle;
};

// A user who may not do what `denied` says.
std::string limited_user(test::RedisServer& server, std::vector<std::string_view> denied) {
  std::vector<std::string_view> command = {"ACL", "SETUSER", "limited", "on",
                                           ">pw", "~*",      "&*",      "+@all"};
  command.insert(command.end(), denied.begin(), denied.end());
  server.run(command);
  return "redis://limited:pw@127.0.0.1:" + std::to_string(server.port());
}

}  // namespace

TEST_CASE("redis watch: with tracking, writes of anybody under the prefix are told, and a flush") {
  test::RedisServer server;
  Rig rig(server.url());
  CHECK(rig.watch.health()->events == "tracking");
  server.run({"SET", "b_1", "x"});
  server.run({"HSET", "a_1", "f", "v"});
  CHECK(rig.told.wait_for("a_1"));
  server.run({"SET", "a_2", "x"});
  CHECK(rig.told.wait_for("a_2"));
  server.run({"DEL", "a_1"});
  CHECK_FALSE(rig.told.has("b_1"));
  CHECK_FALSE(rig.told.has("a_"));
  server.run({"FLUSHALL"});
  CHECK(rig.told.wait_for("a_"));
}

TEST_CASE("redis watch: a prefix that is added is told too, and none is lost meanwhile") {
  test::RedisServer server;
  Rig rig(server.unix_url());
  test::Told more;
  const auto wider = rig.watchers.add("b", more.callback());
  const auto inside = rig.watchers.add("b_1", more.callback());  // overlaps
  rig.watch.cover();
  server.run({"SET", "b_1", "x"});
  CHECK(more.wait_for("b_1"));
  server.run({"SET", "a_1", "x"});
  CHECK(rig.told.wait_for("a_1"));
  test::Told all;
  const auto everything = rig.watchers.add("", all.callback());
  rig.watch.cover();
  server.run({"SET", "z", "x"});
  CHECK(all.wait_for("z"));
  CHECK(rig.watch.health()->events == "tracking");
}

TEST_CASE("redis watch: where tracking is denied, keyspace events are used that the server sends") {
  test::RedisServer server({"--notify-keyspace-events", "Kgh$"});
  for (const char* key : {"x1", "x2", "x3"}) server.run({"SET", key, "x"});
  Rig rig(limited_user(server, {"-client|tracking"}));
  CHECK(rig.watch.health()->events == "keyspace");
  server.run({"HSET", "a_1", "f", "v"});
  CHECK(rig.told.wait_for("a_1"));
  CHECK_FALSE(rig.told.has("a_"));
  test::Told more;
  const auto other = rig.watchers.add("b[", more.callback());
  rig.watch.cover();
  server.run({"SET", "b[1", "x"});
  CHECK(more.wait_for("b[1"));
  // A flush is no event, but is seen, also if as many keys come at once.
  CHECK_FALSE(rig.told.has("a_"));
  server.run({"FLUSHALL"});
  for (const char* key : {"x1", "x2", "x3", "a_1"}) server.run({"SET", key, "x"});
  CHECK(rig.told.wait_for("a_"));
}

TEST_CASE("redis watch: without either, our own stores are heard, and the rest is looked for") {
  test::RedisServer server;
  Rig rig(limited_user(server, {"-client|tracking"}), Seconds{1});
  CHECK(rig.watch.health()->events == "channel");
  CHECK(rig.watch.hears_us());
  server.run({"PUBLISH", RedisWatch::channel, "a_1"});
  CHECK(rig.told.wait_for("a_1"));
  CHECK(rig.told.wait_for("a_"));  // a second later
}

TEST_CASE("redis watch: who may not subscribe looks for everything") {
  test::RedisServer server;
  Rig rig(limited_user(server, {"-client|tracking", "-subscribe", "-psubscribe"}), Seconds{1});
  CHECK(rig.watch.health()->events == "poll");
  CHECK_FALSE(rig.watch.hears_us());
  CHECK(rig.told.wait_for("a_"));
}

TEST_CASE("redis watch: after a server was killed and restarted the prefix is told") {
  test::RedisServer server;
  Rig rig(server.url());
  server.kill();
  CHECK(rig.comes([](const Store::Health& health) { return !health.reachable; }));
  CHECK(rig.watch.health()->why.find("redis://127.0.0.1") != std::string::npos);
  CHECK_FALSE(rig.watch.hears_us());
  CHECK_FALSE(rig.told.has("a_"));  // nothing is known yet
  server.start();
  CHECK(rig.told.wait_for("a_"));
  CHECK(rig.comes([](const Store::Health& health) { return health.reachable; }));
  server.run({"SET", "a_1", "x"});
  CHECK(rig.told.wait_for("a_1"));
}

TEST_CASE("redis watch: a watch of a server that is not there begins at once, and is told later") {
  test::RedisServer server;
  server.kill();
  Rig rig(server.url());
  CHECK_FALSE(rig.watch.health()->reachable);
  server.start();
  CHECK(rig.told.wait_for("a_"));
}

TEST_CASE("redis watch: each of its connections that is cut is noticed") {
  test::RedisServer server;
  Rig rig(server.url());
  for (const char* which : {"pubsub", "normal"}) {
    CAPTURE(which);
    rig.told.forget();
    server.run({"CLIENT", "KILL", "TYPE", which});
    CHECK(rig.told.wait_for("a_"));
    CHECK(rig.comes([](const Store::Health& health) { return health.reachable; }));
  }
}

TEST_CASE("redis watch: the lag is measured, and a server that hangs is dead after three seconds") {
  test::RedisServer server;
  Rig rig(server.url());
  CHECK(rig.comes([](const Store::Health& health) { return health.lag > Millis{0}; }));
  server.hang();
  CHECK(rig.comes([](const Store::Health& health) { return !health.reachable; }));
  CHECK(rig.watch.health()->why.find("PING: no answer in 3000 ms") != std::string::npos);
  server.go_on();
  CHECK(rig.told.wait_for("a_"));
}

TEST_CASE("redis watch: ends at once while its server hangs") {
  test::RedisServer server;
  const auto before = std::chrono::steady_clock::now();
  {
    Rig rig(server.url());
    server.hang();
  }
  server.go_on();
  CHECK(std::chrono::steady_clock::now() - before < RedisWatch::ping_patience);
}
