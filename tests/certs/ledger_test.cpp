#include "certs/ledger.h"

#include "host/keys.h"

#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using certs::Ledger;

namespace {

constexpr std::int64_t minute = 60'000;
constexpr std::int64_t hour = 60 * minute;
constexpr std::int64_t day = 24 * hour;

Deadline soon() {
  return Deadline::in(Seconds{5});
}

struct Rig {
  std::int64_t now_ms = 1'900'000'000'000;
  std::unique_ptr<Store> store = open_memory();
  Ledger ledger{*store, "ca.test", [this] { return now_ms; }};

  // Whether there is room for one; how long until there is, if not.
  std::int64_t wait(const std::vector<std::string>& names, bool is_renewal = false,
                    bool is_proposed = false) {
    const auto taken = ledger.take({names, is_renewal, is_proposed}, soon());
    if (taken) return 0;
    CHECK(taken.error().code == Errc::limit);
    words = taken.error().detail;
    return std::int64_t{taken.error().retry_after_s} * 1'000;
  }
  // How many of different names there is room for.
  int room_at(const std::string& domain, int most = 1'000) {
    int count = 0;
    while (count < most && wait({std::to_string(next++) + "." + domain}) == 0) ++count;
    return count;
  }
  std::string words;
  int next = 0;
};

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("ledger: fifty certificates of a registered domain, and one more every 202 minutes") {
  Rig rig;
  CHECK(rig.room_at("example.co.uk") == 50);
  CHECK(has(rig.words, "50 certificates of a registered domain in a week, example.co.uk"));
  const std::int64_t wait = rig.wait({"more.example.co.uk"});
  CHECK(wait > 201 * minute);
  CHECK(wait < 203 * minute);
  CHECK(rig.wait({"a.example.com"}) == 0);
  rig.now_ms += wait;
  CHECK(rig.room_at("example.co.uk") == 1);
  // Of the same names it is none of a new one.
  CHECK(rig.wait({"0.example.co.uk"}, true) == 0);
  rig.now_ms += 7 * day;
  CHECK(rig.room_at("example.co.uk") == 50);
}

TEST_CASE("ledger: five certificates for the same names, whatever their order") {
  Rig rig;
  for (int i = 0; i < 5; ++i) {
    CHECK(rig.wait({"a.test", "b.test"}) == 0);
  }
  const std::int64_t wait = rig.wait({"b.test", "a.test"});
  CHECK(wait > 33 * hour);
  CHECK(wait < 34 * hour);
  CHECK(rig.wait({"a.test", "b.test"}, true) == wait);
  // What the CA has proposed itself it always takes.
  CHECK(rig.wait({"a.test", "b.test"}, true, true) == 0);
  rig.now_ms += wait;
  CHECK(rig.wait({"a.test", "b.test"}) == 0);
  CHECK(rig.wait({"a.test", "b.test"}) > 0);
}

TEST_CASE("ledger: three hundred orders in three hours, of whatever names") {
  Rig rig;
  int count = 0;
  for (int domain = 0; domain < 10; ++domain) {
    count += rig.room_at("d" + std::to_string(domain) + ".test", 40);
  }
  CHECK(count == 300);
  CHECK(has(rig.words, "300 orders"));
  const std::int64_t wait = rig.wait({"more.test"});
  CHECK(wait >= 36'000);
  CHECK(wait <= 37'000);
  // A renewal counts as none.
  CHECK(rig.wait({"old.test"}, true) == 0);
  rig.now_ms += wait;
  CHECK(rig.wait({"more.test"}) == 0);
}

TEST_CASE("ledger: five failures of a name in an hour, also below its wildcard") {
  Rig rig;
  for (int i = 0; i < 5; ++i) {
    CHECK(rig.wait({"*.a.test"}) == 0);
    rig.ledger.give_back({std::vector<std::string>{"*.a.test"}}, soon());
    rig.ledger.failed("a.test", soon());
  }
  const std::int64_t wait = rig.wait({"*.a.test"});
  CHECK(wait > 11 * minute);
  CHECK(wait <= 13 * minute);
  CHECK(has(rig.words, "5 failures of a name in an hour, a.test"));
  CHECK(rig.wait({"b.test"}) == 0);
  rig.now_ms += wait;
  CHECK(rig.wait({"*.a.test"}) == 0);
}

TEST_CASE("ledger: what came to nothing is given back") {
  Rig rig;
  const std::vector<std::string> names{"a.test"};
  for (int i = 0; i < 20; ++i) {
    REQUIRE(rig.ledger.take({names}, soon()));
    rig.ledger.give_back({names}, soon());
  }
  CHECK(rig.room_at("a.test") == 50);
}

TEST_CASE("ledger: runners share it, each CA has its own, and it is gone when it is full again") {
  Rig rig;
  CHECK(rig.room_at("example.test") == 50);
  Ledger other(*rig.store, "ca.test", [&] { return rig.now_ms; });
  CHECK_FALSE(other.take({std::vector<std::string>{"x.example.test"}}, soon()));
  Ledger elsewhere(*rig.store, "other.test", [&] { return rig.now_ms; });
  CHECK(elsewhere.take({std::vector<std::string>{"x.example.test"}}, soon()));
  CHECK(has(rig.ledger.metrics(),
            "proxycore_certificates_budget_remaining{ca=\"ca.test\",limit=\"domain\"} 0\n"));
  CHECK(has(rig.ledger.metrics(), "{ca=\"ca.test\",limit=\"orders\"} 250\n"));
  CHECK(has(rig.ledger.metrics(), "{ca=\"ca.test\",limit=\"failures\"} 5\n"));
  // Written by a clock that was a month ahead.
  rig.now_ms -= 30 * day;
  CHECK(rig.wait({"y.example.test"}) == 0);
}
