// Deadline: how long a blocking call may take, and who may cut it short.
//
// Every blocking function of the control plane takes one. A deadline is a point on the steady
// clock plus a stop token; a call that passes its point fails with Errc::timeout, a call whose
// token is stopped fails with Errc::cancelled. Thread: a value; any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <stop_token>

namespace proxycore {

using Millis = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  Deadline(Clock::time_point at, std::stop_token stop) : at_(at), stop_(std::move(stop)) {}

  static Deadline in(Millis span, std::stop_token stop = {}) {
    return {Clock::now() + span, std::move(stop)};
  }
  static Deadline never(std::stop_token stop = {}) {
    return {Clock::time_point::max(), std::move(stop)};
  }

  [[nodiscard]] Clock::time_point at() const noexcept { return at_; }
  [[nodiscard]] const std::stop_token& stop() const noexcept { return stop_; }
  [[nodiscard]] bool cancelled() const noexcept { return stop_.stop_requested(); }
  [[nodiscard]] bool passed() const noexcept { return Clock::now() >= at_; }

  // What is left, never negative; at most one day, so that it fits every system call.
  [[nodiscard]] Millis left() const noexcept {
    constexpr Millis day = std::chrono::hours{24};
    const auto now = Clock::now();
    if (now >= at_) return Millis{0};
    if (at_ - now >= day) return day;
    return std::chrono::ceil<Millis>(at_ - now);
  }

 private:
  Clock::time_point at_;
  std::stop_token stop_;
};

}  // namespace proxycore
