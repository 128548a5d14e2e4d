#include "support/store_contract.h"

#include "support/told.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {
namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

std::vector<std::pair<std::string, Record>> scanned(Store& store, std::string_view prefix) {
  std::vector<std::pair<std::string, Record>> found;
  const auto done = store.scan(
      prefix,
      [&](std::string_view key, Record&& record) {
        found.emplace_back(std::string{key}, std::move(record));
      },
      soon());
  REQUIRE(done);
  return found;
}

void check_records(const StoreMaker& make) {
  TestClock clock;
  const auto owned = make(clock);
  Store& store = *owned;

  SUBCASE("a record is read as it was put, and replaced as a whole") {
    REQUIRE(store.put("k", {{"a", "1"}, {"b", ""}}, {}, soon()));
    CHECK(*store.get("k", soon()) == Record{{"a", "1"}, {"b", ""}});
    REQUIRE(store.put("k", {{"c", "3"}}, {}, soon()));
    CHECK(*store.get("k", soon()) == Record{{"c", "3"}});
  }
  SUBCASE("a key that is not there is not_found, and the error names it") {
    const auto got = store.get("nobody", soon());
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::not_found);
    CHECK(got.error().detail.find("nobody") != std::string::npos);
  }
  SUBCASE("keys, fields and values are bytes") {
    const std::string odd{"\0 %_*'\"\xFF\xC3\xA9\n", 11};
    REQUIRE(store.put("k" + odd, {{odd, odd}, {"", "empty name"}}, {}, soon()));
    CHECK(*store.get("k" + odd, soon()) == Record{{odd, odd}, {"", "empty name"}});
    CHECK(*store.keys("k" + odd.substr(0, 1), soon()) == std::vector<std::string>{"k" + odd});
    CHECK_FALSE(store.get("k", soon()));
    CHECK_FALSE(store.get("K" + odd, soon()));
  }
  SUBCASE("a record takes the largest size, and not a byte more") {
    const std::string large(Store::max_record - 1, 'x');
    REQUIRE(store.put("k", {{"v", large}}, {}, soon()));
    CHECK(store.get("k", soon())->at("v") == large);
    CHECK(store.put("k", {{"vv", large}}, {}, soon()).error().code == Errc::limit);
    REQUIRE(store.put(std::string(Store::max_key, 'k'), {{"v", "1"}}, {}, soon()));
    CHECK(store.put(std::string(Store::max_key + 1, 'k'), {{"v", "1"}}, {}, soon()).error().code ==
          Errc::limit);
  }
  SUBCASE("an empty key, an empty record and a ttl under a second are invalid") {
    CHECK(store.put("", {{"v", "1"}}, {}, soon()).error().code == Errc::invalid);
    CHECK(store.put("k", {}, {}, soon()).error().code == Errc::invalid);
    CHECK(store.put("k", {{"v", "1"}}, Seconds{0}, soon()).error().code == Errc::invalid);
    CHECK(store.create("", {{"v", "1"}}, {}, soon()).error().code == Errc::invalid);
    CHECK_FALSE(store.get("k", soon()));
  }
  SUBCASE("create leaves what is there, and says conflict") {
    REQUIRE(store.create("k", {{"v", "1"}}, {}, soon()));
    CHECK(store.create("k", {{"v", "2"}}, {}, soon()).error().code == Errc::conflict);
    CHECK(store.get("k", soon())->at("v") == "1");
  }
  SUBCASE("update makes a record of what is there, or of nothing") {
    const auto count = [](const Record& before) -> Result<Record> {
      Record next = before;
      next["n"] += "x";
      return next;
    };
    REQUIRE(store.update("k", count, Life::as_before, soon()));
    CHECK(*store.get("k", soon()) == Record{{"n", "x"}});
    REQUIRE(store.put("k", {{"n", "x"}, {"other", "1"}}, {}, soon()));
    REQUIRE(store.update("k", count, Life::as_before, soon()));
    CHECK(*store.get("k", soon()) == Record{{"n", "xx"}, {"other", "1"}});
  }
  SUBCASE("an update that is refused leaves the record, and gives the reason") {
    REQUIRE(store.put("k", {{"v", "1"}}, {}, soon()));
    const auto refuse = [](const Record&) -> Result<Record> {
      return Error{Errc::denied, "not you"};
    };
    CHECK(store.update("k", refuse, Life::as_before, soon()).error().detail == "not you");
    const auto empty = [](const Record&) -> Result<Record> { return Record{}; };
    CHECK(store.update("k", empty, Life::as_before, soon()).error().code == Errc::invalid);
    const auto add = [](const Record&) -> Result<Record> { return Record{{"v", "2"}}; };
    CHECK(store.update("", add, Life::as_before, soon()).error().code == Errc::invalid);
    CHECK(store.get("k", soon())->at("v") == "1");
    REQUIRE(store.update("k", add, Life::as_before, soon()));
    CHECK(store.get("k", soon())->at("v") == "2");
  }
  SUBCASE("erase_if erases what the condition holds for, and nothing else") {
    REQUIRE(store.put("k", {{"v", "1"}}, {}, soon()));
    std::vector<Record> asked;
    const auto is = [&asked](const std::string& value) {
      return [&asked, value](const Record& record) {
        asked.push_back(record);
        return record.at("v") == value;
      };
    };
    CHECK(*store.erase_if("k", is("2"), soon()) == false);
    CHECK(store.get("k", soon())->at("v") == "1");
    CHECK(*store.erase_if("none", is("1"), soon()) == false);
    CHECK(asked == std::vector<Record>{{{"v", "1"}}});
    CHECK(*store.erase_if("k", is("1"), soon()) == true);
    CHECK(store.get("k", soon()).error().code == Errc::not_found);
    CHECK(*store.erase_if("k", is("1"), soon()) == false);
  }
  SUBCASE("a certificate is a record of one text") {
    const Record text = {{std::string(text_field), "{\"expiry\":1}"}};
    REQUIRE(store.put("*.a.test:latest", text, {}, soon()));
    CHECK(*store.get("*.a.test:latest", soon()) == text);
    REQUIRE(store.create("a.test:issue_cert_lock", text, Seconds{30}, soon()));
    CHECK(store.create("a.test:issue_cert_lock", text, {}, soon()).error().code == Errc::conflict);
    CHECK(scanned(store, "*.a").front().second == text);
    CHECK(*store.erase("*.a.test:latest", soon()));
    CHECK_FALSE(store.get("*.a.test:latest", soon()));
  }
  SUBCASE("a model's records are listed without what lists them") {
    REQUIRE(store.put("proxy_Host_a.test", {{"host", "a.test"}}, {}, soon()));
    REQUIRE(store.put("proxy_Host_*.a.test", {{"host", "*.a.test"}}, {}, soon()));
    CHECK(*store.keys("proxy_", soon()) ==
          std::vector<std::string>{"proxy_Host_*.a.test", "proxy_Host_a.test"});
    CHECK(*store.erase("proxy_Host_a.test", soon()));
    CHECK(store.keys("proxy_Host_", soon())->size() == 1);
  }
  SUBCASE("erase says whether there was something") {
    REQUIRE(store.put("k", {{"v", "1"}}, {}, soon()));
    CHECK(*store.erase("k", soon()));
    CHECK_FALSE(*store.erase("k", soon()));
    CHECK(store.get("k", soon()).error().code == Errc::not_found);
  }
  SUBCASE("keys and scan give what starts with the prefix, in the order of bytes") {
    for (const char* key : {"b", "a_2", "a_10", "a", "a_", "\xFFx", "\xFF\xFFy", "a`"}) {
      REQUIRE(store.put(key, {{"key", key}, {"a", "1"}, {"z", "2"}}, {}, soon()));
    }
    const std::vector<std::string> under = {"a_", "a_10", "a_2"};
    CHECK(*store.keys("a_", soon()) == under);
    CHECK(*store.keys("\xFF", soon()) == std::vector<std::string>{"\xFFx", "\xFF\xFFy"});
    const auto all = store.keys("", soon());
    CHECK(all->size() == 8);
    CHECK(std::is_sorted(all->begin(), all->end()));
    CHECK(store.keys("c", soon())->empty());
    const auto records = scanned(store, "a_");
    REQUIRE(records.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(records[i].first == under[i]);
      CHECK(records[i].second == Record{{"key", under[i]}, {"a", "1"}, {"z", "2"}});
    }
    CHECK(scanned(store, "").size() == 8);
    CHECK(scanned(store, "c").empty());
  }
  SUBCASE("put_all writes all, or nothing when one is refused") {
    std::vector<std::pair<std::string, Record>> many;
    for (int i = 0; i < 3000; ++i) {
      many.emplace_back("k" + std::to_string(i), Record{{"i", std::to_string(i)}});
    }
    REQUIRE(store.put("k7", {{"old", "1"}}, {}, soon()));
    REQUIRE(store.put_all(many, {}, soon()));
    CHECK(store.keys("k", soon())->size() == 3000);
    CHECK(*store.get("k7", soon()) == Record{{"i", "7"}});
    const std::vector<std::pair<std::string, Record>> bad = {{"n1", {{"v", "1"}}}, {"n2", {}}};
    CHECK(store.put_all(bad, {}, soon()).error().code == Errc::invalid);
    CHECK_FALSE(store.get("n1", soon()));
  }
  SUBCASE("a call whose stop was requested is cancelled") {
    std::stop_source stop;
    stop.request_stop();
    const Deadline by = Deadline::in(patience, stop.get_token());
    CHECK(store.get("k", by).error().code == Errc::cancelled);
    CHECK(store.put("k", {{"v", "1"}}, {}, by).error().code == Errc::cancelled);
    CHECK(store.keys("", by).error().code == Errc::cancelled);
  }
}

void check_expiry(const StoreMaker& make) {
  TestClock clock;
  const auto owned = make(clock);
  Store& store = *owned;

  SUBCASE("a record with a ttl is there until it ends, then nowhere") {
    REQUIRE(store.put("k", {{"v", "1"}}, Seconds{10}, soon()));
    REQUIRE(store.put("l", {{"v", "1"}}, {}, soon()));
    clock.pass(Seconds{9});
    CHECK(store.get("k", soon()));
    CHECK(store.keys("", soon())->size() == 2);
    clock.pass(Seconds{1});
    CHECK(store.get("k", soon()).error().code == Errc::not_found);
    CHECK(*store.keys("", soon()) == std::vector<std::string>{"l"});
    CHECK(scanned(store, "").size() == 1);
    CHECK_FALSE(*store.erase("k", soon()));
  }
  SUBCASE("a put without ttl lets a record live for ever") {
    REQUIRE(store.put("k", {{"v", "1"}, {"w", "2"}}, Seconds{10}, soon()));
    REQUIRE(store.put("k", {{"v", "2"}}, {}, soon()));
    clock.pass(Seconds{100'000'000});
    CHECK(*store.get("k", soon()) == Record{{"v", "2"}});
  }
  SUBCASE("an update leaves a record its end, or takes it away") {
    const auto change = [](const Record&) -> Result<Record> { return Record{{"v", "2"}}; };
    REQUIRE(store.put("k", {{"v", "1"}, {"w", "1"}}, Seconds{10}, soon()));
    REQUIRE(store.put("l", {{"v", "1"}}, Seconds{10}, soon()));
    REQUIRE(store.update("k", change, Life::as_before, soon()));
    REQUIRE(store.update("l", change, Life::for_ever, soon()));
    clock.pass(Seconds{9});
    CHECK(*store.get("k", soon()) == Record{{"v", "2"}});
    clock.pass(Seconds{1});
    CHECK_FALSE(store.get("k", soon()));
    CHECK(*store.get("l", soon()) == Record{{"v", "2"}});
    bool was_there = true;
    const auto look = [&](const Record& before) -> Result<Record> {
      was_there = !before.empty();
      return Record{{"v", "3"}};
    };
    REQUIRE(store.update("k", look, Life::as_before, soon()));
    CHECK_FALSE(was_there);
    clock.pass(Seconds{100});
    CHECK(store.get("k", soon())->at("v") == "3");
  }
  SUBCASE("what has ended can be created again, whole") {
    REQUIRE(store.put("k", {{"v", "1"}, {"w", "2"}}, Seconds{10}, soon()));
    clock.pass(Seconds{10});
    REQUIRE(store.create("k", {{"v", "3"}}, {}, soon()));
    CHECK(*store.get("k", soon()) == Record{{"v", "3"}});
  }
  SUBCASE("sweeping away what has ended leaves the others alone") {
    for (int i = 0; i < 20; ++i) {
      REQUIRE(store.put("short" + std::to_string(i), {{"v", "1"}}, Seconds{10}, soon()));
    }
    REQUIRE(store.put("long", {{"v", "1"}}, Seconds{100'000}, soon()));
    REQUIRE(store.put("ever", {{"v", "1"}}, {}, soon()));
    clock.pass(Seconds{1'000});
    REQUIRE(store.put("new", {{"v", "1"}}, {}, soon()));
    CHECK(*store.keys("", soon()) == std::vector<std::string>{"ever", "long", "new"});
  }
  SUBCASE("the longest ttl there is does not overflow") {
    REQUIRE(store.put("k", {{"v", "1"}}, Seconds::max(), soon()));
    CHECK(store.get("k", soon()));
  }
}

void check_locks(const StoreMaker& make) {
  TestClock clock;
  const auto owned = make(clock);
  Store& store = *owned;
  const Deadline at_once = Deadline::in(Millis{0});

  SUBCASE("a lock is held by one, and free when the lease is gone") {
    auto lease = store.lock("l", Seconds{30}, soon());
    REQUIRE(lease);
    CHECK(store.lock("l", Seconds{30}, at_once).error().code == Errc::busy);
    CHECK(store.lock("other", Seconds{30}, at_once));
    lease->reset();
    CHECK(store.lock("l", Seconds{30}, at_once));
  }
  SUBCASE("tokens grow with every holder") {
    std::uint64_t last = 0;
    for (int i = 0; i < 3; ++i) {
      const auto lease = store.lock("l", Seconds{30}, soon());
      REQUIRE(lease);
      CHECK((*lease)->token() > last);
      last = (*lease)->token();
    }
    const auto stale = store.lock("l", Seconds{30}, soon());
    clock.pass(Seconds{30});
    const auto fresh = store.lock("l", Seconds{30}, at_once);
    REQUIRE(fresh);
    CHECK((*fresh)->token() > (*stale)->token());
  }
  SUBCASE("a lease ends with its ttl unless it is renewed") {
    const auto lease = store.lock("l", Seconds{30}, soon());
    clock.pass(Seconds{29});
    REQUIRE((*lease)->renew(soon()));
    clock.pass(Seconds{29});
    CHECK(store.lock("l", Seconds{30}, at_once).error().code == Errc::busy);
    clock.pass(Seconds{1});
    CHECK((*lease)->renew(soon()).error().code == Errc::conflict);
    CHECK(store.lock("l", Seconds{30}, at_once));
  }
  SUBCASE("a lease that ran out cannot take or give away what somebody else holds now") {
    auto stale = store.lock("l", Seconds{30}, soon());
    clock.pass(Seconds{30});
    const auto fresh = store.lock("l", Seconds{30}, at_once);
    REQUIRE(fresh);
    CHECK((*stale)->renew(soon()).error().code == Errc::conflict);
    stale->reset();
    CHECK(store.lock("l", Seconds{30}, at_once).error().code == Errc::busy);
    CHECK((*fresh)->renew(soon()));
  }
  SUBCASE("who waits for a lock gets it when it is given back") {
    auto lease = store.lock("l", Seconds{30}, soon());
    std::atomic<bool> got = false;
    std::thread waiter([&] { got = store.lock("l", Seconds{30}, soon()).has_value(); });
    lease->reset();
    waiter.join();
    CHECK(got);
  }
  SUBCASE("who waits for a lock can be told to stop") {
    const auto lease = store.lock("l", Seconds{30}, soon());
    std::stop_source stop;
    std::atomic<Errc> code = Errc::io;
    std::thread waiter([&] {
      code = store.lock("l", Seconds{30}, Deadline::never(stop.get_token())).error().code;
    });
    stop.request_stop();
    waiter.join();
    CHECK(code == Errc::cancelled);
  }
  SUBCASE("a lock without name or ttl is invalid") {
    CHECK(store.lock("", Seconds{30}, soon()).error().code == Errc::invalid);
    CHECK(store.lock("l", Seconds{0}, soon()).error().code == Errc::invalid);
  }
}

void check_watches(const StoreMaker& make) {
  TestClock clock;
  const auto owned = make(clock);
  Store& store = *owned;
  Told told;

  SUBCASE("a watch is told of every write under its prefix, and of no other") {
    const auto watch = store.watch("a_", told.callback());
    REQUIRE(watch);
    REQUIRE(store.put("b_1", {{"v", "1"}}, {}, soon()));
    REQUIRE(store.put("a_1", {{"v", "1"}}, {}, soon()));
    CHECK(told.wait_for("a_1"));
    REQUIRE(store.create("a_2", {{"v", "1"}}, {}, soon()));
    CHECK(told.wait_for("a_2"));
    const std::vector<std::pair<std::string, Record>> two = {{"a_3", {{"v", "1"}}},
                                                             {"b_3", {{"v", "1"}}}};
    REQUIRE(store.put_all(two, {}, soon()));
    CHECK(told.wait_for("a_3"));
    REQUIRE(store.put("a_4", {{"v", "1"}}, {}, soon()));
    CHECK(told.wait_for("a_4"));
    const auto change = [](const Record&) -> Result<Record> { return Record{{"v", "2"}}; };
    REQUIRE(store.update("a_5", change, Life::as_before, soon()));
    CHECK(told.wait_for("a_5"));
    CHECK_FALSE(told.has("b_1"));
    CHECK_FALSE(told.has("b_3"));
  }
  SUBCASE("a watch is told of erased records, not of those that were not there") {
    REQUIRE(store.put("a_1", {{"v", "1"}}, {}, soon()));
    REQUIRE(store.put("a_2", {{"v", "1"}}, {}, soon()));
    const auto watch = store.watch("a_", told.callback());
    REQUIRE(store.erase("a_0", soon()));
    REQUIRE(store.erase("a_1", soon()));
    CHECK(told.wait_for("a_1"));
    CHECK_FALSE(told.has("a_0"));
    CHECK_FALSE(told.has("a_2"));  // written before the watch began
  }
  SUBCASE("a refused write is not told") {
    REQUIRE(store.put("a_1", {{"v", "1"}}, {}, soon()));
    const auto watch = store.watch("a_", told.callback());
    CHECK_FALSE(store.create("a_1", {{"v", "2"}}, {}, soon()));
    REQUIRE(store.put("a_2", {{"v", "1"}}, {}, soon()));
    CHECK(told.wait_for("a_2"));
    CHECK_FALSE(told.has("a_1"));
  }
  SUBCASE("many writes at once are all told, or the prefix is") {
    const auto watch = store.watch("k", told.callback());
    std::vector<std::pair<std::string, Record>> many;
    for (int i = 0; i < 5000; ++i) many.emplace_back("k" + std::to_string(i), Record{{"v", "1"}});
    REQUIRE(store.put_all(many, {}, soon()));
    CHECK(told.wait_for_all("k", many.size()));
  }
  SUBCASE("the callback may use the store, and end its own watch") {
    std::unique_ptr<Watch> watch;
    std::mutex mutex;  // `watch` is set before the callback looks at it
    std::condition_variable done;
    std::string seen;
    {
      const std::lock_guard lock(mutex);
      auto begun = store.watch("a_", [&](std::string_view key) {
        const auto record = store.get(key, soon());
        const std::lock_guard inner(mutex);
        seen = record ? record->at("v") : "nothing";
        watch.reset();
        done.notify_all();
      });
      REQUIRE(begun);
      watch = *std::move(begun);
    }
    REQUIRE(store.put("a_1", {{"v", "x"}}, {}, soon()));
    std::unique_lock lock(mutex);
    CHECK(done.wait_for(lock, patience, [&] { return !seen.empty(); }));
    CHECK(seen == "x");
    CHECK(watch == nullptr);
  }
  SUBCASE("after a watch is gone its callback does not run") {
    std::atomic<int> calls = 0;
    auto watch = store.watch("a_", [&](std::string_view) { ++calls; });
    const auto other = store.watch("a_", told.callback());
    watch->reset();
    const int before = calls;
    REQUIRE(store.put("a_1", {{"v", "1"}}, {}, soon()));
    CHECK(told.wait_for("a_1"));
    CHECK(calls == before);
  }
}

void check_threads(const StoreMaker& make, Scans scans) {
  TestClock clock;
  const auto owned = make(clock);
  Store& store = *owned;

  SUBCASE("a reader sees the old record or the new one, never a mixture") {
    constexpr int writes = 50;
    REQUIRE(store.put("k", {{"a", "0"}, {"b", "0"}}, {}, soon()));
    std::atomic<bool> writing = true;
    std::thread writer([&] {
      for (int i = 1; i <= writes; ++i) {
        const std::string n = std::to_string(i);
        if (!store.put("k", {{"a", n}, {"b", n}}, {}, soon())) break;
      }
      writing = false;
    });
    bool torn = false;
    while (writing) {
      const auto record = store.get("k", soon());
      torn = torn || !record || record->size() != 2 || record->at("a") != record->at("b");
    }
    writer.join();
    CHECK_FALSE(torn);
    CHECK(store.get("k", soon())->at("a") == std::to_string(writes));
  }
  SUBCASE("updates of one record by several threads are all in it") {
    constexpr int threads_count = 4;
    constexpr int updates = 25;
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < threads_count; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < updates; ++n) {
          const auto add_one = [](const Record& before) -> Result<Record> {
            const auto at = before.find("n");
            return Record{
                {"n", std::to_string(at == before.end() ? 1 : std::stoi(at->second) + 1)}};
          };
          if (!store.update("k", add_one, Life::as_before, soon())) ++failures;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == 0);
    CHECK(store.get("k", soon())->at("n") == std::to_string(threads_count * updates));
  }
  SUBCASE("erase_if never erases what somebody has put meanwhile") {
    for (int i = 0; i < 50; ++i) {
      REQUIRE(store.put("k", {{"v", "row"}}, {}, soon()));
      std::thread eraser([&] {
        const auto is_row = [](const Record& record) { return record.at("v") == "row"; };
        CHECK(store.erase_if("k", is_row, soon()));
      });
      const auto put = store.put("k", {{"v", "own"}}, {}, soon());
      eraser.join();
      REQUIRE(put);
      const auto left = store.get("k", soon());
      REQUIRE(left);
      REQUIRE(left->at("v") == "own");
    }
  }
  SUBCASE("of several creators of one key one wins") {
    std::atomic<int> created = 0;
    std::atomic<int> refused = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const auto made = store.create("k", {{"v", "1"}}, {}, soon());
        if (made) ++created;
        if (!made && made.error().code == Errc::conflict) ++refused;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(created == 1);
    CHECK(refused == 3);
  }
  SUBCASE("writers go on while a scan is under way") {
    for (int i = 0; i < 100; ++i) {
      REQUIRE(store.put("k" + std::to_string(i), {{"v", "old"}}, {}, soon()));
    }
    std::vector<std::string> values;
    REQUIRE(store.scan(
        "k",
        [&](std::string_view, Record&& record) {
          if (values.empty()) {
            std::thread writer([&] { CHECK(store.put("k99", {{"v", "new"}}, {}, soon())); });
            writer.join();
          }
          values.push_back(record.at("v"));
        },
        soon()));
    CHECK(values.size() == 100);
    if (scans == Scans::one_state) CHECK(values == std::vector<std::string>(100, "old"));
    CHECK(store.get("k99", soon())->at("v") == "new");
  }
}

}  // namespace

void check_store_contract(const StoreMaker& make, Scans scans) {
  SUBCASE("records") {
    check_records(make);
  }
  SUBCASE("expiry") {
    check_expiry(make);
  }
  SUBCASE("locks") {
    check_locks(make);
  }
  SUBCASE("watches") {
    check_watches(make);
  }
  SUBCASE("threads") {
    check_threads(make, scans);
  }
}

}  // namespace proxycore::test
