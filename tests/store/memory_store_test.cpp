#include "store/backends.h"
#include "support/store_contract.h"
#include <proxycore/store.h>

#include <doctest/doctest.h>

using namespace proxycore;

TEST_CASE("memory store: keeps what every store promises") {
  test::check_store_contract(
      [](test::TestClock& clock) { return store::make_memory([&clock] { return clock.now; }); });
}

TEST_CASE("memory store: says what it is") {
  CHECK(open_memory()->describe() == "memory:");
}
