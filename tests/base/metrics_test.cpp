#include "base/metrics.h"

#include <cstddef>
#include <thread>

#include <doctest/doctest.h>

using namespace proxycore::base;

TEST_CASE("metrics: a counter counts, a gauge goes both ways") {
  Counter counter;
  counter.add();
  counter.add(41);
  CHECK(counter.value() == 42);
  Gauge gauge;
  gauge.add(3);
  gauge.add(-5);
  CHECK(gauge.value() == -2);
  gauge.set(7);
  CHECK(gauge.value() == 7);
}

TEST_CASE("metrics: a duration falls into the first bucket whose bound it does not exceed") {
  Histogram histogram;
  histogram.observe(0);
  histogram.observe(500);
  histogram.observe(501);
  histogram.observe(10'000'000);
  histogram.observe(10'000'001);
  CHECK(histogram.bucket(0) == 2);
  CHECK(histogram.bucket(1) == 1);
  CHECK(histogram.bucket(Histogram::bounds.size() - 1) == 1);
  CHECK(histogram.bucket(Histogram::bounds.size()) == 1);
  CHECK(histogram.sum() == 500 + 501 + 10'000'000 + 10'000'001);
}

TEST_CASE("metrics: a clock that went back counts as no time") {
  Histogram histogram;
  histogram.observe(-1);
  CHECK(histogram.bucket(0) == 1);
  CHECK(histogram.sum() == 0);
}

TEST_CASE("metrics: one thread counts while another reads") {
  constexpr std::uint64_t rounds = 100'000;
  Counter counter;
  std::thread owner([&] {
    for (std::uint64_t i = 0; i < rounds; ++i) counter.add();
  });
  std::uint64_t seen = 0;
  while (seen < rounds) {
    const std::uint64_t now = counter.value();
    REQUIRE(now >= seen);
    seen = now;
  }
  owner.join();
  CHECK(counter.value() == rounds);
}
