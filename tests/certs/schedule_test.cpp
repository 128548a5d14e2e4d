#include "certs/schedule.h"

#include <doctest/doctest.h>

using proxycore::certs::Schedule;

TEST_CASE("schedule: the earliest name comes first, once") {
  Schedule schedule;
  schedule.set("b", 20);
  schedule.set("a", 10);
  CHECK(schedule.next_ms() == 10);
  CHECK_FALSE(schedule.take(9));
  CHECK(schedule.take(30) == "a");
  CHECK(schedule.take(30) == "b");
  CHECK_FALSE(schedule.take(30));
  CHECK_FALSE(schedule.next_ms());
}

TEST_CASE("schedule: a name has one time, the last that was set") {
  Schedule schedule;
  schedule.set("a", 10);
  schedule.set("a", 5);
  schedule.set("a", 50);
  CHECK(schedule.size() == 1);
  CHECK_FALSE(schedule.take(49));
  schedule.erase("a");
  CHECK(schedule.size() == 0);
  CHECK_FALSE(schedule.take(100));
}
