// Counter, Gauge, Histogram: numbers that one thread changes and any thread reads.
//
// Every worker has its own, so that counting costs a plain add: no lock, no shared cache line. The
// metrics page sums over the workers. Not here: names and labels (proxy/metrics_page).
// Thread: change on the owner's, read on any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace proxycore::base {

class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void add(std::int64_t difference) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + difference, std::memory_order_relaxed);
  }
  void set(std::int64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::int64_t> value_{0};
};

// Durations in buckets that Prometheus understands.
class Histogram {
 public:
  // Upper bounds, microseconds; what is longer is counted in the last bucket (+Inf).
  static constexpr std::array<std::int64_t, 14> bounds = {
      500,     1'000,   2'500,   5'000,     10'000,    25'000,    50'000,
      100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000};

  void observe(std::int64_t microseconds) noexcept {
    std::size_t bucket = 0;
    while (bucket < bounds.size() && microseconds > bounds[bucket]) ++bucket;
    buckets_[bucket].add();
    sum_.add(static_cast<std::uint64_t>(microseconds > 0 ? microseconds : 0));
  }
  // Not cumulative.
  [[nodiscard]] std::uint64_t bucket(std::size_t index) const noexcept {
    return buckets_[index].value();
  }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.value(); }  // microseconds

 private:
  std::array<Counter, bounds.size() + 1> buckets_;
  Counter sum_;
};

}  // namespace proxycore::base
