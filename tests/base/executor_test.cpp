#include "base/executor.h"

#include "support/eventually.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include <sys/resource.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace proxycore::base {

TEST_CASE("executor: as many tasks run at a time as it has threads") {
  std::promise<void> first;
  std::promise<void> second;
  std::atomic<int> met = 0;
  Executor executor(2, 8);
  // Each waits for the other to have begun.
  REQUIRE(executor.post([&] {
    first.set_value();
    second.get_future().wait();
    ++met;
  }));
  REQUIRE(executor.post([&] {
    second.set_value();
    first.get_future().wait();
    ++met;
  }));
  CHECK(test::eventually([&] { return met == 2; }));
}

TEST_CASE("executor: what does not fit is refused at once, and destroyed") {
  std::promise<void> go;
  std::promise<void> runs;
  const auto held = std::make_shared<int>(1);
  {
    Executor executor(1, 1);
    REQUIRE(executor.post([&, wait = go.get_future().share()] {
      runs.set_value();
      wait.wait();
    }));
    runs.get_future().wait();
    REQUIRE(executor.post([held] {}));
    CHECK(held.use_count() == 2);
    const auto refused = executor.post([held] {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::busy);
    CHECK(refused.error().retry_after_s == 1);
    CHECK(held.use_count() == 2);
    go.set_value();
    CHECK(test::eventually([&] { return held.use_count() == 1; }));
  }
}

TEST_CASE("executor: stopping waits for what runs and destroys what waits") {
  std::promise<void> runs;
  std::atomic<bool> stopping = false;
  std::atomic<bool> ended = false;
  const auto held = std::make_shared<int>(1);
  Executor executor(1, 4);
  REQUIRE(executor.post([&] {
    runs.set_value();
    while (!stopping) std::this_thread::yield();
    ended = true;
  }));
  runs.get_future().wait();
  REQUIRE(executor.post([held] {}));
  std::thread later([&] {
    // Once what waited is gone, the stop has begun.
    CHECK(test::eventually([&] {
      const auto posted = executor.post([] {});
      return !posted && posted.error().code == Errc::cancelled;
    }));
    stopping = true;
  });
  executor.stop();
  later.join();
  CHECK(ended);
  CHECK(held.use_count() == 1);
  CHECK(executor.post([] {}).error().code == Errc::cancelled);
}

TEST_CASE("executor: its threads may give way to others") {
  const auto niceness = [] { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())); };
  std::promise<int> found;
  Executor executor(1, 1, 3);
  REQUIRE(executor.post([&] { found.set_value(niceness()); }));
  CHECK(found.get_future().get() == std::min(19, niceness() + 3));
}

}  // namespace proxycore::base
