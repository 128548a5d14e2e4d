#include "server/mirror.h"

#include "support/away_store.h"
#include "support/eventually.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;
using test::eventually;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

struct Fixture {
  test::AwayStore from;
  std::unique_ptr<Store> to = open_memory();

  void put(const std::string& key, const std::string& value) {
    REQUIRE(from.here().put(key, {{"v", value}}, {}, soon()));
  }
  std::string copied(const std::string& key) {
    const auto record = to->get(key, soon());
    return record ? record->at("v") : "-";
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "mirror: copies what there is, and takes away what is gone") {
  put("k_1", "one");
  put("k_2", "two");
  put("other", "x");
  REQUIRE(to->put("k_2", {{"v", "old"}}, {}, soon()));
  REQUIRE(to->put("k_3", {{"v", "gone"}}, {}, soon()));
  Mirror mirror(from, *to, "k_");
  mirror.all_changed();
  CHECK(eventually([&] { return copied("k_1") == "one" && copied("k_3") == "-"; }));
  CHECK(copied("k_2") == "two");
  CHECK(copied("other") == "-");
  put("k_1", "new");
  REQUIRE(from.here().erase("k_2", soon()));
  const std::vector<std::string> changed = {"k_1", "k_2"};
  mirror.changed(changed);
  CHECK(eventually([&] { return copied("k_1") == "new" && copied("k_2") == "-"; }));
}

TEST_CASE_FIXTURE(Fixture, "mirror: what could not be copied is copied later") {
  put("k_1", "one");
  from.away = true;
  Mirror mirror(from, *to, "k_");
  const std::vector<std::string> changed = {"k_1"};
  mirror.changed(changed);
  from.away = false;
  CHECK(eventually([&] { return copied("k_1") == "one"; }));
}

TEST_CASE_FIXTURE(Fixture, "mirror: a store that lost everything takes nothing from the copy") {
  put("k_1", "one");
  Mirror mirror(from, *to, "k_");
  mirror.all_changed();
  CHECK(eventually([&] { return copied("k_1") == "one"; }));
  from.empty = true;
  mirror.all_changed();
  mirror.confirm(5);  // behind it in the queue
  CHECK(eventually([&] { return Mirror::confirmed(*to, soon()) == 5; }));
  CHECK(copied("k_1") == "one");
}

TEST_CASE_FIXTURE(Fixture, "mirror: the copy knows when it was last right") {
  CHECK(Mirror::confirmed(*to, soon()) == 0);
  {
    Mirror mirror(from, *to, "k_");
    mirror.confirm(1'700'000'000'000);
    CHECK(eventually([&] { return Mirror::confirmed(*to, soon()) == 1'700'000'000'000; }));
  }
  REQUIRE(to->put("proxycore_replica", {{"confirmed_on", "junk"}}, {}, soon()));
  CHECK(Mirror::confirmed(*to, soon()) == 0);
}
