#include "host/route_table.h"

#include "support/count_allocations.h"

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
  CHECK(route->targets ==
        std::vector<Target>{{"app.internal", 8080}, {"127.0.0.1", 81}, {"::1", 82}});
  CHECK_FALSE(route->forcessl);
  CHECK(route->targetssl);
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
  CHECK(table->find("a.example.com")->targets.at(0).name == "127.0.0.1");
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
