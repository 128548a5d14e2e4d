#include "server/wildcard_cache.h"

#include "host/keys.h"
#include "support/away_store.h"
#include "support/eventually.h"
#include <proxycore/host.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;
using test::eventually;

namespace {

constexpr Seconds hour{3600};

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

struct Fixture {
  test::AwayStore store;
  base::Snapshot<host::RouteTable> table;

  Fixture() {
    for (const char* parent : {"*.w.test", "**.w.test", "*.other.test"}) put_parent(parent);
    publish({"*.w.test", "**.w.test", "*.other.test", "*.gone.test"});
  }
  // The hosts that are known now.
  void publish(std::vector<std::string> names) {
    host::RouteTable::Builder builder(ids_);
    for (std::string& name : names) {
      const Host host{.host = std::move(name), .ip = "10.0.0.1", .target_port = 80};
      REQUIRE(builder.add(host, "test"));
    }
    table.publish(builder.finish());
  }
  void put_parent(const std::string& name, const std::string& ip = "10.0.0.1") {
    REQUIRE(store.here().put(host::keys::host(name),
                             {{"host", name},
                              {"ip", ip},
                              {"targetPort", "80"},
                              {"is_wildcard", "true"},
                              {"created_by", "alice"},
                              {"unknown", "kept"}},
                             {}, soon()));
  }
  Record row(const std::string& name) {
    auto record = store.here().get(host::keys::host(name), soon());
    return record ? *record : Record{};
  }
  std::size_t rows() { return store.here().keys("proxy_Cached_", soon())->size(); }

 private:
  host::StatsIds ids_{0};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "wildcard cache: a hit becomes a host with its parent's fields") {
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.w.test", "*.w.test");
  REQUIRE(eventually([&] { return !row("a.w.test").empty(); }));
  CHECK(row("a.w.test") == Record{{"host", "a.w.test"},
                                  {"ip", "10.0.0.1"},
                                  {"targetPort", "80"},
                                  {"is_wildcard", "false"},
                                  {"is_cache", "true"},
                                  {"wildcard_parent", "*.w.test"},
                                  {"created_by", "alice"},
                                  {"unknown", "kept"}});
  const auto cached = store.here().get("proxy_Cached_a.w.test", soon());
  REQUIRE(cached);
  CHECK(*cached == Record{{"host", "a.w.test"}, {"parent", "*.w.test"}});
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: random names are written up to the bound") {
  WildcardCache cache(store, table, hour, 5);
  for (int i = 0; i < 200; ++i) {
    cache.hit("x" + std::to_string(i) + ".w.test", "*.w.test");
  }
  cache.hit("a.other.test", "*.other.test");
  REQUIRE(eventually([&] { return !row("a.other.test").empty(); }));
  CHECK(rows() == 6);
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: rows of others count, and those before a restart") {
  for (const char* name : {"a.w.test", "b.w.test"}) {
    REQUIRE(store.here().put(host::keys::cached(name), {{"host", name}, {"parent", "*.w.test"}}, {},
                             soon()));
  }
  WildcardCache cache(store, table, hour, 2);
  cache.hit("c.w.test", "*.w.test");
  cache.hit("a.other.test", "*.other.test");
  REQUIRE(eventually([&] { return !row("a.other.test").empty(); }));
  CHECK(row("c.w.test").empty());
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: rows go when their wildcard changes") {
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.w.test", "*.w.test");
  cache.hit("b.other.test", "*.other.test");
  REQUIRE(eventually([&] { return !row("b.other.test").empty(); }));
  const std::vector<std::string> changed = {"*.w.test"};
  cache.changed(changed);
  CHECK(eventually([&] { return row("a.w.test").empty(); }));
  CHECK(eventually([&] { return rows() == 1; }));
  CHECK_FALSE(row("b.other.test").empty());
  // Any may have changed.
  cache.changed({});
  CHECK(eventually([&] { return rows() == 0 && row("b.other.test").empty(); }));
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: rows are made of what the store holds now") {
  WildcardCache cache(store, table, hour, 10);
  put_parent("*.w.test", "10.0.0.2");
  cache.hit("a.w.test", "*.w.test");
  cache.hit("a.gone.test", "*.gone.test");
  cache.hit("b.other.test", "*.other.test");
  REQUIRE(eventually([&] { return !row("b.other.test").empty(); }));
  CHECK(row("a.w.test").at("ip") == "10.0.0.2");
  CHECK(row("a.gone.test").empty());
  CHECK(rows() == 2);
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: a hit of before a change leaves no row behind") {
  WildcardCache cache(store, table, hour, 10);
  store.away = true;  // so that both are seen to together
  cache.hit("a.w.test", "*.w.test");
  const std::vector<std::string> changed = {"*.w.test"};
  cache.changed(changed);
  store.away = false;
  cache.hit("b.other.test", "*.other.test");
  REQUIRE(eventually([&] { return !row("b.other.test").empty(); }));
  CHECK(eventually([&] { return row("a.w.test").empty(); }));
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: rows go when another wildcard could answer") {
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.b.w.test", "**.w.test");
  REQUIRE(eventually([&] { return !row("a.b.w.test").empty(); }));
  const std::vector<std::string> changed = {"*.b.w.test"};
  cache.changed(changed);
  CHECK(eventually([&] { return rows() == 0; }));
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: a host of its own is neither overwritten nor removed") {
  const Host own{.host = "a.w.test", .ip = "10.0.0.9", .target_port = 90};
  REQUIRE(save(store.here(), own, soon()));
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.w.test", "*.w.test");
  cache.hit("b.w.test", "*.w.test");
  REQUIRE(eventually([&] { return !row("b.w.test").empty(); }));
  CHECK(row("a.w.test").at("ip") == "10.0.0.9");
  CHECK(rows() == 1);
  // A row that a host took the place of.
  REQUIRE(store.here().erase("proxy_Host_b.w.test", soon()));
  REQUIRE(store.here().put("proxy_Host_b.w.test",
                           {{"host", "b.w.test"}, {"ip", "10.0.0.8"}, {"targetPort", "1"}}, {},
                           soon()));
  const std::vector<std::string> changed = {"b.w.test"};
  cache.changed(changed);
  CHECK(eventually([&] { return rows() == 0; }));
  CHECK(row("b.w.test").at("ip") == "10.0.0.8");
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: a row that another service was faster to write stays") {
  WildcardCache cache(store, table, hour, 10);
  REQUIRE(store.here().put("proxy_Host_a.w.test",
                           {{"host", "a.w.test"},
                            {"ip", "10.0.0.1"},
                            {"targetPort", "80"},
                            {"is_cache", "true"},
                            {"wildcard_parent", "*.w.test"}},
                           {}, soon()));
  cache.hit("a.w.test", "*.w.test");
  cache.hit("b.w.test", "*.w.test");
  REQUIRE(eventually([&] { return !row("b.w.test").empty(); }));
  CHECK(rows() == 2);
  const std::vector<std::string> changed = {"*.w.test"};
  cache.changed(changed);
  CHECK(eventually([&] { return rows() == 0 && row("a.w.test").empty(); }));
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: while the store is away, rows that must go wait") {
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.w.test", "*.w.test");
  REQUIRE(eventually([&] { return !row("a.w.test").empty(); }));
  store.away = true;
  const std::vector<std::string> changed = {"*.w.test"};
  cache.changed(changed);
  store.away = false;
  CHECK(eventually([&] { return rows() == 0; }));
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: a hit told after the change it must give way to") {
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.other.test", "*.other.test");
  REQUIRE(eventually([&] { return rows() == 1; }));
  publish({"*.w.test", "**.w.test", "*.b.w.test", "*.other.test"});
  const std::vector<std::string> changed = {"*.b.w.test", "*.other.test"};
  cache.changed(changed);
  REQUIRE(eventually([&] { return rows() == 0; }));  // the change has been seen to
  // By one who looked the name up before it, and took long.
  cache.hit("a.b.w.test", "**.w.test");
  cache.hit("b.other.test", "*.other.test");
  REQUIRE(eventually([&] { return !row("b.other.test").empty(); }));
  CHECK(row("a.b.w.test").empty());
}

TEST_CASE_FIXTURE(Fixture, "wildcard cache: a removal that the store cut off is finished") {
  WildcardCache cache(store, table, hour, 10);
  cache.hit("a.w.test", "*.w.test");
  REQUIRE(eventually([&] { return !row("a.w.test").empty() && rows() == 1; }));
  // Its entry goes, and nothing more.
  std::atomic<int> writes = 0;
  store.before_write = [&writes]() -> Result<void> {
    if (++writes == 2) return Error{Errc::closed, "cut off"};
    return {};
  };
  const std::vector<std::string> changed = {"*.w.test"};
  cache.changed(changed);
  CHECK(eventually([&] { return row("a.w.test").empty(); }));
  CHECK(rows() == 0);
  CHECK(writes > 2);
}
