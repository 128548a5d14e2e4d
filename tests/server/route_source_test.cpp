#include "server/route_source.h"

#include "host/keys.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using server::RouteSource;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

std::vector<Config::DeclaredHost> declared(const std::vector<std::string>& names) {
  std::vector<Config::DeclaredHost> hosts;
  for (const std::string& name : names) {
    hosts.push_back({{.host = name, .ip = "127.0.0.1", .target_port = 1},
                     "proxycore.toml:" + std::to_string(hosts.size() + 1)});
  }
  return hosts;
}

void store_host(Store& store, const std::string& name) {
  REQUIRE(save(store, {.host = name, .ip = "127.0.0.2", .target_port = 2}, soon()));
}

}  // namespace

TEST_CASE("routes: hosts of the file and of the store live together") {
  const auto store = open_memory();
  store_host(*store, "b.test");
  RouteSource source(*store, 10);
  REQUIRE(source.declare(declared({"a.test"})));
  const auto table = source.build(soon(), RouteSource::Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->size() == 2);
  CHECK((*table)->find("a.test")->targets.front().port == 1);
  CHECK((*table)->find("b.test")->targets.front().port == 2);
}

TEST_CASE("routes: a host in both is an error that names both, or the file's goes on") {
  const auto store = open_memory();
  store_host(*store, "a.test");
  store_host(*store, "b.test");
  RouteSource source(*store, 10);
  REQUIRE(source.declare(declared({"a.test"})));
  const auto refused = source.build(soon(), RouteSource::Clash::refuse);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
  CHECK(refused.error().detail.find("proxycore.toml:1") != std::string::npos);
  CHECK(refused.error().detail.find(store->describe()) != std::string::npos);

  const auto skipped = source.build(soon(), RouteSource::Clash::skip);
  REQUIRE(skipped);
  CHECK((*skipped)->size() == 2);
  CHECK((*skipped)->find("a.test")->targets.front().port == 1);
}

TEST_CASE("routes: two declarations of one name are refused, and the ones before go on") {
  const auto store = open_memory();
  RouteSource source(*store, 10);
  REQUIRE(source.declare(declared({"a.test"})));
  const auto twice = source.declare(declared({"b.test", "b.test"}));
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Errc::conflict);
  const auto table = source.build(soon(), RouteSource::Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->find("a.test") != nullptr);
}

TEST_CASE("routes: a declaration can be taken back once") {
  const auto store = open_memory();
  RouteSource source(*store, 10);
  REQUIRE(source.declare(declared({"a.test"})));
  REQUIRE(source.declare(declared({"b.test"})));
  source.take_back();
  const auto table = source.build(soon(), RouteSource::Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->find("a.test") != nullptr);
  CHECK((*table)->find("b.test") == nullptr);
}

TEST_CASE("routes: a broken record stops nobody else") {
  const auto store = open_memory();
  store_host(*store, "good.test");
  REQUIRE(store->put(host::keys::host("ghost.test"), {{"updated_by", "somebody"}}, {}, soon()));
  RouteSource source(*store, 10);
  const auto table = source.build(soon(), RouteSource::Clash::refuse);
  REQUIRE(table);
  CHECK((*table)->size() == 1);
}

TEST_CASE("routes: the first hosts get counters of their own") {
  const auto store = open_memory();
  RouteSource source(*store, 1);
  REQUIRE(source.declare(declared({"a.test", "b.test"})));
  const auto table = source.build(soon(), RouteSource::Clash::refuse);
  REQUIRE(table);
  CHECK(source.counted_hosts() == std::vector<std::string>{"other", "a.test"});
  CHECK((*table)->find("a.test")->stats_id == 1);
  CHECK((*table)->find("b.test")->stats_id == 0);
}
