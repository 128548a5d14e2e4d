// eventually(): waits for what another thread does, up to ten seconds.
#pragma once

#include <proxycore/deadline.h>

#include <thread>

namespace proxycore::test {

// false: `condition()` never came true.
template <class Condition>
bool eventually(Condition&& condition) {
  const Deadline by = Deadline::in(Millis{10'000});
  while (!condition()) {
    if (by.passed()) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace proxycore::test
