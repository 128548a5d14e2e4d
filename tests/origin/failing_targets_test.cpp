#include "origin/failing_targets.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using origin::FailingTargets;

namespace {

FailingTargets::Entry seen(const std::string& target, std::uint32_t failures, std::int64_t at,
                           std::int64_t rests_until = 0) {
  return {.target = target, .failures = failures, .last = at, .rests_until = rests_until};
}

}  // namespace

TEST_CASE("failing targets: one that fails is told with when that began, until it is well again") {
  FailingTargets targets;
  const int view = 0;
  targets.failed(&view, seen("127.0.0.1:81", 1, 1'000));
  targets.failed(&view, seen("127.0.0.1:81", 2, 2'000, 9'000));
  const auto list = targets.list(3'000);
  REQUIRE(list.size() == 1);
  CHECK(list[0].target == "127.0.0.1:81");
  CHECK(list[0].failures == 2);
  CHECK(list[0].since == 1'000);
  CHECK(list[0].rests_until == 9'000);
  targets.recovered(&view);
  CHECK(targets.list(3'000).empty());
}

TEST_CASE("failing targets: of the views of several workers the worst is told") {
  FailingTargets targets;
  const int views[3] = {};
  targets.failed(&views[0], seen("b:81", 3, 2'000, 9'000));
  targets.failed(&views[1], seen("b:81", 1, 1'000));
  targets.failed(&views[2], seen("a:81", 1, 5'000));
  const auto list = targets.list(6'000);
  REQUIRE(list.size() == 2);
  CHECK(list[0].target == "a:81");
  CHECK(list[1].failures == 3);
  CHECK(list[1].since == 1'000);
  CHECK(list[1].rests_until == 9'000);
  targets.recovered(&views[0]);
  CHECK(targets.list(6'000)[1].failures == 1);
}

TEST_CASE("failing targets: those that nobody asks for any more are not told, nor kept for ever") {
  FailingTargets targets;
  std::string views(FailingTargets::max_entries + 1, ' ');
  for (std::size_t i = 0; i < views.size(); ++i) {
    targets.failed(&views[i], seen("t" + std::to_string(i), 1, static_cast<std::int64_t>(i)));
  }
  const auto list = targets.list(0);
  CHECK(list.size() == FailingTargets::max_entries);
  for (const auto& entry : list) CHECK(entry.target != "t0");
  CHECK(targets.list(FailingTargets::kept_for + 5'000).empty());
}
