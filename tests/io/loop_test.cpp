#include "io/loop.h"

#include "support/turns.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <uv.h>

using namespace proxycore;
using io::Loop;
using test::run_turns;
using test::run_until;

namespace {

// Appends a letter when it dies.
struct Mark final : io::Retired {
  Mark(std::string& to, char letter) : log(to), name(letter) {}
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  ~Mark() override { log += name; }
  std::string& log;
  char name;
};

struct Work final : io::Later {
  Work(std::string& to, char letter) : log(to), name(letter) {}
  void on_later() override { log += name; }
  std::string& log;
  char name;
};

void spin_for(Millis span) {
  const auto until = std::chrono::steady_clock::now() + span;
  while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

}  // namespace

TEST_CASE("loop: posted tasks run in order, on the loop's thread, in a later turn") {
  Loop loop;
  std::string log;
  std::thread::id ran_on;
  for (const char letter : {'a', 'b', 'c'}) {
    loop.post([&log, &ran_on, letter] {
      log += letter;
      ran_on = std::this_thread::get_id();
    });
  }
  CHECK(log.empty());
  run_until(loop, [&] { return log.size() == 3; });
  CHECK(log == "abc");
  CHECK(ran_on == std::this_thread::get_id());
}

TEST_CASE("loop: a task may post another, which runs too") {
  Loop loop;
  int depth = 0;
  loop.post([&] {
    ++depth;
    loop.post([&] { ++depth; });
  });
  run_until(loop, [&] { return depth == 2; });
}

TEST_CASE(
    "loop: several threads post while it runs; nothing is lost, each thread's order is kept") {
  constexpr int threads = 4;
  constexpr int each = 5'000;
  Loop loop;
  std::vector<std::vector<int>> seen(threads);
  std::atomic<int> done = 0;
  std::vector<std::thread> posting;
  for (int thread = 0; thread < threads; ++thread) {
    posting.emplace_back([&, thread] {
      auto& mine = seen[static_cast<std::size_t>(thread)];
      for (int i = 0; i < each; ++i) loop.post([&mine, i] { mine.push_back(i); });
      loop.post([&] {
        if (++done == threads) loop.stop();
      });
    });
  }
  loop.run();
  for (std::thread& thread : posting) thread.join();
  for (const auto& order : seen) {
    REQUIRE(order.size() == each);
    for (int i = 0; i < each; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("loop: its inbox outlives it and then answers false") {
  std::shared_ptr<io::Inbox> inbox;
  auto carried = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = carried;
  {
    Loop loop;
    inbox = loop.inbox();
    CHECK(inbox->post([carried = std::move(carried)] {}));
  }
  CHECK(watched.expired());  // a task that never ran was destroyed with the loop
  bool ran = false;
  CHECK_FALSE(inbox->post([&ran] { ran = true; }));
  CHECK_FALSE(ran);
}

TEST_CASE("loop: a task that goes down with the loop may post in its destructor") {
  struct Last {
    explicit Last(std::shared_ptr<io::Inbox> to) : inbox(std::move(to)) {}
    Last(const Last&) = delete;
    Last& operator=(const Last&) = delete;
    ~Last() {
      inbox->post([] {});
    }
    std::shared_ptr<io::Inbox> inbox;
  };
  auto loop = std::make_unique<Loop>();
  loop->post([last = std::make_unique<Last>(loop->inbox())] {});
  loop.reset();
}

TEST_CASE("loop: threads that post while it ends are told so") {
  for (int round = 0; round < 20; ++round) {
    auto loop = std::make_unique<Loop>();
    std::atomic<int> accepted = 0;
    std::vector<std::thread> posting;
    for (int i = 0; i < 3; ++i) {
      posting.emplace_back([&accepted, inbox = loop->inbox()] {
        while (inbox->post([] {})) ++accepted;
      });
    }
    run_until(*loop, [&] { return accepted > 100; });
    loop.reset();
    for (std::thread& thread : posting) thread.join();
  }
}

TEST_CASE("loop: stop() from another thread ends run(), which may be called again") {
  Loop loop;
  for (int round = 0; round < 3; ++round) {
    std::thread other([&] { loop.stop(); });
    loop.run();
    other.join();
  }
}

TEST_CASE("loop: the turn in which it is stopped is finished") {
  Loop loop;
  std::string log;
  Work work(log, 'w');
  loop.post([&] {
    loop.later(work);
    loop.retire(std::make_unique<Mark>(log, 'r'));
  });
  loop.stop();
  loop.run();
  CHECK(log == "wr");
}

TEST_CASE("loop: the retired die after the callback, behind the turn's later work") {
  Loop loop;
  std::string log;
  Work work(log, 'w');
  loop.post([&] {
    loop.retire(std::make_unique<Mark>(log, 'r'));
    loop.later(work);
    log += "c";
  });
  run_until(loop, [&] { return log.size() == 3; });
  CHECK(log == "cwr");
}

TEST_CASE("loop: later work runs once per request, and not when it has died") {
  Loop loop;
  std::string log;
  Work once(log, 'a');
  auto never = std::make_unique<Work>(log, 'b');
  loop.later(once);
  loop.later(once);
  loop.later(*never);
  never.reset();
  run_turns(loop);
  CHECK(log == "a");
  loop.later(once);
  run_turns(loop);
  CHECK(log == "aa");
}

TEST_CASE("loop: later work may ask for more in the same turn") {
  struct Chained final : io::Later {
    Chained(Loop& of, Chained* following) : loop(of), next(following) {}
    void on_later() override {
      ran = true;
      if (next != nullptr) loop.later(*next);
    }
    Loop& loop;
    Chained* next;
    bool ran = false;
  };
  Loop loop;
  Chained second(loop, nullptr);
  Chained first(loop, &second);
  loop.later(first);
  uv_run(&loop.uv(), UV_RUN_NOWAIT);
  CHECK(first.ran);
  CHECK(second.ran);
}

TEST_CASE("loop: the dying may retire others and sweep") {
  struct Parent final : io::Retired {
    Parent(Loop& of, std::string& to) : loop(of), log(to) {}
    Parent(const Parent&) = delete;
    Parent& operator=(const Parent&) = delete;
    ~Parent() override {
      loop.retire(std::make_unique<Mark>(log, 'c'));
      loop.sweep();
      log += 'p';
    }
    Loop& loop;
    std::string& log;
  };
  std::string log;
  {
    Loop loop;
    loop.retire(std::make_unique<Parent>(loop, log));
    loop.retire(std::make_unique<Parent>(loop, log));
    loop.sweep();
    CHECK(log == "cpcp");
    loop.retire(std::make_unique<Parent>(loop, log));
  }
  CHECK(log == "cpcpcp");
}

TEST_CASE("loop: its clock is right in the first callback after a long wait") {
  // It was what it had been before the wait: a time-out armed there came early.
  Loop loop;
  run_turns(loop);
  const std::int64_t before = loop.now();
  std::thread other([&] {
    spin_for(Millis{60});
    loop.post([&] {
      CHECK(loop.now() - before >= 59);
      loop.stop();
    });
  });
  loop.run();
  other.join();
}

TEST_CASE("loop: a timer fires, and not before its time") {
  Loop loop;
  const auto begin = std::chrono::steady_clock::now();
  bool fired = false;
  io::Timer timer(loop.timers(), fired, [](bool& flag) { flag = true; });
  timer.arm(Millis{70});
  run_until(loop, [&] { return fired; });
  CHECK(std::chrono::steady_clock::now() - begin >= Millis{68});  // the clock's grain
}

TEST_CASE("loop: wakes for a timer that was armed after a later one") {
  Loop loop;
  std::string log;
  struct Entry {
    std::string& log;
    char name;
  };
  Entry late{log, 'l'};
  Entry early{log, 'e'};
  const auto note = [](Entry& entry) { entry.log += entry.name; };
  io::Timer far(loop.timers(), late, note);
  io::Timer near(loop.timers(), early, note);
  far.arm(Millis{250});
  run_turns(loop);
  near.arm(Millis{10});
  run_until(loop, [&] { return log.size() == 2; });
  CHECK(log == "el");
}

TEST_CASE("loop: nanos and wall clock stand still within a turn, and go on after it") {
  Loop loop;
  std::int64_t first = 0;
  loop.post([&] {
    first = loop.nanos();
    const std::int64_t wall = loop.wall();
    spin_for(Millis{3});
    CHECK(loop.nanos() == first);
    CHECK(loop.wall() == wall);
    CHECK(wall > 1'600'000'000'000);  // milliseconds since 1970
  });
  run_until(loop, [&] { return first != 0; });
  run_turns(loop);
  CHECK(loop.nanos() >= first + 3'000'000);
}

TEST_CASE("loop: reads land in one buffer until somebody keeps a share of it") {
  Loop loop;
  base::Slab* const first = &loop.read_slab(false);
  CHECK(&loop.read_slab(false) == first);
  CHECK(first->capacity == 64 << 10);
  CHECK(loop.read_slab(true).capacity == 256 << 10);
  {
    const base::SlabRef share(first);
    CHECK(&loop.read_slab(false) != first);
  }
}

TEST_CASE("loop: an application's loop ends when its own work does") {
  uv_loop_t host;
  REQUIRE(uv_loop_init(&host) == 0);
  {
    Loop loop(host);
    std::string log;
    loop.retire(std::make_unique<Mark>(log, 'r'));
    bool fired = false;
    io::Timer timer(loop.timers(), fired, [](bool& flag) { flag = true; });
    timer.arm(Millis{3'600'000});
    bool ran = false;
    loop.post([&] { ran = true; });
    uv_timer_t work;  // the application's own
    uv_timer_init(&host, &work);
    uv_timer_start(
        &work, [](uv_timer_t* ended) { uv_close(reinterpret_cast<uv_handle_t*>(ended), nullptr); },
        20, 0);
    uv_run(&host, UV_RUN_DEFAULT);  // hangs if anything of ours holds it
    CHECK(ran);
    CHECK(log == "r");
    CHECK_FALSE(fired);
  }
  CHECK(uv_run(&host, UV_RUN_DEFAULT) == 0);
  CHECK(uv_loop_close(&host) == 0);
}
