#include "certs/journal.h"

#include "client/http_client.h"
#include "dns/resolver.h"
#include "host/keys.h"
#include "store/repo.h"
#include "support/away_store.h"
#include "support/fake_dns.h"
#include "support/temp_dir.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using acme::DnsRecord;
using certs::Journal;
using certs::JournalOf;
using certs::Providers;
using certs::Sealer;

namespace {

namespace keys = host::keys;

constexpr std::int64_t minute = 60'000;
constexpr std::int64_t day = 24 * 60 * minute;

Deadline soon() {
  return Deadline::in(Seconds{10});
}

// A runner with an account that has zone a.test, and a clock that stands still.
struct Rig {
  TempDir dir;
  AwayStore store;
  Sealer sealer = Sealer::open(dir.file("key")).value();
  client::HttpClient http;
  dns::Resolver resolver{dns::Resolver::Options{}};
  FakeDns vendor;
  dns::Registry registry = vendor.registry();
  Providers providers{store, sealer, registry, dns::Services{http, resolver}};
  std::int64_t now = 1'700'000'000'000;
  Journal journal{store, [this] { return now; }};
  std::string account;
  std::string working;  // the certificate that somebody works on

  Rig() {
    vendor.accounts["token"] = {{"a.test", "zone-a"}};
    account = enter();
  }
  // Gives the id of a new account.
  std::string enter() {
    const auto saved = providers.save(
        {.id = {}, .name = "Mine", .type = "Fake", .settings = {{"token", "token"}}}, soon());
    REQUIRE(saved);
    return saved->id;
  }
  [[nodiscard]] DnsRecord record(std::string value = "value") const {
    return {.account = account,
            .zone = {"a.test", "zone-a"},
            .record = {.name = "_acme-challenge.www", .value = std::move(value)}};
  }
  // As who solves a challenge does it.
  void leave(const std::string& value = "value") {
    const DnsRecord made = record(value);
    REQUIRE(journal.add(made, "www.a.test", soon()));
    const auto provider = providers.provider(account, soon()).value();
    REQUIRE(provider->add(made.zone, made.record, soon()));
  }
  Result<Journal::Swept> sweep() {
    return journal.sweep(
        providers, [this](std::string_view owner) { return owner == working; }, soon());
  }
  [[nodiscard]] std::size_t entries() { return store.keys(keys::txt_prefix, soon())->size(); }
};

}  // namespace

TEST_CASE("journal: whoever is stopped at any step leaves nothing behind") {
  for (int stopped_after = 0; stopped_after <= 4; ++stopped_after) {
    CAPTURE(stopped_after);
    Rig rig;
    const DnsRecord made = rig.record();
    JournalOf journal(rig.journal, "www.a.test");
    const auto provider = rig.providers.provider(rig.account, soon()).value();
    const std::function<void()> steps[] = {
        [&] { REQUIRE(journal.add(made, soon())); },
        [&] { REQUIRE(provider->add(made.zone, made.record, soon())); },
        [&] { REQUIRE(provider->remove(made.zone, made.record, "id", soon())); },
        [&] { journal.done(made); },
    };
    for (int i = 0; i < stopped_after; ++i) steps[i]();
    rig.now += 11 * minute;
    REQUIRE(rig.sweep());
    CHECK(rig.vendor.records.empty());
    CHECK(rig.entries() == 0);
  }
}

TEST_CASE("journal: a sweep that is stopped is done again") {
  Rig rig;
  rig.leave();
  rig.now += 11 * minute;
  rig.vendor.removed = [&rig] { rig.store.away = true; };
  CHECK(rig.sweep().error().code == Errc::closed);
  rig.vendor.removed = {};
  rig.store.away = false;
  CHECK(rig.entries() == 1);
  CHECK(rig.sweep()->removed == 1);
  CHECK(rig.vendor.removals == 2);
  CHECK(rig.entries() == 0);
}

TEST_CASE("journal: of several values at one name exactly those of ours go") {
  Rig rig;
  rig.leave("one");
  rig.leave("two");
  rig.vendor.records.insert({"_acme-challenge.www.a.test", "somebody's"});
  rig.now += 11 * minute;
  CHECK(rig.sweep()->removed == 2);
  REQUIRE(rig.vendor.records.size() == 1);
  CHECK(rig.vendor.records.begin()->second == "somebody's");
}

TEST_CASE("journal: what is young or being worked on stays") {
  Rig rig;
  rig.leave();
  rig.now += 9 * minute;
  CHECK(rig.sweep()->waiting == 1);
  rig.now += 2 * minute;
  rig.working = "www.a.test";
  CHECK(rig.sweep()->waiting == 1);
  CHECK(rig.vendor.removals == 0);
  rig.working = "other.a.test";
  CHECK(rig.sweep()->removed == 1);
}

TEST_CASE("journal: a clock that was set back keeps nothing for ever") {
  Rig rig;
  rig.leave();
  rig.now -= 365 * day;
  CHECK(rig.sweep()->removed == 1);
}

TEST_CASE("journal: a record that is put there again while it is removed keeps its entry") {
  Rig rig;
  rig.leave();
  rig.now += 11 * minute;
  bool again = false;
  rig.vendor.removed = [&] {
    if (!std::exchange(again, true)) rig.leave();
  };
  REQUIRE(rig.sweep());
  CHECK(rig.entries() == 1);
  CHECK(rig.vendor.records.size() == 1);
}

TEST_CASE("journal: a vendor that refuses is asked ever more rarely, until it is given up") {
  Rig rig;
  rig.leave();
  rig.vendor.failure = Error{Errc::denied, "Fake: not you"};
  std::vector<std::int64_t> tries;
  std::size_t dropped = 0;
  const std::int64_t began = rig.now;
  while (dropped == 0 && rig.now - began < 40 * day) {
    rig.now += 10 * minute;
    const int before = rig.vendor.removals;
    const auto swept = rig.sweep();
    REQUIRE(swept);
    dropped = swept->dropped;
    if (rig.vendor.removals > before) tries.push_back(rig.now);
  }
  CHECK(dropped == 1);
  CHECK(rig.entries() == 0);
  CHECK(rig.now - began > 30 * day);
  CHECK(rig.now - began <= 31 * day + 10 * minute);
  CHECK(tries.size() < 45);
  for (std::size_t i = 2; i < tries.size(); ++i) {
    CHECK(tries[i] - tries[i - 1] <= day + 10 * minute);
  }
  // It is tried until the end.
  CHECK(rig.vendor.removals >= 35);
}

TEST_CASE("journal: what the vendor says about when is obeyed") {
  Rig rig;
  rig.leave();
  rig.now += 11 * minute;
  rig.vendor.failure = Error{Errc::busy, "Fake: slow down", 3600};
  CHECK(rig.sweep()->waiting == 1);
  rig.vendor.failure.reset();
  rig.now += 59 * minute;
  CHECK(rig.sweep()->waiting == 1);
  CHECK(rig.vendor.removals == 1);
  rig.now += minute;
  CHECK(rig.sweep()->removed == 1);
}

TEST_CASE("journal: a vendor that is out of order is asked once, not for each record") {
  Rig rig;
  for (int i = 0; i < 20; ++i) rig.leave(std::to_string(i));
  rig.now += 11 * minute;
  rig.vendor.failure = Error{Errc::timeout, "Fake: no answer"};
  CHECK(rig.sweep()->waiting == 20);
  CHECK(rig.vendor.removals == 1);
  rig.vendor.failure.reset();
  CHECK(rig.sweep()->removed == 19);
  rig.now += minute;
  CHECK(rig.sweep()->removed == 1);
}

TEST_CASE("journal: an account that is entered again removes what the old one has left") {
  Rig rig;
  rig.leave();
  REQUIRE(rig.providers.remove(rig.account, soon()).value());
  rig.now += 11 * minute;
  CHECK(rig.sweep()->waiting == 1);
  CHECK(rig.vendor.records.size() == 1);
  CHECK(rig.enter() != rig.account);
  rig.now += minute;
  CHECK(rig.sweep()->removed == 1);
  CHECK(rig.vendor.records.empty());
}

TEST_CASE("journal: a broken entry is dropped, and stops no other") {
  Rig rig;
  REQUIRE(rig.store.put(std::string(keys::txt_prefix) + "0", {{"zone", "a.test"}}, std::nullopt,
                        soon()));
  rig.leave();
  rig.now += 11 * minute;
  const auto swept = rig.sweep();
  REQUIRE(swept);
  CHECK(swept->dropped == 1);
  CHECK(swept->removed == 1);
  CHECK(rig.entries() == 0);
}

TEST_CASE("journal: without a store no entry is written, and a sweep says so") {
  Rig rig;
  rig.store.away = true;
  CHECK(rig.journal.add(rig.record(), "www.a.test", soon()).error().code == Errc::closed);
  CHECK(rig.sweep().error().code == Errc::closed);
}

TEST_CASE("journal: an entry that cannot be erased now is swept later") {
  Rig rig;
  rig.leave();
  rig.store.away = true;
  JournalOf(rig.journal, "www.a.test").done(rig.record());
  rig.store.away = false;
  CHECK(rig.entries() == 1);
  rig.now += 11 * minute;
  CHECK(rig.sweep()->removed == 1);
  CHECK(rig.entries() == 0);
}
