// What every Store promises, as one set of cases that each backend's test runs on its own stores.
//
// A StoreMaker makes an empty store whose clock only moves when the case says so.
#pragma once

#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace proxycore::test {

struct TestClock {
  std::int64_t now = 1'700'000'000'000;  // milliseconds since 1970
  // Where records end by another clock: makes it as if `span` had passed there too.
  std::function<void(Seconds span)> also = {};

  void pass(Seconds span) {
    now += Millis{span}.count();
    if (also) also(span);
  }
};

// What not every backend can promise.
enum class Scans { one_state, each_record };

using StoreMaker = std::function<std::unique_ptr<Store>(TestClock& clock)>;

// Runs every case as a subcase of the caller's test case.
void check_store_contract(const StoreMaker& make, Scans scans = Scans::one_state);

}  // namespace proxycore::test
