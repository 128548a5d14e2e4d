// pass(): moves the clock of a loop, for what only reads it.
//
// It is libuv's cached time, which the loop's next turn sets right again: for tests that take no
// turn in between. Timers have a clock of their own in tests (tests/io/timers_test.cpp).
#pragma once

#include "io/loop.h"
#include <proxycore/deadline.h>

#include <uv.h>

namespace proxycore::test {

inline void pass(io::Loop& loop, Millis span) {
  loop.uv().time += static_cast<std::uint64_t>(span.count());
}

}  // namespace proxycore::test
