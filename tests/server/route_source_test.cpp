#include "server/route_source.h"

#include "host/keys.h"
#include "support/away_store.h"
#include <proxycore/observe.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;
using Broken = RouteSource::Broken;
using Clash = RouteSource::Clash;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

Host host_of(std::string name, std::uint16_t port = 80) {
  return {.host = std::move(name), .ip = "127.0.0.1", .target_port = port};
}

void put(Store& store, std::string name, std::uint16_t port = 80) {
  REQUIRE(save(store, host_of(std::move(name), port), soon()));
}

std::vector<Config::DeclaredHost> declared(std::initializer_list<std::string> names) {
  std::vector<Config::DeclaredHost> hosts;
  for (const std::string& name : names) {
    hosts.push_back({host_of(name, 8080), "proxycore.toml:" + std::to_string(hosts.size() + 1)});
  }
  return hosts;
}

// What is logged while it lives.
class Lines {
 public:
  Lines() {
    set_log_sink([this](LogLevel, std::string_view line) { all.emplace_back(line); });
  }
  ~Lines() { set_log_sink({}); }
  [[nodiscard]] std::size_t with(std::string_view text) const {
    std::size_t count = 0;
    for (const std::string& line : all) {
      if (line.find(text) != std::string::npos) ++count;
    }
    return count;
  }
  std::vector<std::string> all;
};

std::uint16_t port_of(const host::RouteTable& table, std::string_view name) {
  const Route* route = table.find(name);
  return route == nullptr ? 0 : route->targets.front().port;
}

}  // namespace

TEST_CASE("route source: hosts of the file and of the store are one table") {
  const auto store = open_memory();
  put(*store, "s.test", 1);
  put(*store, "**.wild.test", 2);
  RouteSource source(10);
  REQUIRE(source.declare(declared({"f.test", "*.wild.test"})));
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->size() == 4);
  CHECK(port_of(**table, "s.test") == 1);
  CHECK(port_of(**table, "f.test") == 8080);
  CHECK(port_of(**table, "a.wild.test") == 8080);
  CHECK(port_of(**table, "a.b.wild.test") == 2);
  CHECK(port_of(**table, "other.test") == 0);
}

TEST_CASE("route source: a route tells whether the operator or a user says where it goes") {
  const auto store = open_memory();
  put(*store, "kept.test");
  RouteSource source(10);
  REQUIRE(source.declare(declared({"file.test"})));
  const auto source_of = [](const RouteSource::Table& table, std::string_view name) {
    const Route* route = table->find(name);
    REQUIRE(route != nullptr);
    return route->source;
  };
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK(source_of(*table, "file.test") == HostSource::file);
  CHECK(source_of(*table, "kept.test") == HostSource::store);
  CHECK(source_of(source.build_declared(), "file.test") == HostSource::file);
  put(*store, "later.test");
  const std::string key = host::keys::host("later.test");
  const auto updated = source.update(*table, *store, std::span(&key, 1), Broken::removed, soon());
  REQUIRE(updated);
  CHECK(source_of(*updated, "later.test") == HostSource::store);
  REQUIRE(source.declare(declared({"other.test"})));
  CHECK(source_of(source.redeclare(*updated), "other.test") == HostSource::file);
}

TEST_CASE("route source: a host in both is refused, naming both places") {
  const auto store = open_memory();
  put(*store, "a.test");
  RouteSource source(10);
  REQUIRE(source.declare(declared({"b.test", "a.test"})));
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE_FALSE(table);
  CHECK(table.error().code == Errc::conflict);
  CHECK(table.error().detail.find("'a.test'") != std::string::npos);
  CHECK(table.error().detail.find("proxycore.toml:2") != std::string::npos);
  CHECK(table.error().detail.find("memory:") != std::string::npos);
}

TEST_CASE("route source: once running, the file's host goes on and the clash is told") {
  const auto store = open_memory();
  put(*store, "a.test", 1);
  put(*store, "b.test", 2);
  RouteSource source(10);
  REQUIRE(source.declare(declared({"a.test"})));
  const Lines lines;
  const auto table = source.build(*store, true, soon(), Clash::skip);
  REQUIRE(table);
  CHECK(port_of(**table, "a.test") == 8080);
  CHECK(port_of(**table, "b.test") == 2);
  CHECK(lines.with("event=host.skipped") == 1);
  CHECK(lines.with("a.test") == 1);
}

TEST_CASE("route source: a host twice in the file is refused before the store is asked") {
  const auto store = open_memory();
  RouteSource source(10);
  REQUIRE(source.declare(declared({"kept.test"})));
  const auto twice = source.declare(declared({"a.test", "b.test", "a.test"}));
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Errc::conflict);
  CHECK(twice.error().detail.find("proxycore.toml:1") != std::string::npos);
  CHECK(twice.error().detail.find("proxycore.toml:3") != std::string::npos);
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->size() == 1);
  CHECK(port_of(**table, "kept.test") == 8080);
}

TEST_CASE("route source: a declaration can be taken back") {
  const auto store = open_memory();
  RouteSource source(10);
  REQUIRE(source.declare(declared({"before.test"})));
  REQUIRE(source.declare(declared({"after.test"})));
  source.take_back();
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK(port_of(**table, "before.test") == 8080);
  CHECK(port_of(**table, "after.test") == 0);
}

TEST_CASE("route source: broken records are told, up to a number, and stop nobody") {
  const auto store = open_memory();
  put(*store, "good.test", 1);
  for (int i = 0; i < 30; ++i) {
    const std::string name = "bad" + std::to_string(i) + ".test";
    REQUIRE(store->put(host::keys::host(name), {{"host", name}, {"ip", "127.0.0.1"}}, std::nullopt,
                       soon()));
  }
  RouteSource source(10);
  const Lines lines;
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->size() == 1);
  CHECK(port_of(**table, "good.test") == 1);
  CHECK(lines.with("event=host.skipped") == 21);
  CHECK(lines.with("targetPort") == 20);
  CHECK(lines.with("more=10") == 1);
}

TEST_CASE("route source: a wildcard hit that was written back is no host of its own") {
  const auto store = open_memory();
  Host cached = host_of("x.wild.test", 1);
  cached.is_cache = true;
  REQUIRE(save(*store, cached, soon()));
  put(*store, "*.wild.test", 2);
  RouteSource source(10);
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->size() == 1);
  CHECK(port_of(**table, "x.wild.test") == 2);
}

TEST_CASE("route source: an update differs in the hosts that changed") {
  const auto store = open_memory();
  put(*store, "a.test", 1);
  put(*store, "gone.test", 2);
  put(*store, "broken.test", 3);
  put(*store, "file.test", 4);
  put(*store, "UPPER.test", 5);
  RouteSource source(10);
  REQUIRE(source.declare(declared({"file.test"})));
  const auto first = source.build(*store, true, soon(), Clash::skip);
  REQUIRE(first);

  put(*store, "a.test", 11);
  put(*store, "*.new.test", 12);
  REQUIRE(store->erase(host::keys::host("gone.test"), soon()));
  REQUIRE(store->put(host::keys::host("broken.test"), {{"host", "broken.test"}}, {}, soon()));
  Host cached = host_of("x.wild.test", 13);
  cached.is_cache = true;
  REQUIRE(save(*store, cached, soon()));
  std::vector<std::string> keys;
  for (const char* name :
       {"a.test", "*.new.test", "gone.test", "broken.test", "x.wild.test", "file.test"}) {
    keys.push_back(host::keys::host(name));
  }
  const auto next = source.update(*first, *store, keys, Broken::removed, soon());
  REQUIRE(next);
  REQUIRE(*next);
  CHECK(port_of(**next, "a.test") == 11);
  CHECK(port_of(**next, "x.new.test") == 12);
  CHECK(port_of(**next, "gone.test") == 0);
  CHECK(port_of(**next, "broken.test") == 0);
  CHECK(port_of(**next, "x.wild.test") == 0);
  CHECK(port_of(**next, "file.test") == 8080);
  CHECK((*next)->complete());
  CHECK(port_of(**first, "a.test") == 1);
  const auto kept = source.update(*first, *store, keys, Broken::kept, soon());
  REQUIRE(kept);
  CHECK(port_of(**kept, "broken.test") == 3);
  CHECK(port_of(**kept, "gone.test") == 0);
}

TEST_CASE("route source: a key of another type costs its host only") {
  test::AwayStore store;
  put(store, "a.test", 1);
  put(store, "b.test", 2);
  RouteSource source(10);
  const auto first = source.build(store, true, soon(), Clash::skip);
  REQUIRE(first);
  put(store, "b.test", 12);
  store.misused = "proxy_Host_a.test";
  const std::vector<std::string> changed = {"proxy_Host_a.test", "proxy_Host_b.test"};
  const auto next = source.update(*first, store, changed, Broken::removed, soon());
  REQUIRE(next);
  CHECK(port_of(**next, "a.test") == 0);
  CHECK(port_of(**next, "b.test") == 12);
  store.away = true;
  CHECK_FALSE(source.update(*first, store, changed, Broken::removed, soon()));
}

TEST_CASE("route source: a host in another spelling needs a table that is built whole") {
  const auto store = open_memory();
  const auto old = [&](const std::string& name) {
    REQUIRE(store->put("proxy_Host_" + name,
                       {{"host", name}, {"ip", "127.0.0.1"}, {"targetPort", "80"}}, {}, soon()));
  };
  old("UPPER.test");
  RouteSource source(10);
  auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK(port_of(**table, "upper.test") == 80);
  const std::vector<std::string> changed = {"proxy_Host_upper.test"};
  auto next = source.update(*table, *store, changed, Broken::removed, soon());
  REQUIRE(next);
  CHECK(*next == nullptr);
  const std::vector<std::string> spelled = {"proxy_Host_Other.test"};
  next = source.update(*table, *store, spelled, Broken::removed, soon());
  REQUIRE(next);
  CHECK(*next == nullptr);
}

TEST_CASE("route source: the file's hosts alone, and in place of others") {
  const auto store = open_memory();
  put(*store, "s.test", 1);
  RouteSource source(10);
  REQUIRE(source.declare(declared({"old.test"})));
  const auto alone = source.build_declared();
  CHECK(alone->size() == 1);
  CHECK_FALSE(alone->complete());
  const auto all = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(all);
  REQUIRE(source.declare(declared({"new.test"})));
  const auto next = source.redeclare(*all);
  CHECK(port_of(*next, "s.test") == 1);
  CHECK(port_of(*next, "old.test") == 0);
  CHECK(port_of(*next, "new.test") == 8080);
  CHECK_FALSE(source.with_complete(next, false)->complete());
}

TEST_CASE("route source: counters stay with their host over new tables") {
  const auto store = open_memory();
  RouteSource source(2);
  REQUIRE(source.declare(declared({"a.test", "b.test", "c.test"})));
  REQUIRE(source.build(*store, true, soon(), Clash::refuse));
  CHECK(source.counted_hosts() == std::vector<std::string>{"other", "a.test", "b.test"});
  REQUIRE(source.declare(declared({"c.test", "b.test", "other"})));
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK(source.counted_hosts() == std::vector<std::string>{"other", "a.test", "b.test"});
  CHECK((*table)->find("b.test")->stats_id == 2);
  CHECK((*table)->find("c.test")->stats_id == 0);
  CHECK((*table)->find("other")->stats_id == 0);
}

TEST_CASE("route source: a host of the name \"other\" counts among the others") {
  const auto store = open_memory();
  RouteSource source(10);
  REQUIRE(source.declare(declared({"other", "a.test"})));
  const auto table = source.build(*store, true, soon(), Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->find("other")->stats_id == 0);
  CHECK(source.counted_hosts() == std::vector<std::string>{"other", "a.test"});
}
