// Timers: a hashed timer wheel for the time-outs of one loop, and Timer, a node in it.
//
// Arming a timer again to a later time, which is what nearly every byte does to an idle time-out,
// only stores the new deadline: the node stays in its slot and is moved when the slot comes round.
// A timer fires between its deadline and one slot (32 ms) after it. Loop drives the wheel with one
// uv_timer and libuv's clock, tests with their own time.
// Thread: its loop's.
#pragma once

#include "base/list.h"
#include <proxycore/deadline.h>

#include <array>
#include <cstdint>
#include <optional>

namespace proxycore::io {

class Timers;

// Cancels when destroyed. One timer object is one thing that is waited for.
class Timer : public base::ListNode<> {
 public:
  // `fire` is a lambda without captures that takes Owner&.
  template <class Owner, class Fire>
  Timer(Timers& timers, Owner& owner, Fire /*fire*/)
      : timers_(timers),
        owner_(&owner),
        fire_([](void* to) { Fire{}(*static_cast<Owner*>(to)); }) {}
  void arm(Millis span);
  void cancel() noexcept { armed_ = false; }
  [[nodiscard]] bool armed() const noexcept { return armed_; }

 private:
  friend class Timers;
  Timers& timers_;
  void* owner_;
  void (*fire_)(void*);
  std::int64_t deadline_ = 0;   // milliseconds of the wheel's clock
  std::int64_t slot_time_ = 0;  // when its slot is due; at most deadline_
  bool armed_ = false;
};

class Timers {
 public:
  static constexpr std::int64_t slot_span = 32;  // milliseconds
  static constexpr std::size_t slot_count = 1024;

  // Reads `source`: milliseconds, never going back.
  using Clock = std::int64_t (*)(const void* source);

  Timers(Clock clock, const void* source) noexcept : clock_(clock), source_(source) {}
  [[nodiscard]] std::int64_t now() const noexcept { return clock_(source_); }
  // Fires everything that is due.
  void advance();
  // When the next slot with a timer is due; nullopt: none is linked.
  [[nodiscard]] std::optional<std::int64_t> next() const noexcept;
  // The earliest slot time a timer was put at since forget_added(): Loop asks whether it has to
  // wake earlier than it planned.
  [[nodiscard]] std::int64_t earliest_added() const noexcept { return earliest_added_; }
  void note_added(std::int64_t slot_time) noexcept {
    if (slot_time < earliest_added_) earliest_added_ = slot_time;
  }
  void forget_added() noexcept { earliest_added_ = INT64_MAX; }

 private:
  friend class Timer;
  void put(Timer& timer);

  Clock clock_;
  const void* source_;
  std::array<base::List<Timer>, slot_count> slots_;
  std::int64_t swept_ = 0;  // slots up to this time have been visited
  std::int64_t earliest_added_ = INT64_MAX;
};

}  // namespace proxycore::io
