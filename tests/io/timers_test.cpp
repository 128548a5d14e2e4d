#include "io/timers.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using io::Timer;
using io::Timers;

namespace {

// A wheel with a clock of our own.
struct Wheel {
  static constexpr std::int64_t begin = 1'000'003;  // like a machine that is up for a while

  std::int64_t time = begin;
  Timers timers{[](const void* clock) { return *static_cast<const std::int64_t*>(clock); }, &time};

  Wheel() { timers.advance(); }
  // Turns the wheel every millisecond.
  void pass(std::int64_t span) {
    for (std::int64_t i = 0; i < span; ++i) {
      ++time;
      timers.advance();
    }
  }
  // Turns it only when it asks to be, as Loop does.
  void pass_asleep(std::int64_t span) {
    const std::int64_t until = time + span;
    while (const std::optional<std::int64_t> next = timers.next()) {
      if (*next > until) break;
      if (*next > time) time = *next;
      timers.advance();
    }
    time = until;
  }
  // Turns it once, after all of it.
  void oversleep(std::int64_t span) {
    time += span;
    timers.advance();
  }
};

struct Alarm {
  explicit Alarm(Wheel& of)
      : wheel(of), timer(of.timers, *this, [](Alarm& self) {
          ++self.fired;
          self.at = self.wheel.time;
        }) {}

  Wheel& wheel;
  Timer timer;
  int fired = 0;
  std::int64_t at = 0;
};

}  // namespace

TEST_CASE("timers: fires once, not before its deadline, at most a slot after it") {
  for (const std::int64_t span : {0, 1, 31, 32, 33, 100, 5'000, 32'700, 40'000, 3'600'000}) {
    CAPTURE(span);
    Wheel wheel;
    Alarm alarm(wheel);
    alarm.timer.arm(Millis{span});
    CHECK(alarm.timer.armed());
    wheel.pass_asleep(span + Timers::slot_span);
    REQUIRE(alarm.fired == 1);
    CHECK_FALSE(alarm.timer.armed());
    CHECK(alarm.at >= Wheel::begin + span);
    CHECK(alarm.at <= Wheel::begin + span + Timers::slot_span);
    wheel.pass_asleep(100'000);
    CHECK(alarm.fired == 1);
  }
}

TEST_CASE("timers: nothing fires inside the call that arms, however short the span") {
  Wheel wheel;
  Alarm alarm(wheel);
  alarm.timer.arm(Millis{-5});
  CHECK(alarm.fired == 0);
  wheel.pass(Timers::slot_span);
  CHECK(alarm.fired == 1);
}

TEST_CASE("timers: what is cancelled or destroyed does not fire") {
  Wheel wheel;
  Alarm cancelled(wheel);
  auto destroyed = std::make_unique<Alarm>(wheel);
  cancelled.timer.arm(Millis{50});
  destroyed->timer.arm(Millis{50});
  cancelled.timer.cancel();
  CHECK_FALSE(cancelled.timer.armed());
  destroyed.reset();
  wheel.pass(200);
  CHECK(cancelled.fired == 0);
}

TEST_CASE("timers: arming again to later keeps the slot and moves the deadline") {
  Wheel wheel;
  Alarm idle(wheel);
  idle.timer.arm(Millis{1'000});
  const auto slot = wheel.timers.next();
  for (int i = 0; i < 99; ++i) {
    wheel.pass_asleep(10);
    idle.timer.arm(Millis{1'000});
    CHECK(wheel.timers.next() == slot);
  }
  wheel.pass_asleep(999);
  CHECK(idle.fired == 0);
  wheel.pass_asleep(1 + Timers::slot_span);
  CHECK(idle.fired == 1);
  CHECK(idle.at >= Wheel::begin + 990 + 1'000);
}

TEST_CASE("timers: arming again to earlier moves it to an earlier slot") {
  Wheel wheel;
  Alarm alarm(wheel);
  alarm.timer.arm(Millis{60'000});
  alarm.timer.arm(Millis{100});
  wheel.pass_asleep(100 + Timers::slot_span);
  CHECK(alarm.fired == 1);
}

TEST_CASE("timers: cancelled and armed again, it fires at the new time only") {
  Wheel wheel;
  Alarm alarm(wheel);
  alarm.timer.arm(Millis{100});
  alarm.timer.cancel();
  wheel.pass(50);
  alarm.timer.arm(Millis{100});
  wheel.pass(99);
  CHECK(alarm.fired == 0);
  wheel.pass(1 + Timers::slot_span);
  CHECK(alarm.fired == 1);
}

TEST_CASE("timers: a deadline many laps away is met") {
  constexpr std::int64_t lap = Timers::slot_span * static_cast<std::int64_t>(Timers::slot_count);
  Wheel wheel;
  Alarm far(wheel);
  far.timer.arm(Millis{10 * lap + 7});
  wheel.pass_asleep(10 * lap + 6);
  CHECK(far.fired == 0);
  wheel.pass_asleep(1 + Timers::slot_span);
  CHECK(far.fired == 1);
}

TEST_CASE("timers: after sleeping for laps everything due fires at once, in the first turn") {
  Wheel wheel;
  Alarm soon(wheel);
  Alarm later(wheel);
  Alarm future(wheel);
  soon.timer.arm(Millis{5});
  later.timer.arm(Millis{31'000});
  future.timer.arm(Millis{200'000});
  wheel.oversleep(150'000);
  CHECK(soon.fired == 1);
  CHECK(later.fired == 1);
  CHECK(future.fired == 0);
  wheel.pass_asleep(50'000 + Timers::slot_span);
  CHECK(future.fired == 1);
  CHECK(future.at >= Wheel::begin + 200'000);
  CHECK(future.at <= Wheel::begin + 200'000 + Timers::slot_span);
}

TEST_CASE("timers: a wheel that stood still while nothing was armed is on time again") {
  Wheel wheel;
  wheel.time += 1'000'000;  // no turn: nobody asked for one
  Alarm alarm(wheel);
  const std::int64_t armed = wheel.time;
  alarm.timer.arm(Millis{500});
  wheel.pass_asleep(499);
  CHECK(alarm.fired == 0);
  wheel.pass_asleep(1 + Timers::slot_span);
  CHECK(alarm.fired == 1);
  CHECK(alarm.at >= armed + 500);
  CHECK(alarm.at <= armed + 500 + Timers::slot_span);
}

TEST_CASE("timers: one may destroy the others of its slot, and itself, while it fires") {
  struct Group {
    explicit Group(Wheel& wheel) {
      for (auto& member : members) {
        member.emplace(wheel.timers, *this, [](Group& self) {
          ++self.fired;
          for (auto& each : self.members) each.reset();
        });
        member->arm(Millis{10});
      }
    }
    std::array<std::optional<Timer>, 3> members;
    int fired = 0;
  };
  Wheel wheel;
  Group group(wheel);
  wheel.pass(100);
  CHECK(group.fired == 1);
}

TEST_CASE("timers: one that arms itself while it fires goes on, one slot at a time") {
  struct Ticker {
    explicit Ticker(Wheel& wheel, Millis every)
        : span(every), timer(wheel.timers, *this, [](Ticker& self) {
            ++self.fired;
            self.timer.arm(self.span);
          }) {}
    Millis span;
    Timer timer;
    int fired = 0;
  };
  Wheel wheel;
  Ticker fast(wheel, Millis{0});
  Ticker slow(wheel, Millis{320});
  fast.timer.arm(Millis{0});
  slow.timer.arm(Millis{320});
  wheel.pass(3'200);
  CHECK(fast.fired == 100);
  CHECK(slow.fired >= 9);
  CHECK(slow.fired <= 10);
  // After a long sleep it does not fire for every slot it missed.
  fast.fired = 0;
  wheel.oversleep(10'000);
  CHECK(fast.fired <= 2);
}

TEST_CASE("timers: one that fires may arm and cancel others") {
  struct Pair {
    explicit Pair(Wheel& wheel)
        : first(wheel.timers, *this,
                [](Pair& self) {
                  self.log += "1";
                  self.second.cancel();
                  self.third.arm(Millis{100});
                }),
          second(wheel.timers, *this, [](Pair& self) { self.log += "2"; }),
          third(wheel.timers, *this, [](Pair& self) { self.log += "3"; }) {}
    std::string log;
    Timer first;
    Timer second;
    Timer third;
  };
  Wheel wheel;
  Pair pair(wheel);
  pair.first.arm(Millis{10});
  pair.second.arm(Millis{10});
  pair.third.arm(Millis{10});
  wheel.pass(64);
  CHECK(pair.log == "1");
  wheel.pass(100);
  CHECK(pair.log == "13");
}

TEST_CASE("timers: tells when an earlier slot is taken than any before") {
  Wheel wheel;
  Alarm late(wheel);
  Alarm early(wheel);
  wheel.timers.forget_added();
  late.timer.arm(Millis{5'000});
  const std::int64_t planned = wheel.timers.earliest_added();
  CHECK(planned >= wheel.time + 5'000);
  wheel.timers.forget_added();
  late.timer.arm(Millis{9'000});
  CHECK(wheel.timers.earliest_added() == INT64_MAX);
  early.timer.arm(Millis{10});
  CHECK(wheel.timers.earliest_added() < planned);
}

TEST_CASE("timers: thousands armed, re-armed, cancelled and destroyed at random are all on time") {
  struct Watched {
    Watched(Wheel& of, int& lateness)
        : wheel(of), wrong(lateness), timer(of.timers, *this, [](Watched& self) {
            const bool on_time = self.deadline <= self.wheel.time &&
                                 self.wheel.time <= self.deadline + Timers::slot_span;
            if (!self.expected || !on_time) ++self.wrong;
            self.expected = false;
          }) {}
    Wheel& wheel;
    int& wrong;
    Timer timer;
    std::int64_t deadline = 0;
    bool expected = false;
  };
  std::mt19937 random(42);  // NOLINT(bugprone-random-generator-seed): the same run every time
  const auto below = [&](std::uint32_t bound) {
    return static_cast<std::int64_t>(random() % bound);
  };
  Wheel wheel;
  int wrong = 0;
  std::vector<std::unique_ptr<Watched>> all(500);
  for (int round = 0; round < 50'000; ++round) {
    auto& one = all[static_cast<std::size_t>(below(500))];
    switch (below(8)) {
      case 0:
        one.reset();
        break;
      case 1:
        if (one) {
          one->timer.cancel();
          one->expected = false;
        }
        break;
      default: {
        if (!one) one = std::make_unique<Watched>(wheel, wrong);
        const std::int64_t span = below(4) == 0 ? below(200'000) : below(3'000);
        one->deadline = wheel.time + span;
        one->expected = true;
        one->timer.arm(Millis{span});
      }
    }
    if (below(3) == 0) wheel.pass_asleep(below(60));
    if (below(1'000) == 0) wheel.pass_asleep(below(100'000));
  }
  wheel.pass_asleep(300'000);
  for (const auto& one : all) wrong += one && one->expected;
  CHECK(wrong == 0);
  CHECK(wheel.timers.next() == std::nullopt);
}
