#include "io/timers.h"

#include <algorithm>

namespace proxycore::io {

void Timer::arm(Millis span) {
  deadline_ = timers_.now() + std::max<std::int64_t>(span.count(), 0);
  armed_ = true;
  // Linked in a slot that comes round early enough: it will be looked at then.
  if (linked() && slot_time_ <= deadline_) return;
  timers_.put(*this);
}

void Timers::put(Timer& timer) {
  // Rounded up to a slot, at least the next one; far deadlines wait in the last slot of the lap.
  const std::int64_t soonest = swept_ / slot_span + 1;
  std::int64_t slot = (timer.deadline_ + slot_span - 1) / slot_span;
  slot = std::clamp(slot, soonest, soonest + static_cast<std::int64_t>(slot_count) - 2);
  timer.slot_time_ = slot * slot_span;
  slots_[static_cast<std::size_t>(slot) % slot_count].push_back(timer);
  note_added(timer.slot_time_);
}

void Timers::advance() {
  const std::int64_t now = this->now();
  const std::int64_t last = now / slot_span;
  std::int64_t slot = swept_ / slot_span + 1;
  // After a long sleep one lap visits every slot.
  slot = std::max(slot, last - static_cast<std::int64_t>(slot_count) + 1);
  for (; slot <= last; ++slot) {
    swept_ = slot * slot_span;
    base::List<Timer> due;
    due.splice(slots_[static_cast<std::size_t>(slot) % slot_count]);
    // A timer that fires may destroy or arm any other: always take the first.
    while (!due.empty()) {
      Timer& timer = due.pop_front();
      if (!timer.armed_) continue;
      if (timer.deadline_ > now) {
        put(timer);
        continue;
      }
      timer.armed_ = false;
      timer.fire_(timer.owner_);
    }
  }
}

std::optional<std::int64_t> Timers::next() const noexcept {
  const std::int64_t first = swept_ / slot_span + 1;
  for (std::int64_t slot = first; slot < first + static_cast<std::int64_t>(slot_count); ++slot) {
    if (!slots_[static_cast<std::size_t>(slot) % slot_count].empty()) return slot * slot_span;
  }
  return std::nullopt;
}

}  // namespace proxycore::io
