#include "store/watchers.h"

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using store::Watchers;

namespace {

// A callback that waits inside its first call until it is let go.
class Slow {
 public:
  void operator()(std::string_view key) {
    std::unique_lock lock(mutex_);
    keys_.emplace_back(key);
    changed_.notify_all();
    changed_.wait(lock, [this] { return free_; });
  }
  void wait_for_calls(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return keys_.size() >= count; });
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    free_ = true;
    changed_.notify_all();
  }
  std::vector<std::string> keys() {
    const std::lock_guard lock(mutex_);
    return keys_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> keys_;
  bool free_ = false;
};

}  // namespace

TEST_CASE("watchers: what waits behind a slow callback is told once") {
  Slow slow;
  Watchers watchers;
  const auto watch = watchers.add("k", [&](std::string_view key) { slow(key); });
  watchers.changed("k1");
  slow.wait_for_calls(1);
  for (int i = 0; i < 100; ++i) watchers.changed("k2");
  watchers.changed("k3");
  watchers.changed("other");
  slow.let_go();
  slow.wait_for_calls(3);
  CHECK(slow.keys() == std::vector<std::string>{"k1", "k2", "k3"});
}

TEST_CASE("watchers: too many waiting keys become the prefix") {
  Slow slow;
  Watchers watchers;
  const auto watch = watchers.add("k", [&](std::string_view key) { slow(key); });
  watchers.changed("k");
  slow.wait_for_calls(1);
  for (std::size_t i = 0; i <= 2 * Watchers::max_pending; ++i) {
    watchers.changed("k" + std::to_string(i));
  }
  slow.let_go();
  slow.wait_for_calls(2);
  CHECK(slow.keys() == std::vector<std::string>{"k", "k"});
}

TEST_CASE("watchers: all_changed tells each watch its own prefix") {
  Slow a;
  Slow b;
  a.let_go();
  b.let_go();
  Watchers watchers;
  const auto watch_a = watchers.add("a", [&](std::string_view key) { a(key); });
  const auto watch_b = watchers.add("b", [&](std::string_view key) { b(key); });
  watchers.all_changed();
  a.wait_for_calls(1);
  b.wait_for_calls(1);
  CHECK(a.keys() == std::vector<std::string>{"a"});
  CHECK(b.keys() == std::vector<std::string>{"b"});
}

TEST_CASE("watchers: removing a watch waits for its running callback") {
  Slow slow;
  Watchers watchers;
  auto watch = watchers.add("k", [&](std::string_view key) { slow(key); });
  watchers.changed("k1");
  slow.wait_for_calls(1);
  std::atomic<bool> removed = false;
  std::thread remover([&] {
    watch.reset();
    removed = true;
  });
  CHECK_FALSE(removed);
  slow.let_go();
  remover.join();
  CHECK(removed);
}

TEST_CASE("watchers: polls while somebody watches, and only then") {
  std::mutex mutex;
  std::condition_variable polled;
  int polls = 0;
  Watchers watchers([&] {
    const std::lock_guard lock(mutex);
    ++polls;
    polled.notify_all();
  });
  watchers.changed("k");
  CHECK(polls == 0);
  auto watch = watchers.add("k", [](std::string_view) {});
  {
    std::unique_lock lock(mutex);
    polled.wait(lock, [&] { return polls >= 3; });
  }
  watch.reset();
}

TEST_CASE("watchers: say which prefixes are watched, the wider of two that overlap") {
  store::Watchers watchers;
  const auto nothing = [](std::string_view) {};
  CHECK(watchers.prefixes().empty());
  std::vector<std::unique_ptr<Watch>> watches;
  for (const char* prefix : {"b_1", "a_", "b_", "b_", "c"}) {
    watches.push_back(watchers.add(prefix, nothing));
  }
  CHECK(watchers.prefixes() == std::vector<std::string>{"a_", "b_", "c"});
  watches.push_back(watchers.add("", nothing));
  CHECK(watchers.prefixes() == std::vector<std::string>{""});
}
