#include "server/route_feed.h"

#include "host/keys.h"
#include "support/away_store.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

Host host_of(std::string name, std::uint16_t port = 80) {
  return {.host = std::move(name), .ip = "127.0.0.1", .target_port = port};
}

std::vector<Config::DeclaredHost> declared(std::string name) {
  return {{host_of(std::move(name), 8080), "proxycore.toml:1"}};
}

// A feed over a store that may be away, and what it said.
struct Fixture {
  test::AwayStore store;
  std::unique_ptr<Store> copy = open_memory();
  RouteSource source{100};
  base::Snapshot<host::RouteTable> table;
  std::mutex mutex;
  std::condition_variable told;
  std::vector<std::string> names;  // that changed
  int times = 0;
  RouteFeed::Options options{.whole = true, .remote = true, .copy = copy.get()};
  std::unique_ptr<RouteFeed> feed;

  void put(std::string name, std::uint16_t port = 80) {
    REQUIRE(save(store.here(), host_of(std::move(name), port), soon()));
  }
  void begin() {
    feed = std::make_unique<RouteFeed>(source, store, table, options);
    REQUIRE(feed->prepare());
    feed->start([this](std::span<const std::string> changed) {
      const std::lock_guard lock(mutex);
      names.insert(names.end(), changed.begin(), changed.end());
      ++times;
      told.notify_all();
    });
  }
  template <class Condition>
  bool eventually(Condition&& condition) {
    const Deadline by = soon();
    while (!condition()) {
      if (by.passed()) return false;
      std::unique_lock lock(mutex);
      told.wait_for(lock, Millis{5});
    }
    return true;
  }
  std::uint16_t port(std::string_view name) {
    const auto now = table.current();
    const Route* route = now->find(name);
    return route == nullptr ? 0 : route->targets.front().port;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "route feed: a changed host makes a new table, and is told") {
  put("a.test", 1);
  begin();
  CHECK(port("a.test") == 1);
  CHECK(table.current()->complete());
  CHECK(feed->state().known);
  put("a.test", 2);
  put("*.b.test", 3);
  CHECK(eventually([&] { return port("a.test") == 2 && port("x.b.test") == 3; }));
  CHECK(eventually([&] { return names.size() >= 2; }));
  REQUIRE(remove_host(store.here(), "a.test", soon()));
  CHECK(eventually([&] { return port("a.test") == 0; }));
}

TEST_CASE_FIXTURE(Fixture, "route feed: while the store is away, known hosts are served") {
  put("a.test", 1);
  begin();
  store.away = true;
  store.tell("proxy_Host_");
  CHECK(eventually([&] { return feed->state().failures > 0; }));
  CHECK(port("a.test") == 1);
  CHECK(eventually([&] { return !table.current()->complete(); }));
  put("b.test", 2);
  store.away = false;
  CHECK(eventually([&] { return port("b.test") == 2 && table.current()->complete(); }));
}

TEST_CASE_FIXTURE(Fixture, "route feed: starts from the copy on disk when the store is away") {
  put("a.test", 1);
  put("b.test", 2);
  begin();
  CHECK(eventually([&] { return copy->keys("proxy_Host_", soon())->size() == 2; }));
  REQUIRE(remove_host(store.here(), "b.test", soon()));
  put("c.test", 3);
  CHECK(eventually([&] {
    return *copy->keys("proxy_Host_", soon()) ==
           std::vector<std::string>{"proxy_Host_a.test", "proxy_Host_c.test"};
  }));
  feed.reset();
  store.away = true;
  begin();
  CHECK(port("a.test") == 1);
  CHECK(port("b.test") == 0);
  CHECK(port("c.test") == 3);
  CHECK_FALSE(table.current()->complete());
  CHECK(feed->state().known);
  CHECK(feed->state().from_copy);
  store.away = false;
  CHECK(eventually([&] { return table.current()->complete() && !feed->state().from_copy; }));
}

TEST_CASE_FIXTURE(Fixture, "route feed: without store and copy it starts with the file's hosts") {
  store.away = true;
  REQUIRE(source.declare(declared("file.test")));
  begin();
  CHECK(port("file.test") == 8080);
  CHECK_FALSE(feed->state().known);
  put("a.test", 1);
  store.away = false;
  CHECK(eventually([&] { return port("a.test") == 1 && feed->state().known; }));
}

TEST_CASE_FIXTURE(Fixture, "route feed: a store that is not remote must be there") {
  options.remote = false;
  store.away = true;
  feed = std::make_unique<RouteFeed>(source, store, table, options);
  const auto prepared = feed->prepare();
  REQUIRE_FALSE(prepared);
  CHECK(prepared.error().code == Errc::closed);
}

TEST_CASE_FIXTURE(Fixture, "route feed: a store that lost its hosts is not believed until told") {
  put("a.test", 1);
  put("b.test", 2);
  begin();
  CHECK(eventually([&] { return copy->keys("proxy_Host_", soon())->size() == 2; }));
  store.empty = true;  // as after FLUSHALL
  store.tell("proxy_Host_");
  CHECK(eventually([&] { return feed->state().distrusted; }));
  CHECK(port("a.test") == 1);
  CHECK(port("b.test") == 2);
  CHECK(copy->keys("proxy_Host_", soon())->size() == 2);
  // What comes from now on is taken, and what an operator says is believed.
  store.empty = false;
  put("c.test", 3);
  CHECK(eventually([&] { return port("c.test") == 3; }));
  CHECK(port("a.test") == 1);
  CHECK(eventually([&] { return !feed->state().distrusted; }));  // its hosts are back
  store.empty = true;
  store.tell("proxy_Host_");
  CHECK(eventually([&] { return feed->state().distrusted; }));
  REQUIRE(feed->reload({}, {}));
  CHECK(port("a.test") == 0);
  CHECK_FALSE(feed->state().distrusted);
}

TEST_CASE_FIXTURE(Fixture,
                  "route feed: a store that is filled again takes no host away meanwhile") {
  put("a.test", 1);
  put("b.test", 2);
  begin();
  REQUIRE(store.here().erase(host::keys::host("a.test"), soon()));
  store.empty = true;
  store.tell("proxy_Host_");
  CHECK(eventually([&] { return feed->state().distrusted; }));
  store.empty = false;
  // Others write a record field by field.
  REQUIRE(store.here().put(host::keys::host("a.test"), {{"host", "a.test"}}, {}, soon()));
  put("c.test", 3);
  CHECK(eventually([&] { return port("c.test") == 3; }));
  CHECK(port("a.test") == 1);
}

TEST_CASE_FIXTURE(Fixture, "route feed: only changes are told where there is no table") {
  options.whole = false;
  REQUIRE(source.declare(declared("file.test")));
  begin();
  put("a.test", 1);
  CHECK(eventually([&] { return times > 0; }));
  CHECK(port("a.test") == 0);
  CHECK(port("file.test") == 8080);
  CHECK_FALSE(table.current()->complete());
  // Again a little later, since the lookup service may have learned of it after us.
  CHECK(eventually([&] { return times >= 4; }));
  CHECK(std::count(names.begin(), names.end(), "a.test") >= 4);
}

TEST_CASE_FIXTURE(Fixture,
                  "route feed: a reload takes over the file's hosts, also without the store") {
  put("a.test", 1);
  REQUIRE(source.declare(declared("old.test")));
  begin();
  REQUIRE(feed->reload(declared("new.test"), {}));
  CHECK(port("new.test") == 8080);
  CHECK(port("old.test") == 0);
  CHECK(port("a.test") == 1);
  store.away = true;
  REQUIRE(feed->reload(declared("newer.test"), {}));
  CHECK(port("newer.test") == 8080);
  CHECK(port("new.test") == 0);
  CHECK(port("a.test") == 1);
  store.away = false;
  const auto clash = feed->reload(declared("a.test"), {});
  REQUIRE_FALSE(clash);
  CHECK(clash.error().code == Errc::conflict);
  CHECK(port("newer.test") == 8080);
  const auto late = feed->reload(declared("x.test"), [] { return Error{Errc::io, "no log"}; });
  REQUIRE_FALSE(late);
  CHECK(port("x.test") == 0);
}
