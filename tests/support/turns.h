// run_until(): turns of a loop until a condition holds, for tests with real sockets and threads.
//
// Nothing sleeps: a turn waits for the event that the test is about. A condition that does not come
// true within ten seconds fails the test instead of hanging it. Thread: the loop's.
#pragma once

#include "io/loop.h"
#include "io/timers.h"

#include <cstdint>

#include <doctest/doctest.h>
#include <uv.h>

namespace proxycore::test {

// Wakes the loop in every slot: what is done at the end of a turn is only seen in the next.
struct Waker {
  explicit Waker(io::Loop& loop)
      : timer(loop.timers(), *this, [](Waker& self) { self.timer.arm(Millis{1}); }) {
    timer.arm(Millis{1});
  }
  io::Timer timer;
};

template <class Condition>
void run_until(io::Loop& loop, Condition&& holds) {
  const Waker waker(loop);
  uv_update_time(&loop.uv());
  const std::int64_t until = loop.now() + 10'000;
  while (!holds() && loop.now() < until) uv_run(&loop.uv(), UV_RUN_ONCE);
  const bool happened_within_ten_seconds = holds();
  REQUIRE(happened_within_ten_seconds);
}

// Turns that do not wait: for what must not happen.
inline void run_turns(io::Loop& loop, int count = 3) {
  for (int i = 0; i < count; ++i) uv_run(&loop.uv(), UV_RUN_NOWAIT);
}

}  // namespace proxycore::test
