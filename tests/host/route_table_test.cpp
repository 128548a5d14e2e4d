#include "host/route_table.h"

#include "support/count_allocations.h"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::host;

namespace {

Host host_of(std::string name, std::string ip = "127.0.0.1", std::uint16_t port = 80) {
  return {.host = std::move(name), .ip = std::move(ip), .target_port = port};
}

}  // namespace

TEST_CASE("route table: a route has what the data plane needs of its host") {
  StatsIds ids(10);
  RouteTable::Builder builder(ids);
  Host host = host_of("*.example.com", "app.internal", 8080);
  host.targets = {"127.0.0.1:81", "[::1]:82"};
  host.forcessl = false;
  host.targetssl = true;
  host.pass_host = false;
  host.connect_timeout = Millis{100};
  host.idle_timeout = Millis{300};
  REQUIRE(builder.add(host, "here"));
  const auto table = builder.finish();
  const Route* route = table->find("a.example.com");
  REQUIRE(route != nullptr);
  CHECK(route->pattern == "*.example.com");
  CHECK(route->targets == Targets{{"app.internal", 8080}, {"127.0.0.1", 81}, {"::1", 82}});
  CHECK_FALSE(route->forcessl);
  REQUIRE(route->tls);
  CHECK(route->tls->verify == TargetVerify::yes);
  CHECK_FALSE(route->pass_host);
  CHECK(route->connect_timeout == Millis{100});
  CHECK(route->first_byte_timeout == Millis{0});
  CHECK(route->idle_timeout == Millis{300});
  CHECK(route->stats_id == 1);
  CHECK(table->find("example.com") == nullptr);
  CHECK(table->size() == 1);
}

TEST_CASE("route table: a host that is there already is a conflict of two places") {
  StatsIds ids(10);
  RouteTable::Builder builder(ids);
  REQUIRE(builder.add(host_of("**.example.com"), "proxycore.toml:3"));
  REQUIRE(builder.add(host_of("a.example.com"), "proxycore.toml:12"));
  REQUIRE(builder.add(host_of("b.example.com"), "memory:"));
  const auto twice = builder.add(host_of("a.example.com", "10.0.0.1"), "memory:");
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Errc::conflict);
  CHECK(twice.error().detail == "host 'a.example.com' is in proxycore.toml:12 and in memory:");
  const auto wild = builder.add(host_of("**.example.com"), "memory:");
  REQUIRE_FALSE(wild);
  CHECK(wild.error().detail == "host '**.example.com' is in proxycore.toml:3 and in memory:");
  REQUIRE(builder.add(host_of("c.example.com"), "memory:"));
  const auto table = builder.finish();
  CHECK(table->size() == 4);
  CHECK(table->find("a.example.com")->targets.front().name == "127.0.0.1");
  CHECK(table->find("c.example.com")->pattern == "c.example.com");
}

TEST_CASE("route table: a host that cannot be added does not shift the others") {
  StatsIds ids(10);
  RouteTable::Builder builder(ids);
  Host broken = host_of("broken.example.com");
  broken.targets = {"no target"};
  CHECK_FALSE(builder.add(broken, "here"));
  CHECK_FALSE(builder.add(host_of("Not.Canonical"), "here"));
  REQUIRE(builder.add(host_of("a.example.com"), "here"));
  const auto table = builder.finish();
  CHECK(table->find("broken.example.com") == nullptr);
  CHECK(table->find("a.example.com")->pattern == "a.example.com");
}

TEST_CASE("route table: explain tells the candidates") {
  StatsIds ids(10);
  RouteTable::Builder builder(ids);
  for (const char* name : {"**.example.com", "*.example.com", "other.test"}) {
    REQUIRE(builder.add(host_of(name), "here"));
  }
  const auto rows = builder.finish()->explain("a.example.com");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].pattern == "*.example.com");
  CHECK(rows[0].wins);
  CHECK(rows[1].reason == "'a' is ** here and * in '*.example.com'");
}

TEST_CASE("route table: find does not allocate") {
  StatsIds ids(10);
  RouteTable::Builder builder(ids);
  for (const char* name : {"**.example.com", "www.example.com"}) {
    REQUIRE(builder.add(host_of(name), "here"));
  }
  const auto table = builder.finish();
  const std::size_t before = test::allocations();
  const bool found = table->find("www.example.com") != nullptr &&
                     table->find("a.b.example.com") != nullptr && table->find("x.test") == nullptr;
  CHECK(test::allocations() == before);
  CHECK(found);
}

TEST_CASE("route table: a change puts, replaces and removes, and leaves the table before alone") {
  StatsIds ids(10);
  RouteTable::Builder builder(ids);
  for (const char* name : {"**.example.com", "*.example.com", "www.example.com", "gone.test"}) {
    REQUIRE(builder.add(host_of(name), "here"));
  }
  const auto before = builder.finish();
  RouteTable::Change change(ids, before);
  REQUIRE(change.put(host_of("www.example.com", "10.0.0.1")));
  REQUIRE(change.put(host_of("api.*.example.com", "10.0.0.2")));
  CHECK_FALSE(change.put(host_of("Not.Canonical")));
  change.remove("*.example.com");
  change.remove("gone.test");
  change.remove("was.never.there");
  const auto after = change.finish(false);

  CHECK(after->size() == 3);
  CHECK_FALSE(after->complete());
  CHECK(after->find("www.example.com")->targets.front().name == "10.0.0.1");
  CHECK(after->find("api.v1.example.com")->pattern == "api.*.example.com");
  CHECK(after->find("a.example.com")->pattern == "**.example.com");
  CHECK(after->find("gone.test") == nullptr);
  CHECK(after->at("*.example.com") == nullptr);
  CHECK(after->at("api.*.example.com") != nullptr);
  const auto rows = after->explain("a.example.com");
  REQUIRE(rows.size() == 2);
  CHECK_FALSE(rows[1].matches);
  CHECK(rows[0].reason == "fits best: 'com' exact, 'example' exact, 'a' **");

  CHECK(before->size() == 4);
  CHECK(before->complete());
  CHECK(before->find("a.example.com")->pattern == "*.example.com");
  CHECK(before->find("www.example.com")->targets.front().name == "127.0.0.1");

  RouteTable::Change again(ids, after);
  REQUIRE(again.put(host_of("*.example.com", "10.0.0.3")));
  again.remove("api.*.example.com");
  const auto last = again.finish(true);
  CHECK(last->size() == 3);
  CHECK(last->find("a.example.com")->targets.front().name == "10.0.0.3");
  CHECK(last->find("api.v1.example.com")->pattern == "**.example.com");
}

TEST_CASE("route table: after any changes it answers as one that was built whole") {
  StatsIds ids(10);
  std::mt19937 random(11);
  const auto pick = [&random](std::size_t below) { return random() % below; };
  const std::array<const char*, 6> labels = {"a", "b", "c", "*", "**", "d"};
  const auto pattern = [&] {
    std::string text = labels[pick(labels.size())];
    for (std::size_t more = pick(4); more > 0; --more) {
      text.append(".").append(labels[pick(labels.size())]);
    }
    return text;
  };
  std::map<std::string, std::string> hosts;  // name -> ip
  auto table = RouteTable::Builder(ids).finish();
  for (int round = 0; round < 60; ++round) {
    RouteTable::Change change(ids, table);
    // Rounds with many changes go beyond what is kept beside the base.
    for (std::size_t i = round % 20 == 19 ? 1500 : pick(8); i > 0; --i) {
      const std::string name = pattern();
      if (pick(3) == 0) {
        change.remove(name);
        hosts.erase(name);
      } else {
        const std::string ip = "10.0.0." + std::to_string(pick(200));
        REQUIRE(change.put(host_of(name, ip)));
        hosts[name] = ip;
      }
    }
    table = change.finish(true);
    RouteTable::Builder builder(ids);
    for (const auto& [name, ip] : hosts) REQUIRE(builder.add(host_of(name, ip), "here"));
    const auto whole = builder.finish();
    REQUIRE(table->size() == whole->size());
    std::size_t visited = 0;
    table->for_each([&](const Route& route) { visited += hosts.contains(route.pattern) ? 1 : 0; });
    REQUIRE(visited == hosts.size());
    for (int i = 0; i < 300; ++i) {
      std::string name = pattern();
      std::replace(name.begin(), name.end(), '*', 'x');
      const Route* one = table->find(name);
      const Route* other = whole->find(name);
      REQUIRE((one == nullptr) == (other == nullptr));
      if (one == nullptr) continue;
      REQUIRE(one->pattern == other->pattern);
      REQUIRE(one->targets == other->targets);
    }
  }
}

TEST_CASE("stats ids: the first come get slots for good, the rest are other") {
  StatsIds ids(2);
  CHECK(ids.id_of("a") == 1);
  CHECK(ids.id_of("b") == 2);
  CHECK(ids.id_of("c") == 0);
  CHECK(ids.id_of("a") == 1);
  CHECK(ids.names() == std::vector<std::string>{"other", "a", "b"});
  StatsIds none(0);
  CHECK(none.id_of("a") == 0);
}
