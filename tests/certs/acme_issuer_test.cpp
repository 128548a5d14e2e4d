#include "certs/acme_issuer.h"

#include "dns/plugin.h"
#include "host/keys.h"
#include "plugin_paths.h"
#include "store/repo.h"
#include "support/acme_rig.h"
#include "support/eventually.h"
#include "support/fake_ca.h"
#include "support/http_server.h"
#include "support/pebble.h"
#include "support/temp_dir.h"
#include "tls/cert.h"
#include <proxycore/acme.h>
#include <proxycore/store.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::certs;
using test::FakeCa;
using test::Pebble;
using test::TempDir;
using test::ToldProgress;

namespace {

namespace keys = host::keys;

Deadline soon() {
  return Deadline::in(Seconds{60});
}

template <class Value>
Value good(Result<Value> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}

certs::Wanted plain(const std::string& name) {
  return {.name = name, .identifiers = {name}, .host = name, .method = Method::http01};
}
certs::Wanted by_dns(const std::string& name, std::vector<std::string> identifiers) {
  return {
      .name = name, .identifiers = std::move(identifiers), .host = name, .method = Method::dns01};
}

// A store with what stands around it: who seals, who knows DNS vendors, and a proxy of another
// machine that answers challenges from it.
struct Rig {
  TempDir dir;
  std::unique_ptr<Store> store = open_memory();
  Sealer sealer = Sealer::open(dir.file("key")).value();
  dns::Registry registry = dns::built_in();
  Journal journal{*store, [] { return std::int64_t{std::time(nullptr)} * 1'000; }};
  std::mutex mutex;
  std::vector<std::string> answered;  // keys of the store
  test::HttpServer proxy{[this](const test::Ask& ask) { return answer(ask); }};

  test::Reply answer(const test::Ask& ask) {
    constexpr std::string_view prefix = "/.well-known/acme-challenge/";
    if (!ask.path().starts_with(prefix)) return {404};
    std::string host = ask.header("Host");
    host.resize(std::min(host.find(':'), host.size()));
    const std::string key = keys::challenge(host, ask.path().substr(prefix.size()));
    const auto record = store->get(key, soon());
    if (!record) return {404};
    const std::lock_guard lock(mutex);
    answered.push_back(key);
    return {200, record->at(std::string(text_field))};
  }
  AcmeIssuer issuer(const Config::Acme& acme, const std::string& ca_pem = {},
                    std::optional<acme::ExternalAccount> external = {}) {
    return AcmeIssuer({.acme = acme,
                       .ca_pem = ca_pem,
                       .external = std::move(external),
                       .store = *store,
                       .sealer = sealer,
                       .registry = registry,
                       .journal = journal});
  }
  [[nodiscard]] std::vector<std::string> keys_of(std::string_view prefix) const {
    return store->keys(prefix, soon()).value();
  }
  // All that the store holds, in one text.
  [[nodiscard]] std::string everything() const {
    std::string all;
    REQUIRE(store->scan(
        "",
        [&](std::string_view key, Record&& record) {
          all.append(key);
          for (const auto& [field, value] : record) all.append(field).append(value);
        },
        soon()));
    return all;
  }
};

Config::Acme account_at(const std::string& directory) {
  return {.enabled = true, .directory = directory, .agree_tos = true};
}

void serves(const CertBundle& bundle, std::string_view name) {
  const auto certificate = good(tls::Certificate::load(bundle));
  const auto gate = tls::gate(certificate, name, std::time(nullptr));
  CHECK_MESSAGE(gate.has_value(), gate.error().message());
}

// One certificate, with a new key.
Result<CertBundle> get(AcmeIssuer& issuer, const certs::Wanted& wanted, certs::Progress& told) {
  const std::string key = good(acme::new_key());
  PX_TRY(std::string chain, issuer.obtain({.wanted = wanted, .key_pem = key}, told, soon()));
  return CertBundle{std::move(chain), key};
}

}  // namespace

TEST_CASE("acme issuer, pebble: http-01 is answered from the store, and nothing is left there") {
  Rig rig;
  const Pebble pebble({.http_port = rig.proxy.port()});
  AcmeIssuer issuer = rig.issuer(account_at(pebble.directory()), pebble.ca_pem());
  ToldProgress told;
  // While the CA looks, older software on the same store sees that somebody is at it.
  told.before = [&](acme::Step step) {
    if (step == acme::Step::validate) CHECK(rig.store->get(keys::issue_lock("a.test"), soon()));
  };
  serves(good(get(issuer, plain("a.test"), told)), "a.test");
  REQUIRE_FALSE(rig.answered.empty());
  CHECK(rig.answered.front().starts_with("a.test:challenge:"));
  CHECK(told.did("validate"));
  CHECK(rig.keys_of("a.test").empty());
}

TEST_CASE("acme issuer, pebble: one account for all runners, whose key nobody reads in the store") {
  Rig rig;
  const Pebble pebble({.http_port = rig.proxy.port()});
  const Config::Acme acme = account_at(pebble.directory());
  AcmeIssuer one = rig.issuer(acme, pebble.ca_pem());
  ToldProgress first;
  good(get(one, plain("a.test"), first));
  REQUIRE(first.accounts.size() == 1);
  // Another runner, which has the same store and the same file of a key.
  AcmeIssuer other = rig.issuer(acme, pebble.ca_pem());
  ToldProgress second;
  good(get(other, plain("b.test"), second));
  CHECK(second.accounts.empty());

  const auto kept = rig.keys_of(keys::acme_account_prefix);
  REQUIRE(kept.size() == 1);
  const Record record = good(rig.store->get(kept.front(), soon()));
  CHECK(record.at("url") == first.accounts.front());
  CHECK(record.at("directory") == pebble.directory());
  CHECK(record.at("key").starts_with("sealed:1:"));
  CHECK(rig.everything().find("PRIVATE KEY") == std::string::npos);
  // Whoever has a copy of the store alone has no account.
  const Sealer stranger = good(Sealer::open(rig.dir.file("another key")));
  const auto opened = load_ca_account(*rig.store, stranger, pebble.directory(), soon());
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::invalid);
}

TEST_CASE("acme issuer: two runners that start at once agree on the account's key") {
  Rig rig;
  const CaAccount one = good(load_ca_account(*rig.store, rig.sealer, "https://ca.test/", soon()));
  const CaAccount two = good(load_ca_account(*rig.store, rig.sealer, "https://ca.test/", soon()));
  CHECK(one.key_pem == two.key_pem);
  CHECK(one.url.empty());
  // Another CA is another account.
  const CaAccount other = good(load_ca_account(*rig.store, rig.sealer, "https://b.test/", soon()));
  CHECK(other.key_pem != one.key_pem);
  REQUIRE(keep_account_url(*rig.store, "https://b.test/", "https://b.test/1", soon()));
  const CaAccount again = good(load_ca_account(*rig.store, rig.sealer, "https://b.test/", soon()));
  CHECK(again.url == "https://b.test/1");
  CHECK(again.key_pem == other.key_pem);
}

TEST_CASE("acme issuer: the lock of older software is respected, and theirs is left alone") {
  Rig rig;
  const FakeCa ca;
  AcmeIssuer issuer = rig.issuer(account_at(ca.url()));
  ToldProgress told;
  const Record theirs{{std::string(text_field), "theirs"}};
  REQUIRE(rig.store->create(keys::issue_lock("a.test"), theirs, Seconds{30}, soon()));
  const auto locked = get(issuer, plain("a.test"), told);
  REQUIRE_FALSE(locked);
  CHECK(locked.error().code == Errc::conflict);
  CHECK(ca.count("new-order") == 0);
  CHECK(good(rig.store->get(keys::issue_lock("a.test"), soon())) == theirs);
  // Of another name it is another.
  good(get(issuer, plain("b.test"), told));
  REQUIRE(rig.store->erase(keys::issue_lock("a.test"), soon()));
  // Ours has run out, and they have taken it meanwhile.
  told.before = [&](acme::Step step) {
    if (step != acme::Step::download) return;
    REQUIRE(rig.store->put(keys::issue_lock("a.test"), theirs, Seconds{30}, soon()));
  };
  good(get(issuer, plain("a.test"), told));
  CHECK(good(rig.store->get(keys::issue_lock("a.test"), soon())) == theirs);
}

TEST_CASE("acme issuer: an order that takes long keeps its lock") {
  Rig rig;
  const FakeCa ca;
  std::atomic<int> writes{0};
  const auto watch =
      rig.store->watch(keys::issue_lock("a.test"), [&](std::string_view) { ++writes; });
  REQUIRE(watch);
  AcmeIssuer issuer({.acme = account_at(ca.url()),
                     .store = *rig.store,
                     .sealer = rig.sealer,
                     .registry = rig.registry,
                     .journal = rig.journal,
                     .lock_life = Seconds{1}});
  ToldProgress told;
  told.before = [&](acme::Step step) {
    if (step != acme::Step::validate) return;
    // Written again and again, for longer than it lives.
    CHECK(test::eventually([&] { return writes >= 5; }));
    CHECK(rig.store->get(keys::issue_lock("a.test"), soon()));
  };
  serves(good(get(issuer, plain("a.test"), told)), "a.test");
  CHECK_FALSE(rig.store->get(keys::issue_lock("a.test"), soon()));
}

TEST_CASE("acme issuer, pebble: an account is bound to an external one (RFC 8555 §7.3.4)") {
  const std::string mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
  Rig rig;
  const Pebble pebble({.http_port = rig.proxy.port(), .mac_keys = {{"kid-1", mac_key}}});
  ToldProgress told;
  const Config::Acme acme = account_at(pebble.directory());
  AcmeIssuer without = rig.issuer(acme, pebble.ca_pem());
  const auto refused = get(without, plain("a.test"), told);
  REQUIRE_FALSE(refused);
  CHECK(without.problem().type == "externalAccountRequired");
  // The MAC key of another account.
  const acme::ExternalAccount wrong{"kid-1", "d3JvbmcgbWFjIGtleSwgYW5kIGxvbmcgZW5vdWdo"};
  AcmeIssuer strange = rig.issuer(acme, pebble.ca_pem(), wrong);
  const auto denied = get(strange, plain("a.test"), told);
  REQUIRE_FALSE(denied);
  CHECK(denied.error().message().find(wrong.mac_key) == std::string::npos);
  AcmeIssuer bound = rig.issuer(acme, pebble.ca_pem(), acme::ExternalAccount{"kid-1", mac_key});
  serves(good(get(bound, plain("a.test"), told)), "a.test");
  CHECK(rig.everything().find(mac_key) == std::string::npos);
}

TEST_CASE("acme issuer, pebble: a wildcard by dns-01, without a record left in zone or journal") {
  Rig rig;
  const Pebble pebble;
  REQUIRE(dns::load_plugin(rig.registry, TEST_PLUGIN));
  client::HttpClient http;
  dns::Resolver resolver({.servers = {pebble.dns()}, .authoritative = {pebble.dns()}});
  Providers providers(*rig.store, rig.sealer, rig.registry, {.http = http, .resolver = resolver});
  good(providers.save({.id = {},
                       .name = "the test's",
                       .type = "challtestsrv",
                       .settings = {{"url", pebble.dns_api()}, {"zones", "a.test"}}},
                      soon()));
  Config::Acme acme = account_at(pebble.directory());
  acme.resolvers = acme.authoritative = {pebble.dns()};
  AcmeIssuer issuer = rig.issuer(acme, pebble.ca_pem());
  ToldProgress told;
  std::size_t most = 0;
  told.before = [&](acme::Step) { most = std::max(most, rig.keys_of(keys::txt_prefix).size()); };
  const CertBundle bundle = good(get(issuer, by_dns("*.a.test", {"*.a.test", "a.test"}), told));
  serves(bundle, "*.a.test");
  serves(bundle, "a.test");
  CHECK(most == 2);
  CHECK(rig.keys_of(keys::txt_prefix).empty());
  const auto left = resolver.txt("_acme-challenge.a.test", soon());
  CHECK((!left || left->empty()));
  // A name that no account has a zone for is nothing that a CA is asked about in vain for long.
  const auto nobody = get(issuer, by_dns("*.b.test", {"*.b.test"}), told);
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code == Errc::not_found);
  CHECK(nobody.error().detail.find("b.test") != std::string::npos);
}

TEST_CASE("acme issuer, pebble: what it revokes is revoked, also by a new runner") {
  Rig rig;
  Pebble pebble({.http_port = rig.proxy.port()});
  const Config::Acme acme = account_at(pebble.directory());
  CertBundle bundle;
  {
    AcmeIssuer issuer = rig.issuer(acme, pebble.ca_pem());
    ToldProgress told;
    bundle = good(get(issuer, plain("a.test"), told));
  }
  const std::string serial = good(tls::Certificate::load(bundle))->serial();
  CHECK(pebble.status_of(serial) == "Valid");
  AcmeIssuer issuer = rig.issuer(acme, pebble.ca_pem());
  REQUIRE(issuer.revoke("", bundle, 1, soon()));
  CHECK(pebble.status_of(serial) == "Revoked");
  // Whoever died between the CA's answer and the store has it to do again.
  const auto again = issuer.revoke("", bundle, 1, soon());
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::conflict);
}

TEST_CASE("acme issuer: it tells when the CA wants to renew, or that it does not say (RFC 9773)") {
  Rig rig;
  bool says = true;
  const FakeCa ca([&](const test::CaCall& call) -> std::optional<test::Reply> {
    if (call.what != "renewal-info" || !says) return std::nullopt;
    return test::Reply{200,
                       R"({"suggestedWindow":{"start":"2033-05-18T03:33:20Z",)"
                       R"("end":"2033-05-19T03:33:20Z"}})",
                       {{"Retry-After", "3600"}}};
  });
  AcmeIssuer issuer = rig.issuer(account_at(ca.url()));
  ToldProgress told;
  const CertBundle bundle = good(get(issuer, plain("a.test"), told));
  const acme::RenewalInfo info = good(issuer.proposal("", bundle.chain_pem, soon()));
  CHECK(info.start == 2'000'000'000);
  CHECK(info.end == 2'000'086'400);
  CHECK(info.retry_after_s == 3'600);
  says = false;
  CHECK_FALSE(issuer.proposal("", bundle.chain_pem, soon()));
  // A renewal says what it follows, if it is to.
  const auto renew = [&](const std::string& replaces) {
    const certs::Wanted wanted = plain("a.test");
    good(issuer.obtain({.wanted = wanted, .key_pem = good(acme::new_key()), .replaces = replaces},
                       told, soon()));
    return ca.payload("new-order").find("replaces") != std::string::npos;
  };
  CHECK(renew(bundle.chain_pem));
  CHECK_FALSE(renew(""));
}

TEST_CASE("acme issuer: an order of somebody who died is gone on with, in the same account") {
  Rig rig;
  const FakeCa ca;
  const certs::Wanted wanted = plain("a.test");
  const std::string key = good(acme::new_key());
  ToldProgress dying;
  dying.end_at = acme::Step::finalize;
  {
    AcmeIssuer issuer = rig.issuer(account_at(ca.url()));
    CHECK_FALSE(issuer.obtain({.wanted = wanted, .key_pem = key}, dying, soon()));
  }
  REQUIRE_FALSE(dying.order().empty());
  AcmeIssuer issuer = rig.issuer(account_at(ca.url()));
  ToldProgress told;
  const std::string chain = good(
      issuer.obtain({.wanted = wanted, .key_pem = key, .order_url = dying.order()}, told, soon()));
  serves({chain, key}, "a.test");
  CHECK(ca.count("new-order") == 1);
  CHECK(ca.count("account") == 1);
}

TEST_CASE("acme issuer: a DNS server that is down fails where it is needed, and leaves nothing") {
  Rig rig;
  const FakeCa ca;
  REQUIRE(dns::load_plugin(rig.registry, TEST_PLUGIN));
  const test::HttpServer vendor([](const test::Ask&) { return test::Reply{200, "{}"}; });
  client::HttpClient http;
  dns::Resolver resolver(dns::Resolver::Options{});
  Providers providers(*rig.store, rig.sealer, rig.registry, {.http = http, .resolver = resolver});
  good(providers.save({.id = {},
                       .name = "the test's",
                       .type = "challtestsrv",
                       .settings = {{"url", vendor.url()}, {"zones", "a.test"}}},
                      soon()));
  Config::Acme acme = account_at(ca.url());
  acme.resolvers = acme.authoritative = {"127.0.0.1:9"};
  AcmeIssuer issuer = rig.issuer(acme);
  ToldProgress told;
  const auto failed = get(issuer, by_dns("*.a.test", {"*.a.test"}), told);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().detail.find("a.test") != std::string::npos);
  CHECK(issuer.problem().type.empty());
  REQUIRE_FALSE(told.steps.empty());
  CHECK(told.steps.back().starts_with("present"));
  CHECK(rig.keys_of(keys::txt_prefix).empty());
  // Names that are proved otherwise do not need it.
  serves(good(get(issuer, plain("b.test"), told)), "b.test");
}
