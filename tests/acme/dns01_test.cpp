#include "acme/dns01.h"

#include "support/acme_rig.h"
#include "support/pebble.h"
#include "support/pebble_dns.h"
#include "tls/cert.h"
#include "tls/keys.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;
using test::MemoryJournal;
using test::Pebble;
using test::PebbleDns;
using test::ToldProgress;

namespace {

struct Rig {
  Rig()
      : provider(pebble),
        resolver({.servers = {pebble.dns()}}),
        client(Client::create({.directory = pebble.directory(),
                               .account_key = tls::generate_key(tls::KeyType::ecdsa).value(),
                               .ca_pem = pebble.ca_pem()})
                   .value()) {}

  // Every name is in that zone, or in none.
  Dns01::FindZone in_zone(const std::string& zone) {
    return [this, zone](std::string_view name, const Deadline&) -> Result<Dns01::Target> {
      asked.emplace_back(name);
      if (!name.ends_with(zone)) return Error{Errc::not_found, "no zone for " + std::string(name)};
      return Dns01::Target{&provider, {zone}, "account-1"};
    };
  }
  Result<Obtained> run(const std::vector<std::string>& names, Dns01 solver) {
    const std::array<Solver*, 1> solvers = {&solver};
    ObtainOptions options;
    options.names = names;
    options.key_pem = tls::generate_key(tls::KeyType::ecdsa).value();
    options.registration.agree_tos = true;
    return obtain(client, options, solvers, told, Deadline::in(Millis{60'000}));
  }
  void issues(const std::vector<std::string>& names, const std::string& zone) {
    const auto got = run(names, Dns01(resolver, journal, in_zone(zone)));
    REQUIRE_MESSAGE(got.has_value(), got.error().message());
    for (const std::string& step : told.steps) {
      CHECK_MESSAGE(step.find("going on") == std::string::npos, step);
    }
    CHECK(provider.names() == 0);
    CHECK(journal.open.empty());
  }

  Pebble pebble;
  PebbleDns provider;
  dns::Resolver resolver;
  MemoryJournal journal;
  ToldProgress told;
  Client client;
  std::vector<std::string> asked;
};

// Takes records, and does nothing with them.
class Deaf final : public dns::Provider {
 public:
  [[nodiscard]] const dns::ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline&) override { return {}; }
  Result<std::vector<dns::Zone>> zones(const Deadline&) override {
    return std::vector<dns::Zone>();
  }
  Result<std::string> add(const dns::Zone&, const dns::Txt&, const Deadline&) override {
    return std::string("1");
  }
  Result<void> remove(const dns::Zone&, const dns::Txt&, std::string_view,
                      const Deadline&) override {
    return Error{Errc::io, "out of order"};
  }

 private:
  dns::ProviderInfo info_{
      .type = "Deaf", .title = "Deaf", .propagation = Millis{1000}, .interval = Millis{10}};
};

}  // namespace

TEST_CASE("dns01: the record is the digest of the proof, without padding (RFC 8555 §8.4)") {
  CHECK(dns01_value("abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
}

TEST_CASE("dns01, pebble: a name and its wildcard have two values at one name") {
  Rig rig;
  rig.issues({"a.test", "*.a.test"}, "a.test");
  CHECK(rig.provider.most() == 2);
  CHECK(rig.journal.added == 2);
  CHECK(rig.asked == std::vector<std::string>{"_acme-challenge.a.test"});
  // In a zone above, and below.
  rig.issues({"deep.down.a.test"}, "a.test");
  CHECK(rig.asked.back() == "_acme-challenge.deep.down.a.test");
}

TEST_CASE("dns01, pebble: one after the other where a name holds one value") {
  Rig rig;
  rig.provider.hold_one_value();
  rig.issues({"a.test", "*.a.test"}, "a.test");
  CHECK(rig.provider.most() == 1);
  CHECK(rig.journal.added == 2);
}

TEST_CASE("dns01, pebble: an alias is followed to the zone that it leads to (RFC 8555 §8.4)") {
  Rig rig;
  rig.pebble.set_cname("_acme-challenge.a.test", "a-test.proofs.example");
  rig.issues({"a.test", "*.a.test"}, "proofs.example");
  CHECK(rig.asked == std::vector<std::string>{"a-test.proofs.example"});
  CHECK(rig.provider.most() == 2);
}

TEST_CASE("dns01, pebble: nobody set up for the zone, or a vendor that refuses") {
  Rig rig;
  auto failed = rig.run({"b.test"}, Dns01(rig.resolver, rig.journal, rig.in_zone("a.test")));
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().code == Errc::not_found);
  CHECK(failed.error().detail == "b.test: no zone for _acme-challenge.b.test");
  CHECK(rig.journal.added == 0);

  rig.provider.failure = Error{Errc::denied, "Vendor: no such token"};
  failed = rig.run({"a.test"}, Dns01(rig.resolver, rig.journal, rig.in_zone("a.test")));
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().detail == "a.test: present: Vendor: no such token");
  // It was in the journal before, and has been looked after.
  CHECK(rig.journal.added == 1);
  CHECK(rig.journal.open.empty());
}

TEST_CASE("dns01: a record that cannot be removed stays in the journal") {
  const Pebble pebble;
  dns::Resolver resolver({.servers = {pebble.dns()}});
  MemoryJournal journal;
  Deaf provider;
  Dns01 solver(resolver, journal, [&](std::string_view, const Deadline&) -> Result<Dns01::Target> {
    return Dns01::Target{&provider, {"a.test"}, "account-1"};
  });
  const Proof proof{"a.test", true, "token", "token.thumb"};
  REQUIRE(solver.present(proof, Deadline::in(Millis{10'000})).has_value());
  CHECK(journal.open == std::vector<std::string>{"account-1 a.test _acme-challenge"});
  solver.clean_up(proof);
  CHECK(journal.open.size() == 1);
  solver.clean_up(proof);  // again does nothing
}

TEST_CASE("dns01: records that are added together are waited for together") {
  const Pebble pebble;
  dns::Resolver resolver({.servers = {pebble.dns()}});
  MemoryJournal journal;
  Deaf provider;
  Dns01 solver(resolver, journal, [&](std::string_view, const Deadline&) -> Result<Dns01::Target> {
    return Dns01::Target{&provider, {"a.test"}, "account-1"};
  });
  const Deadline by = Deadline::in(Millis{60'000});
  std::vector<Proof> proofs;
  for (const char* name : {"a.test", "b.a.test", "c.a.test", "d.a.test"}) {
    proofs.push_back({name, false, name, "key"});
    REQUIRE(solver.present(proofs.back(), by).has_value());
  }
  const auto began = Deadline::Clock::now();
  for (const Proof& proof : proofs) {
    const auto seen = solver.await_visible(proof, by);
    REQUIRE_FALSE(seen.has_value());
    CHECK(seen.error().code == Errc::timeout);
    CHECK(seen.error().detail.find("_acme-challenge." + proof.identifier) != std::string::npos);
  }
  CHECK(Deadline::Clock::now() - began < Millis{3'000});  // a second, not one for each
}
