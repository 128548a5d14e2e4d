#include "store/repo.h"

#include "base/json.h"
#include "host/keys.h"
#include "support/golden.h"
#include "support/redis_server.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::store;
namespace keys = proxycore::host::keys;

namespace {

Deadline soon() {
  return Deadline::in(Millis{20'000});
}

// An installation's data in a store on a real server.
struct Installation {
  Installation() { test::load_golden(server); }

  test::RedisServer server;
  std::unique_ptr<Store> store = *open_store(server.url());
};

template <class T>
std::vector<T> all_of(Store& store) {
  std::vector<T> all;
  REQUIRE(for_each<T>(
      store, [&](T&& item) { all.push_back(std::move(item)); },
      [](std::string_view key, const Error& why) { FAIL_CHECK(key << ": " << why.message()); },
      soon()));
  return all;
}

// Reads every record of a type and writes it again, as the old software would read it.
template <class T>
std::size_t check_round_trip(Store& store, std::string_view prefix) {
  std::size_t count = 0;
  REQUIRE(store.scan(
      prefix,
      [&](std::string_view key, Record&& record) {
        CAPTURE(key);
        const auto item = from<T>(key, record);
        REQUIRE(item);
        CHECK(record_of(*item) == record);
        ++count;
      },
      soon()));
  return count;
}

constexpr const char* some_pem = "-----BEGIN X-----\nAAAA\n-----END X-----\n";

Record certificate_record(const std::string& json) {
  return {{"value", json}};
}

}  // namespace

TEST_CASE("repo: every user, session, provider and domain of an installation is read and written") {
  Installation old;
  Store& store = *old.store;
  CHECK(check_round_trip<User>(store, keys::user_prefix) == 3);
  CHECK(check_round_trip<AuthToken>(store, keys::auth_token_prefix) == 4);
  CHECK(check_round_trip<DnsProvider>(store, keys::dns_provider_prefix) == 3);
  CHECK(check_round_trip<Domain>(store, keys::domain_prefix) == 2);

  const auto alice = load<User>(store, "alice", soon());
  REQUIRE(alice);
  CHECK(alice->password.starts_with("$2b$10$"));
  CHECK(alice->backing == "redis");
  CHECK(alice->written.created_by == "proxyadmin2");
  CHECK(alice->written.updated_by.empty());
  CHECK(alice->written.created_on == 1795390271180);

  const auto token = load<AuthToken>(store, "669f57a5-47bd-4dbf-bea8-437f99f8a345", soon());
  REQUIRE(token);
  CHECK(token->is_valid);
  CHECK(token->written.created_by == "alice");
  CHECK(token->groups.empty());

  const auto pork = load<DnsProvider>(store, "122601096a02ada8", soon());
  REQUIRE(pork);
  CHECK(pork->type == "PorkBun");
  CHECK(pork->settings.at("secretApiKey") == "sk1_bbbb");
  CHECK(pork->settings.size() == 2);
  CHECK_FALSE(pork->is_masked());

  const auto domain = load<Domain>(store, "example.com", soon());
  REQUIRE(domain);
  CHECK(domain->provider_id == "4cd4fe1bf3d69a1e");
  CHECK(domain->zone_id == "00000000000000000000000000000001");
}

TEST_CASE("repo: a user may be disabled, or have a password for the first time only") {
  const auto store = open_memory();
  REQUIRE(
      create(*store, User{.name = "al", .disabled = true, .password_expired = true}, {}, soon()));
  const auto out = load<User>(*store, "al", soon());
  REQUIRE(out);
  CHECK(out->disabled);
  CHECK(out->password_expired);
  REQUIRE(save(*store, User{.name = "al"}, soon()));
  const auto in = load<User>(*store, "al", soon());
  CHECK_FALSE(in->disabled);
  CHECK_FALSE(in->password_expired);
}

TEST_CASE("repo: both kinds of certificates of an installation are read and written") {
  Installation old;
  const auto all = all_of<Certificate>(*old.store);
  REQUIRE(all.size() == 2);
  const Certificate& wildcard = all[0];
  CHECK(wildcard.name == "*.wc.example.com");
  CHECK(wildcard.expiry == Certificate::dns01_expiry);
  CHECK(wildcard.real_expiry == 2110750513);
  CHECK(wildcard.end() == 2110750513);
  CHECK_FALSE(wildcard.csr_pem.empty());
  const Certificate& plain = all[1];
  CHECK(plain.name == "app.example.com");
  CHECK(plain.end() == 2110750502);
  CHECK(plain.privkey_pem.find("PRIVATE KEY") != std::string::npos);
  CHECK(plain.privkey_pem.find('\\') == std::string::npos);

  for (const Certificate& certificate : all) {
    const std::string key = keys::certificate(certificate.name);
    const std::string before = old.server.run({"GET", key}).text;
    REQUIRE(save(*old.store, certificate, soon()));
    const std::string after = old.server.run({"GET", key}).text;
    const auto was = base::json::parse(before);
    const auto is = base::json::parse(after);
    REQUIRE(is);
    const auto members = *was->object();
    REQUIRE(is->object()->size() == members.size());
    for (const auto& member : members) {
      CAPTURE(member.name);
      const base::json::Value* now = is->find(member.name);
      REQUIRE(now != nullptr);
      REQUIRE(now->kind() == member.value.kind());
      if (const auto text = member.value.text()) CHECK(*now->text() == *text);
      if (const auto number = member.value.integer()) CHECK(*now->integer() == *number);
    }
  }
}

TEST_CASE("repo: a certificate of the earliest rows has neither end nor leaf") {
  const std::string json = std::string(R"({"fullchain_pem":"-----BEGIN A-----\/x",)") +
                           R"("privkey_pem":"-----BEGIN B-----"})";
  const auto certificate = from<Certificate>("a.test:latest", certificate_record(json));
  REQUIRE(certificate);
  CHECK(certificate->fullchain_pem == "-----BEGIN A-----/x");
  CHECK(certificate->cert_pem.empty());
  CHECK_FALSE(certificate->end());
  Certificate dns01 = *certificate;
  dns01.expiry = Certificate::dns01_expiry;
  CHECK_FALSE(dns01.end());
  CHECK(record_of(dns01).at("value").find("\"expiry\":4120307657") != std::string::npos);
}

TEST_CASE("repo: a broken certificate is named by its field, and its key is not shown") {
  struct Case {
    const char* json;
    const char* error;
  };
  const Case cases[] = {
      {"", "field 'value': expected a JSON object"},
      {"{\"privkey_pem\":\"secret\"", "field 'value': expected a JSON object"},
      {"[\"secret\"]", "field 'value': expected a JSON object"},
      {"{\"privkey_pem\":\"-----BEGIN X\"}", "field 'fullchain_pem': is missing"},
      {"{\"fullchain_pem\":\"-----BEGIN X\"}", "field 'privkey_pem': is missing"},
      {"{\"privkey_pem\":\"secret\"}", "field 'privkey_pem': expected PEM"},
      {"{\"privkey_pem\":7}", "field 'privkey_pem': expected PEM"},
      {"{\"expiry\":-1}", "field 'expiry': "},
      {"{\"expiry\":\"soon\"}", "field 'expiry': "},
  };
  for (const Case& one : cases) {
    CAPTURE(one.json);
    const auto certificate = from<Certificate>("a.test:latest", certificate_record(one.json));
    REQUIRE_FALSE(certificate);
    CHECK(certificate.error().code == Errc::invalid);
    CHECK(certificate.error().detail.starts_with(one.error));
    CHECK(certificate.error().detail.find("secret") == std::string::npos);
  }
  CHECK_FALSE(from<Certificate>("a.test", certificate_record("{}")));
}

TEST_CASE("repo: a record that lacks a field, or has another's name, is refused") {
  const auto problem = [](const auto& item) {
    REQUIRE_FALSE(item);
    CHECK(item.error().code == Errc::invalid);
    return item.error().detail;
  };
  CHECK(problem(from<User>("proxy_User_a", {{"password", "x"}})) == "missing: field 'username'");
  CHECK(problem(from<User>("proxy_User_a", {{"username", "b"}})) ==
        "field 'username': is not its key's");
  CHECK(problem(from<AuthToken>("proxy_AuthToken_a", {{"token", "a"}})) ==
        "missing: field 'created_by'");
  CHECK(problem(from<DnsProvider>("proxy_DnsProvider_a", {{"id", "a"}})) ==
        "missing: field 'name', 'dnsProvider'");
  CHECK(problem(from<Domain>("proxy_Domain_a", {})) == "missing: field 'domain', 'dnsProvider_id'");
  const Record groups = {{"token", "a"}, {"created_by", "b"}, {"groups", "x"}};
  CHECK(problem(from<AuthToken>("proxy_AuthToken_a", groups)).starts_with("field 'groups': "));
}

TEST_CASE("repo: a session is valid unless it says exactly that it is not, and keeps its groups") {
  Record record = {{"token", "a"}, {"created_by", "b"}};
  CHECK(from<AuthToken>("proxy_AuthToken_a", record)->is_valid);
  record["is_valid"] = "false";
  record["groups"] = "[\"admins\",\"ops\"]";
  const auto token = from<AuthToken>("proxy_AuthToken_a", record);
  CHECK_FALSE(token->is_valid);
  CHECK(token->groups == std::vector<std::string>{"admins", "ops"});
  CHECK(record_of(*token) == record);
}

TEST_CASE("repo: a provider whose secrets are kept elsewhere says so") {
  const auto provider = from<DnsProvider>(
      "proxy_DnsProvider_a",
      {{"id", "a"}, {"name", "n"}, {"dnsProvider", "Cloudflare"}, {"token", "********"}});
  CHECK(provider->is_masked());
}

TEST_CASE("repo: saving keeps what is not known here, who created it, and when it ends") {
  const auto store = open_memory();
  REQUIRE(create(*store, User{.name = "al", .written = {.created_by = "bo"}}, {}, soon()));
  CHECK(create(*store, User{.name = "al"}, {}, soon()).error().code == Errc::conflict);
  const auto add = [](const Record& before) -> Result<Record> {
    Record next = before;
    next["theme"] = "dark";
    return next;
  };
  REQUIRE(store->update(keys::user("al"), add, Life::as_before, soon()));
  REQUIRE(save(*store, User{.name = "al", .password = "$2b$x"}, soon()));
  const auto record = store->get(keys::user("al"), soon());
  CHECK(record->at("theme") == "dark");
  CHECK(record->at("created_by") == "bo");
  CHECK(record->at("updated_by") == "__NONE__");
  CHECK(record->at("password") == "$2b$x");
  CHECK(record->contains("created_on"));
  CHECK(*remove<User>(*store, "al", soon()));
  CHECK(load<User>(*store, "al", soon()).error().code == Errc::not_found);

  const std::string json = std::string("{\"extra\":[1,{\"a\":null}],\"fullchain_pem\":\"") +
                           "-----BEGIN A\",\"privkey_pem\":\"-----BEGIN B\"}";
  REQUIRE(store->put("a.test:latest", certificate_record(json), {}, soon()));
  Certificate next{.name = "a.test", .fullchain_pem = some_pem, .privkey_pem = some_pem};
  REQUIRE(save(*store, next, soon()));
  const std::string text = store->get("a.test:latest", soon())->at("value");
  CHECK(text.find("\"extra\":[1,{\"a\":null}]") != std::string::npos);
  CHECK(load<Certificate>(*store, "a.test", soon())->privkey_pem == some_pem);
}

TEST_CASE("repo: a setting that was taken away from a provider is gone") {
  const auto store = open_memory();
  DnsProvider provider{.id = "1", .name = "n", .type = "PorkBun"};
  provider.settings = {{"apiKey", "a"}, {"secretApiKey", "b"}};
  REQUIRE(create(*store, provider, {}, soon()));
  provider.settings.erase("apiKey");
  REQUIRE(save(*store, provider, soon()));
  CHECK(load<DnsProvider>(*store, "1", soon())->settings.size() == 1);
}

TEST_CASE("repo: a broken record stops nothing") {
  const auto store = open_memory();
  REQUIRE(create(*store, Domain{.name = "a.test", .provider_id = "1"}, {}, soon()));
  REQUIRE(store->put("proxy_Domain_b.test", {{"domain", "b.test"}}, {}, soon()));
  REQUIRE(store->put("x:latest", certificate_record("{}"), {}, soon()));
  std::vector<std::string> told;
  const auto broken = [&](std::string_view key, const Error&) { told.emplace_back(key); };
  int domains = 0;
  REQUIRE(for_each<Domain>(
      *store, [&](Domain&&) { ++domains; }, broken, soon()));
  REQUIRE(for_each<Certificate>(
      *store, [&](Certificate&&) {}, broken, soon()));
  CHECK(domains == 1);
  CHECK(told == std::vector<std::string>{"proxy_Domain_b.test", "x:latest"});
}
