#include "certs/providers.h"

#include "client/http_client.h"
#include "dns/resolver.h"
#include "host/keys.h"
#include "store/repo.h"
#include "support/fake_dns.h"
#include "support/golden.h"
#include "support/redis_server.h"
#include "support/temp_dir.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using certs::Providers;
using certs::Sealer;
using store::DnsProvider;
using store::Domain;

namespace {

namespace keys = host::keys;

Deadline soon() {
  return Deadline::in(Seconds{10});
}

std::vector<std::string> names_of(const std::vector<dns::Zone>& zones) {
  std::vector<std::string> names;
  for (const dns::Zone& zone : zones) names.push_back(zone.name);
  return names;
}

// What a runner has, with a vendor in memory: account "one" has two zones, "two" another.
struct Rig {
  TempDir dir;
  std::unique_ptr<Store> store = open_memory();
  Sealer sealer = Sealer::open(dir.file("key")).value();
  client::HttpClient http;
  dns::Resolver resolver{dns::Resolver::Options{}};
  FakeDns vendor;
  dns::Registry registry = vendor.registry();
  Providers providers{*store, sealer, registry, dns::Services{http, resolver}};

  Rig() {
    vendor.accounts["one"] = {{"b.test", "zone-b"}, {"a.test", "zone-a"}};
    vendor.accounts["two"] = {{"deep.a.test", ""}};
  }
  // Gives the id of the account.
  std::string saved(const std::string& token) {
    const auto kept = providers.save(account(token), soon());
    REQUIRE(kept);
    return kept->id;
  }
  static DnsProvider account(const std::string& token) {
    return {.id = {},
            .name = "My " + token,
            .type = "fake",
            .settings = {{"token", token}},
            .written = {.created_by = "alice"}};
  }
  [[nodiscard]] std::vector<std::string> keys_of(std::string_view prefix) const {
    return store->keys(prefix, soon()).value();
  }
};

}  // namespace

TEST_CASE("providers: an account is kept with its zones, its secret sealed") {
  Rig rig;
  const auto saved = rig.providers.save(Rig::account("one"), soon());
  REQUIRE(saved);
  CHECK(names_of(saved->zones) == std::vector<std::string>{"a.test", "b.test"});
  const auto accounts = rig.keys_of(keys::dns_provider_prefix);
  REQUIRE(accounts.size() == 1);
  const std::string id = accounts[0].substr(keys::dns_provider_prefix.size());
  CHECK(id == saved->id);
  CHECK(id.size() == 16);
  const Record record = rig.store->get(accounts[0], soon()).value();
  CHECK(record.at("dnsProvider") == "Fake");
  CHECK(record.at("name") == "My one");
  CHECK(record.at("created_by") == "alice");
  CHECK(record.at("token").starts_with("sealed:1:"));
  CHECK(rig.sealer.open(accounts[0] + ".token", record.at("token")).value() == "one");
  const Record row = rig.store->get(keys::domain("a.test"), soon()).value();
  CHECK(row.at("dnsProvider_id") == id);
  CHECK(row.at("zoneId") == "zone-a");
}

TEST_CASE("providers: nothing is kept of an account that the vendor does not take") {
  Rig rig;
  const auto refused = rig.providers.save(Rig::account("nobody's"), soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().detail == "Fake: no such token");
  rig.vendor.failure = Error{Errc::busy, "Fake: slow down", 30};
  const auto busy = rig.providers.save(Rig::account("one"), soon());
  REQUIRE_FALSE(busy);
  CHECK(busy.error().retry_after_s == 30);
  CHECK(rig.keys_of("").empty());
}

TEST_CASE("providers: a wrong field is named, and no secret shown") {
  Rig rig;
  const auto why = [&rig](const DnsProvider& account) {
    const auto saved = rig.providers.save(account, soon());
    REQUIRE_FALSE(saved);
    CHECK(saved.error().code == Errc::invalid);
    CHECK(saved.error().detail.find("s3cret") == std::string::npos);
    return saved.error().detail;
  };
  const auto has = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  DnsProvider account = Rig::account("s3cret");
  account.type = "Elsewhere";
  CHECK(has(why(account), "'dnsProvider'"));
  account = Rig::account("s3cret");
  account.name.clear();
  CHECK(has(why(account), "'name'"));
  account = Rig::account("s3cret");
  account.settings.emplace("tokn", "s3cret");
  CHECK(has(why(account), "tokn"));
  account = Rig::account("s3cret");
  account.settings.erase("token");
  CHECK(has(why(account), "'token'"));
  account = Rig::account("s3cret");
  account.id = "../x";
  CHECK(has(why(account), "'id'"));
}

TEST_CASE("providers: the longest zone of a name is found, and its provider is made once") {
  Rig rig;
  const std::string one = rig.saved("one");
  const std::string two = rig.saved("two");
  const int made = rig.vendor.made;
  const auto zone_of = [&rig](std::string_view name) {
    const auto found = rig.providers.find(name, soon());
    return found ? found->zone.name + " " + found->zone.id + " " + found->id
                 : found.error().message();
  };
  CHECK(zone_of("a.test") == "a.test zone-a " + one);
  CHECK(zone_of("_acme-challenge.www.a.test") == "a.test zone-a " + one);
  CHECK(zone_of("x.deep.a.test") == "deep.a.test  " + two);
  CHECK(zone_of("deep.a.test") == "deep.a.test  " + two);
  CHECK(zone_of("xdeep.a.test") == "a.test zone-a " + one);
  CHECK(zone_of("c.test") == "not_found: no DNS provider has a zone of c.test");
  CHECK(zone_of("test") == "not_found: no DNS provider has a zone of test");
  CHECK(zone_of("") == "not_found: no DNS provider has a zone of ");
  CHECK(rig.vendor.made == made);
  CHECK(rig.providers.find("a.test", soon())->provider ==
        rig.providers.find("b.test", soon())->provider);
}

TEST_CASE("providers: who finds one that another process has changed gets the new one") {
  Rig rig;
  const std::string one = rig.saved("one");
  const auto before = rig.providers.find("a.test", soon()).value().provider;
  DnsProvider changed = store::load<DnsProvider>(*rig.store, one, soon()).value();
  changed.settings["token"] = "two";
  REQUIRE(store::save(*rig.store, changed, soon()));
  const auto after = rig.providers.find("a.test", soon()).value().provider;
  CHECK(after != before);
  // Whoever has the old one still may use it.
  CHECK(names_of(before->zones(soon()).value()).size() == 2);
  CHECK(names_of(after->zones(soon()).value()) == std::vector<std::string>{"deep.a.test"});
}

TEST_CASE("providers: a zone that another account has is a conflict that names it") {
  Rig rig;
  rig.saved("one");
  rig.vendor.accounts["three"] = {{"c.test", ""}, {"b.test", "other"}};
  const auto saved = rig.providers.save(Rig::account("three"), soon());
  REQUIRE_FALSE(saved);
  CHECK(saved.error().code == Errc::conflict);
  CHECK(saved.error().detail.find("zone b.test") != std::string::npos);
  CHECK(saved.error().detail.find("'My one'") != std::string::npos);
  CHECK(rig.keys_of(keys::dns_provider_prefix).size() == 1);
  CHECK(rig.keys_of(keys::domain_prefix).size() == 2);
}

TEST_CASE("providers: a zone of an account that is gone is free") {
  Rig rig;
  const std::string one = rig.saved("one");
  REQUIRE(store::remove<DnsProvider>(*rig.store, one, soon()).value());
  const auto found = rig.providers.find("a.test", soon());
  REQUIRE_FALSE(found);
  CHECK(found.error().code == Errc::not_found);
  CHECK(found.error().detail.find(one) != std::string::npos);
  const std::string again = rig.saved("one");
  CHECK(again != one);
  CHECK(rig.providers.find("a.test", soon())->id == again);
}

TEST_CASE("providers: what changes at the vendor is seen when it is asked again") {
  Rig rig;
  const std::string one = rig.saved("one");
  const std::string two = rig.saved("two");
  rig.vendor.accounts["one"] = {{"a.test", "new"}, {"C.Test.", ""}, {"deep.a.test", ""}, {"?", ""}};
  const auto zones = rig.providers.refresh(one, soon());
  REQUIRE(zones);
  CHECK(names_of(*zones) == std::vector<std::string>{"a.test", "c.test"});
  CHECK(rig.providers.find("a.test", soon())->zone.id == "new");
  CHECK(rig.providers.find("c.test", soon())->id == one);
  CHECK(rig.providers.find("deep.a.test", soon())->id == two);
  CHECK_FALSE(rig.providers.find("b.test", soon()));
  CHECK(rig.providers.refresh("0000", soon()).error().code == Errc::not_found);
}

TEST_CASE("providers: an account goes with its zones") {
  Rig rig;
  const std::string one = rig.saved("one");
  const std::string two = rig.saved("two");
  CHECK(rig.providers.remove(one, soon()).value());
  CHECK_FALSE(rig.providers.remove(one, soon()).value());
  CHECK_FALSE(rig.providers.find("a.test", soon()));
  CHECK(rig.providers.find("deep.a.test", soon())->id == two);
  CHECK(rig.keys_of("").size() == 2);
}

TEST_CASE("providers: lists show no secret, of an unknown type nothing") {
  Rig rig;
  DnsProvider account = Rig::account("one");
  account.settings["place"] = "here";
  REQUIRE(rig.providers.save(account, soon()));
  REQUIRE(store::save(
      *rig.store,
      DnsProvider{
          .id = "0f", .name = "Z", .type = "Plugin", .settings = {{"url", "x"}, {"pass", "y"}}},
      soon()));
  const auto all = rig.providers.list(soon());
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  for (const DnsProvider& one : *all) {
    if (one.type == "Fake") {
      CHECK(one.settings == dns::Settings{{"token", ""}, {"place", "here"}});
    } else {
      CHECK(one.settings == dns::Settings{{"url", ""}, {"pass", ""}});
    }
  }
}

TEST_CASE("providers: a secret that is left empty stays, unless another setting changes") {
  Rig rig;
  const std::string id = rig.saved("one");
  DnsProvider account = Rig::account("");
  account.id = id;
  account.name = "Another name";
  REQUIRE(rig.providers.save(account, soon()));
  CHECK(rig.providers.list(soon())->front().name == "Another name");
  CHECK(rig.providers.find("a.test", soon())->id == id);
  account.settings["place"] = "elsewhere";
  const auto moved = rig.providers.save(account, soon());
  REQUIRE_FALSE(moved);
  CHECK(moved.error().code == Errc::invalid);
  CHECK(moved.error().detail.find("'token'") != std::string::npos);
  account.settings["token"] = "two";
  REQUIRE(rig.providers.save(account, soon()));
  CHECK_FALSE(rig.providers.find("b.test", soon()));
  CHECK(rig.providers.find("deep.a.test", soon())->id == id);
}

TEST_CASE("providers: secrets that are kept elsewhere have to be entered again") {
  Rig rig;
  const std::string id = rig.saved("one");
  DnsProvider masked = store::load<DnsProvider>(*rig.store, id, soon()).value();
  masked.settings["token"] = "********";
  REQUIRE(store::save(*rig.store, masked, soon()));
  const auto found = rig.providers.find("a.test", soon());
  REQUIRE_FALSE(found);
  CHECK(found.error().code == Errc::invalid);
  CHECK(found.error().detail.find("enter it again") != std::string::npos);
  CHECK(found.error().detail.find("'My one'") != std::string::npos);
  DnsProvider entered = Rig::account("one");
  entered.id = id;
  REQUIRE(rig.providers.save(entered, soon()));
  CHECK(rig.providers.find("a.test", soon()));
}

TEST_CASE("providers: a record that was sealed with another key says where ours is") {
  Rig rig;
  const std::string id = rig.saved("one");
  const Sealer other = Sealer::open(rig.dir.file("other")).value();
  Providers providers(*rig.store, other, rig.registry, dns::Services{rig.http, rig.resolver});
  const auto found = providers.find("a.test", soon());
  REQUIRE_FALSE(found);
  CHECK(found.error().code == Errc::invalid);
  CHECK(found.error().detail.find(rig.dir.file("other")) != std::string::npos);
}

TEST_CASE("providers: accounts of an existing installation work as they are") {
  Rig rig;
  RedisServer server;
  load_golden(server);
  const auto store = open_store(server.url()).value();
  const dns::Registry registry = dns::built_in();
  Providers providers(*store, rig.sealer, registry, dns::Services{rig.http, rig.resolver});
  const auto found = providers.find("_acme-challenge.wc.example.com", soon());
  REQUIRE(found);
  CHECK(found->zone.name == "example.com");
  CHECK(found->zone.id == "00000000000000000000000000000001");
  CHECK(found->provider->info().type == "Cloudflare");
  for (const char* id : {"122601096a02ada8", "45c90d96b4d6fa43"}) {
    CHECK(providers.provider(id, soon()));
  }
  const auto all = providers.list(soon());
  REQUIRE(all);
  CHECK(all->size() == 3);
  for (const DnsProvider& one : *all) {
    for (const auto& [name, value] : one.settings) CHECK(value.empty());
  }
}
