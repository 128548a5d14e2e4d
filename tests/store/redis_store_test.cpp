#include "host/host_record.h"
#include "host/keys.h"
#include "redis/sync_client.h"
#include "store/backends.h"
#include "support/golden.h"
#include "support/redis_server.h"
#include "support/store_contract.h"
#include "support/told.h"
#include <proxycore/host.h>
#include <proxycore/observe.h>
#include <proxycore/store.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using redis::Reply;

namespace {

Deadline soon() {
  return Deadline::in(test::Told::patience);
}

std::unique_ptr<Store> open(const test::RedisServer& server) {
  auto opened = open_store(server.url());
  REQUIRE(opened);
  return *std::move(opened);
}

// As if `span` had passed on the server: every time to live is that much shorter.
void age(test::RedisServer& server, Seconds span) {
  for (const Reply& key : server.run({"KEYS", "*"}).items) {
    const std::int64_t left = server.run({"PTTL", key.text}).integer;
    if (left < 0) continue;
    const std::int64_t then = std::max<std::int64_t>(left - Millis{span}.count(), 0);
    server.run({"PEXPIRE", key.text, std::to_string(then)});
  }
}

std::set<std::string> members(test::RedisServer& server, std::string_view index) {
  std::set<std::string> names;
  for (const Reply& name : server.run({"SMEMBERS", index}).items) names.insert(name.text);
  return names;
}

Record host_record(std::string_view name) {
  return {{"host", std::string(name)}, {"ip", "127.0.0.1"}, {"targetPort", "80"}};
}

std::set<std::string> scanned(Store& store, std::string_view prefix) {
  std::set<std::string> found;
  REQUIRE(store.scan(
      prefix, [&](std::string_view key, Record&&) { found.emplace(key); }, soon()));
  return found;
}

// What is logged while it lives.
class Lines {
 public:
  Lines() {
    set_log_sink([this](LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex_);
      all_.append(line).append("\n");
    });
  }
  ~Lines() { set_log_sink({}); }
  [[nodiscard]] bool has(std::string_view text) const {
    const std::lock_guard lock(mutex_);
    return all_.find(text) != std::string::npos;
  }

 private:
  mutable std::mutex mutex_;
  std::string all_;
};

}  // namespace

TEST_CASE("redis store: keeps what every store promises") {
  test::RedisServer server;
  test::check_store_contract(
      [&](test::TestClock& clock) {
        server.run({"FLUSHALL"});
        clock.also = [&server](Seconds span) { age(server, span); };
        return store::make_redis(*redis::Url::parse(server.url()), {});
      },
      test::Scans::each_record);
}

TEST_CASE("redis store: says what it is, without the password, and needs no server to begin") {
  const auto store = open_store("redis://me:secret@127.0.0.1:1/2");
  REQUIRE(store);
  CHECK((*store)->describe() == "redis://127.0.0.1:1/2");
  CHECK((*store)->health().reachable);
  const auto got = (*store)->get("k", soon());
  CHECK(got.error().code == Errc::refused);
  CHECK(got.error().detail.find("secret") == std::string::npos);
  CHECK_FALSE((*store)->health().reachable);
  CHECK((*store)->health().why.find("refused") != std::string::npos);
  const auto wrong = open_store("redis://me:secret@");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == Errc::invalid);
  CHECK(wrong.error().detail.find("secret") == std::string::npos);
}

TEST_CASE("redis store: a record is a hash, and its model's set lists it") {
  test::RedisServer server;
  const auto store = open(server);
  const std::string key = host::keys::host("*.a.test");
  REQUIRE(store->put(key, host_record("*.a.test"), {}, soon()));
  CHECK(server.run({"TYPE", key}).text == "hash");
  CHECK(server.run({"HGET", key, "targetPort"}).text == "80");
  CHECK(members(server, "proxy_Host") == std::set<std::string>{"*.a.test"});
  REQUIRE(store->create(host::keys::host("b.test"), host_record("b.test"), Seconds{60}, soon()));
  CHECK(members(server, "proxy_Host").contains("b.test"));
  CHECK(server.run({"PTTL", host::keys::host("b.test")}).integer > 50'000);
  CHECK(*store->erase(key, soon()));
  CHECK(members(server, "proxy_Host") == std::set<std::string>{"b.test"});
  CHECK(server.run({"EXISTS", key}).integer == 0);
  const std::vector<std::pair<std::string, Record>> many = {
      {host::keys::host("c.test"), host_record("c.test")},
      {host::keys::cached("c.test"), {{"host", "c.test"}, {"parent", "*.test"}}}};
  REQUIRE(store->put_all(many, Seconds{3600}, soon()));
  CHECK(members(server, "proxy_Host").contains("c.test"));
  CHECK(members(server, "proxy_Cached") == std::set<std::string>{"c.test"});
}

TEST_CASE("redis store: erasing what is only listed takes it off the list") {
  test::RedisServer server;
  const auto store = open(server);
  server.run({"SADD", "proxy_Host", "gone.test"});
  CHECK_FALSE(*store->erase("proxy_Host_gone.test", soon()));
  CHECK(members(server, "proxy_Host").empty());
}

TEST_CASE("redis store: a certificate is one text, and has no other field") {
  test::RedisServer server;
  const auto store = open(server);
  REQUIRE(store->put("*.a.test:latest", {{"value", "{}"}}, {}, soon()));
  CHECK(server.run({"GET", "*.a.test:latest"}).text == "{}");
  const auto refused = store->put("*.a.test:latest", {{"expiry", "1"}}, {}, soon());
  CHECK(refused.error().message() ==
        "invalid: record '*.a.test:latest': expected the field 'value' alone");
  REQUIRE(store->put("a.test:challenge:tok", {{"value", "x"}}, Seconds{60}, soon()));
  CHECK(server.run({"PTTL", "a.test:challenge:tok"}).integer > 50'000);
}

TEST_CASE("redis store: what is no record cannot be written as one") {
  test::RedisServer server;
  const auto store = open(server);
  for (const char* key : {"proxy_Host", "proxycore_lock_{x}", "proxycore_fence_{x}"}) {
    CHECK(store->put(key, {{"a", "b"}}, {}, soon()).error().code == Errc::invalid);
    CHECK_FALSE(*store->erase(key, soon()));
  }
  CHECK(store->put("proxycore_ticket_keys", {{"a", "b"}}, {}, soon()));
  Record wide;
  for (int i = 0; i < 70'000; ++i) wide.emplace(std::to_string(i), "");
  CHECK(store->put("k", wide, {}, soon()).error().code == Errc::limit);
}

TEST_CASE("redis store: a wrong type is an error that names key and type") {
  test::RedisServer server;
  const auto store = open(server);
  server.run({"SET", "proxy_Host_x", "text"});
  server.run({"HSET", "x:latest", "a", "b"});
  CHECK(store->get("proxy_Host_x", soon()).error().message() ==
        "invalid: " + server.url() +
            "/0: HGETALL proxy_Host_x: expected a hash, found another type");
  CHECK(store->get("x:latest", soon()).error().detail.find("GET x:latest: expected a text") !=
        std::string::npos);
  const auto change = [](const Record&) -> Result<Record> { return Record{{"a", "b"}}; };
  CHECK(store->update("proxy_Host_x", change, Life::as_before, soon()).error().code ==
        Errc::invalid);
  REQUIRE(store->put("proxy_Host_x", host_record("x"), {}, soon()));  // replaces the whole
  CHECK(store->get("proxy_Host_x", soon())->at("ip") == "127.0.0.1");
}

TEST_CASE("redis store: a scan skips what is broken, says so, and reads the rest") {
  test::RedisServer server;
  const auto store = open(server);
  std::set<std::string> good;
  for (int i = 100; i < 1100; ++i) {
    const std::string name = std::to_string(i) + ".test";
    good.insert(host::keys::host(name));
    REQUIRE(store->put(host::keys::host(name), host_record(name), {}, soon()));
  }
  server.run({"SET", "proxy_Host_500.wrong", "text"});
  server.run({"HSET", "proxy_Host_600.large", "host", "600.large"});
  const std::string huge(std::size_t{9} << 20, 'x');
  server.run({"HSET", "proxy_Host_600.large", "notes", huge});
  server.run({"SADD", "proxy_Host_1.set", "a"});
  const Lines lines;
  CHECK(scanned(*store, "proxy_Host_") == good);
  CHECK(lines.has("proxy_Host_500.wrong"));
  CHECK(lines.has("expected a hash, found another type"));
  CHECK(lines.has("proxy_Host_600.large"));
  CHECK(lines.has("proxy_Host_1.set"));
}

TEST_CASE("redis store: the characters of patterns in a prefix are only characters") {
  test::RedisServer server;
  const auto store = open(server);
  for (const char* key : {"a*b", "aXb", "a?c", "a[x]", "ax", "a\\d", "a^e"}) {
    REQUIRE(store->put(key, {{"v", "1"}}, {}, soon()));
  }
  for (const char* prefix : {"a*", "a?", "a[x", "a\\", "a^"}) {
    CAPTURE(prefix);
    CHECK(store->keys(prefix, soon())->size() == 1);
  }
}

TEST_CASE("redis store: a hash that no set lists is used, and listed when it names itself") {
  test::RedisServer server;
  const auto store = open(server);
  server.run({"HSET", "proxy_Host_new.test", "host", "new.test", "ip", "127.0.0.1"});
  server.run({"HSET", "proxy_Host_ghost.test", "updated_by", "x", "updated_on", "1"});
  CHECK(store->get("proxy_Host_new.test", soon()));
  CHECK(scanned(*store, "proxy_Host_") ==
        std::set<std::string>{"proxy_Host_ghost.test", "proxy_Host_new.test"});
  CHECK(members(server, "proxy_Host") == std::set<std::string>{"new.test"});
}

TEST_CASE("redis store: a member without a hash goes when it was seen so before, not earlier") {
  test::RedisServer server;
  std::int64_t now = 1'000'000;
  const auto store =
      store::make_redis(*redis::Url::parse(server.url()), {.clock = [&now] { return now; }});
  REQUIRE(store->put("proxy_Host_a.test", host_record("a.test"), {}, soon()));
  server.run({"SADD", "proxy_Host", "gone.test", "coming.test"});
  const std::set<std::string> all = {"a.test", "gone.test", "coming.test"};
  REQUIRE(store->keys("proxy_Host_", soon()));
  CHECK(members(server, "proxy_Host") == all);  // the old software lists, then writes
  now += 9'999;
  REQUIRE(store->keys("proxy_Host_", soon()));
  CHECK(members(server, "proxy_Host") == all);
  server.run({"HSET", "proxy_Host_coming.test", "host", "coming.test"});
  now += 1;
  REQUIRE(store->keys("proxy_Host_", soon()));
  CHECK(members(server, "proxy_Host") == std::set<std::string>{"a.test", "coming.test"});
  CHECK(store->keys("proxy_Host_", soon())->size() == 2);
}

TEST_CASE("redis store: healing that fails does not fail the read") {
  test::RedisServer server;
  const auto store = open(server);
  REQUIRE(store->put("proxy_Other_a", {{"a", "b"}}, {}, soon()));
  server.run({"HSET", "proxy_User_bob", "username", "bob"});
  server.run({"SET", "proxy_User", "no set"});
  CHECK(store->keys("proxy_User_", soon())->size() == 1);
  const auto put = store->put("proxy_User_al", {{"username", "al"}}, {}, soon());
  CHECK(put.error().detail.find("SADD proxy_User: expected a set, found another type") !=
        std::string::npos);
}

TEST_CASE("redis store: two stores see each other's writes within 100 ms") {
  test::RedisServer server;
  const auto one = open(server);
  const auto other = open(server);
  test::Told told;
  const auto watch = one->watch("proxy_Host_", told.callback());
  REQUIRE(watch);
  CHECK(one->health().events == "tracking");
  for (int i = 0; i < 20; ++i) {
    const std::string key = host::keys::host(std::to_string(i) + ".test");
    REQUIRE(other->put(key, host_record("x.test"), {}, soon()));
    const auto began = std::chrono::steady_clock::now();
    CHECK(told.wait_for(key));
    CHECK(std::chrono::steady_clock::now() - began < Millis{100});
  }
  CHECK(other->health().events.empty());
}

TEST_CASE("redis store: tokens of locks grow even when everything was flushed") {
  test::RedisServer server;
  const auto store = open(server);
  const std::string name = "a}b{c%";
  const std::uint64_t before = (*store->lock(name, Seconds{30}, soon()))->token();
  const auto held = store->lock(name, Seconds{30}, soon());
  REQUIRE(held);
  CHECK(server.run({"EXISTS", "proxycore_lock_{a%7Db%7Bc%25}"}).integer == 1);
  server.run({"FLUSHALL"});
  const auto again = store->lock(name, Seconds{30}, soon());
  REQUIRE(again);
  CHECK((*again)->token() > (*held)->token());
  CHECK((*held)->token() > before);
}

TEST_CASE("redis store: a server that was killed and restarted is used again") {
  test::RedisServer server;
  const auto store = open(server);
  REQUIRE(store->put("k", {{"v", "1"}}, {}, soon()));
  server.kill();
  const auto dead = store->get("k", soon());
  REQUIRE_FALSE(dead);
  CHECK(dead.error().detail.starts_with(server.url()));
  server.start();
  const Deadline by = soon();
  Result<void> put = Error{Errc::closed};
  while (!put && !by.passed()) put = store->put("k", {{"v", "2"}}, {}, by);  // it rests a while
  CHECK(put);
  CHECK(store->get("k", soon())->at("v") == "2");
  CHECK(store->health().reachable);
}

TEST_CASE("redis store: a server that hangs costs each call its deadline, then nothing") {
  test::RedisServer server;
  const auto store = open(server);
  REQUIRE(store->put("k", {{"v", "1"}}, {}, soon()));
  server.hang();
  const auto late = store->get("k", Deadline::in(Millis{50}));
  CHECK(late.error().code == Errc::timeout);
  CHECK(store->get("k", Deadline::in(Millis{50})).error().code == Errc::timeout);  // to connect
  CHECK(store->get("k", soon()).error().code == Errc::closed);
  server.go_on();
}

TEST_CASE("redis store: a full memory refuses the write and leaves the record as it was") {
  test::RedisServer server;
  const auto store = open(server);
  REQUIRE(store->put("proxy_Host_a.test", host_record("a.test"), {}, soon()));
  server.run({"CONFIG", "SET", "maxmemory", "1"});
  for (const char* name : {"a.test", "b.test"}) {
    const auto put = store->put(host::keys::host(name), {{"host", name}}, {}, soon());
    REQUIRE_FALSE(put);
    CHECK(put.error().code == Errc::limit);
    CHECK(put.error().detail.find("maxmemory") != std::string::npos);
  }
  const std::vector<std::pair<std::string, Record>> many = {{"proxy_Host_c", {{"host", "c"}}}};
  CHECK(store->put_all(many, {}, soon()).error().code == Errc::limit);
  CHECK(*store->get("proxy_Host_a.test", soon()) == host_record("a.test"));
  CHECK(members(server, "proxy_Host") == std::set<std::string>{"a.test"});
  CHECK(*store->erase("proxy_Host_a.test", soon()));
}

TEST_CASE("redis store: more threads than connections wait for one") {
  test::RedisServer server;
  const auto store = open(server);
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 20; ++n) {
        const std::string key = std::to_string(i) + "_" + std::to_string(n);
        if (!store->put(key, {{"v", "1"}}, {}, soon()) || !store->get(key, soon())) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(store->keys("", soon())->size() == 320);
}

TEST_CASE("redis store: every host of an existing installation is usable") {
  test::RedisServer server;
  test::load_golden(server);
  const auto store = open(server);
  std::set<std::string> hosts;
  std::set<std::string> broken;
  REQUIRE(store->scan(
      host::keys::host_prefix,
      [&](std::string_view key, Record&& record) {
        const auto host = host::host_from(record);
        (host ? hosts : broken).emplace(key.substr(host::keys::host_prefix.size()));
      },
      soon()));
  // A ghost of a rename, and a port that nobody can connect to.
  CHECK(broken == std::set<std::string>{"localhost", "port0.example.com"});
  std::set<std::string> listed = members(server, "proxy_Host");
  listed.erase("port0.example.com");
  CHECK(hosts == listed);
  CHECK(load_host(*store, "UPPER.example.com", soon())->host == "upper.example.com");
  CHECK(load_host(*store, "app.example.com", soon())->target_port == 18080);
  CHECK_FALSE(load_host(*store, "app.example.com", soon())->forcessl);
  const auto cached = store->get(host::keys::host("kid.wc.example.com"), soon());
  CHECK(cached->at("domain").starts_with("{\"created_by\""));
}

TEST_CASE("redis store: what we save of an old host is what the old software reads") {
  test::RedisServer server;
  test::load_golden(server);
  const auto store = open(server);
  const auto fields = [&](const std::string& key) {
    Record record;
    const Reply reply = server.run({"HGETALL", key});
    for (std::size_t at = 0; at < reply.items.size(); at += 2) {
      record.emplace(reply.items[at].text, reply.items[at + 1].text);
    }
    return record;
  };
  for (const std::string& name : members(server, "proxy_Host")) {
    const std::string key = host::keys::host(name);
    CAPTURE(key);
    const Record before = fields(key);
    auto host = host::host_from(before);
    if (!host || host->host != name) continue;  // of another spelling, which is another key
    REQUIRE(save(*store, *host, soon()));
    Record after = fields(key);
    after["updated_on"] = before.at("updated_on");
    CHECK(after == before);
    CHECK(server.run({"SISMEMBER", "proxy_Host", name}).integer == 1);
  }
}

TEST_CASE("redis store: tells what the server's memory holds, unless it may not ask") {
  test::RedisServer server;
  const auto store = open(server);
  const auto used = store->used_bytes(soon());
  REQUIRE(used);
  REQUIRE(*used);
  CHECK(**used > 100'000);
  server.run({"ACL", "SETUSER", "default", "-info"});
  const auto refused = store->used_bytes(soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
}
