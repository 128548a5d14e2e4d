#include "base/snapshot.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore::base;

namespace {

struct Table {
  explicit Table(int version) : number(version), text(std::to_string(version)) {}
  int number;
  std::string text;
};

}  // namespace

TEST_CASE("snapshot: who subscribes gets the current table, and every later one") {
  Snapshot<Table> tables;
  std::vector<int> early;
  std::vector<int> late;
  tables.subscribe([&](auto table) { early.push_back(table->number); });
  CHECK(early.empty());
  CHECK(tables.current() == nullptr);
  tables.publish(std::make_shared<Table>(1));
  tables.subscribe([&](auto table) { late.push_back(table->number); });
  tables.publish(std::make_shared<Table>(2));
  CHECK(early == std::vector{1, 2});
  CHECK(late == std::vector{1, 2});
  CHECK(tables.current()->number == 2);
}

TEST_CASE("view: holds the table it was given until the next one comes") {
  auto first = std::make_shared<const Table>(1);
  const std::weak_ptr<const Table> watched = first;
  View<Table> view;
  CHECK_FALSE(view);
  CHECK(view.get() == nullptr);
  view.set(std::move(first));
  CHECK(view);
  CHECK(view.get()->number == 1);
  view.set(std::make_shared<const Table>(2));
  CHECK(watched.expired());
  CHECK(view.get()->number == 2);
}

TEST_CASE("view: a shared part keeps its whole table alive, the next one does not wait for it") {
  View<Table> view;
  auto first = std::make_shared<const Table>(1);
  const std::weak_ptr<const Table> watched = first;
  view.set(std::move(first));
  std::shared_ptr<const std::string> part = view.share(view.get()->text);
  view.set(std::make_shared<const Table>(2));
  CHECK_FALSE(watched.expired());
  CHECK(*part == "1");
  part.reset();
  CHECK(watched.expired());
}

TEST_CASE("view: counting references to parts leaves the published table's count alone") {
  auto table = std::make_shared<const Table>(1);
  View<Table> view;
  view.set(table);
  const long before = table.use_count();
  const auto part = view.share(view.get()->text);
  const auto again = view.share(view.get()->number);
  CHECK(table.use_count() == before);
}

TEST_CASE("snapshot: a table of before dies in sweep(), once nobody uses it") {
  Snapshot<Table> tables;
  View<Table> view;
  tables.subscribe([&](auto table) { view.set(std::move(table)); });
  auto first = std::make_shared<const Table>(1);
  const std::weak_ptr<const Table> watched = first;
  tables.publish(std::move(first));
  CHECK_FALSE(tables.sweep());  // it is the current one
  auto used = view.share(view.get()->text);
  tables.publish(std::make_shared<const Table>(2));
  CHECK(tables.sweep());
  used.reset();
  CHECK_FALSE(watched.expired());  // not by its last user
  CHECK_FALSE(tables.sweep());
  CHECK(watched.expired());
  CHECK(tables.current()->number == 2);
}

TEST_CASE("snapshot: publishers and subscribers on several threads") {
  Snapshot<Table> tables;
  std::atomic<int> delivered = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int version = 0; version < 200; ++version) {
        tables.publish(std::make_shared<Table>(i * 1000 + version));
      }
    });
    threads.emplace_back([&] {
      tables.subscribe([&](auto table) { delivered += static_cast<int>(table->text.size() > 0); });
      CHECK((tables.current() == nullptr || !tables.current()->text.empty()));
    });
  }
  for (std::thread& thread : threads) thread.join();
  delivered = 0;
  tables.publish(std::make_shared<Table>(1));
  CHECK(delivered == 4);
}
