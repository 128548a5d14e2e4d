#include "acme/objects.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;

namespace {
std::string replaced(std::string text, std::string_view what, std::string_view by) {
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

constexpr char directory[] = R"({
  "newNonce": "https://ca.test/nonce", "newAccount": "https://ca.test/account",
  "newOrder": "https://ca.test/order", "revokeCert": "https://ca.test/revoke",
  "keyChange": "https://ca.test/key", "renewalInfo": "https://ca.test/ari",
  "aNextYearsThing": {"x": [1, 2]},
  "meta": {"termsOfService": "https://ca.test/terms", "website": "https://ca.test",
           "caaIdentities": ["ca.test"], "externalAccountRequired": true,
           "profiles": {"classic": "as always", "shortlived": "six days"}}})";

constexpr char order[] = R"({
  "status": "valid", "expires": "2030-01-01T00:00:00Z",
  "identifiers": [{"type": "dns", "value": "*.a.test"}, {"type": "dns", "value": "a.test"}],
  "authorizations": ["https://ca.test/authz/1", "https://ca.test/authz/2"],
  "finalize": "https://ca.test/finalize", "certificate": "https://ca.test/cert"})";

constexpr char authorization[] = R"({
  "status": "pending", "identifier": {"type": "dns", "value": "a.test"}, "wildcard": true,
  "challenges": [{"type": "dns-01", "url": "https://ca.test/c/1", "status": "invalid",
    "token": "abc_DEF-123", "error": {"type": "urn:ietf:params:acme:error:dns", "detail": "no"}},
    {"type": "dns-persist-01", "url": "https://ca.test/c/2", "status": "pending"}]})";
}  // namespace

TEST_CASE("acme objects: a directory is what the CA offers (RFC 8555 §7.1.1)") {
  const auto read = read_directory(directory);
  REQUIRE(read.has_value());
  CHECK(read->new_order == "https://ca.test/order");
  CHECK(read->renewal_info == "https://ca.test/ari");
  CHECK(read->terms_of_service == "https://ca.test/terms");
  CHECK(read->caa_identities == std::vector<std::string>{"ca.test"});
  CHECK(read->external_account_required);
  REQUIRE(read->profiles.size() == 2);
  CHECK(read->profiles[1].name == "shortlived");
  CHECK(read->profiles[1].description == "six days");
  const auto least = read_directory(
      R"({"newNonce":"https://a.test/n","newAccount":"https://a.test/a","newOrder":"https://a.test/o"})");
  REQUIRE(least.has_value());
  CHECK(least->key_change.empty());
  CHECK_FALSE(least->external_account_required);
}

TEST_CASE("acme objects: an order, an authorization and an account are read (RFC 8555 §7.1)") {
  const auto placed = read_order(order, "https://ca.test/order/1");
  REQUIRE(placed.has_value());
  CHECK(placed->url == "https://ca.test/order/1");
  CHECK(placed->status == Status::valid);
  CHECK(placed->identifiers == std::vector<std::string>{"*.a.test", "a.test"});
  CHECK(placed->authorizations.size() == 2);
  CHECK(placed->certificate == "https://ca.test/cert");

  const auto authz = read_authorization(authorization, "https://ca.test/authz/1");
  REQUIRE(authz.has_value());
  CHECK(authz->wildcard);
  CHECK(authz->identifier == "a.test");
  REQUIRE(authz->challenges.size() == 2);
  CHECK(authz->challenges[0].status == Status::invalid);
  CHECK(authz->challenges[0].token == "abc_DEF-123");
  CHECK(authz->challenges[0].error->text() == "dns: no");
  CHECK(authz->challenges[1].token.empty());

  const auto account = read_account(R"({"status":"valid","contact":["mailto:a@b.test"]})", "u");
  REQUIRE(account.has_value());
  CHECK(account->contact == std::vector<std::string>{"mailto:a@b.test"});
  CHECK(read_account(R"({"status":"deactivated","contact":null})", "u")->status ==
        Status::deactivated);
}

TEST_CASE("acme objects: what later steps depend on has to make sense") {
  for (const auto& [what, by] : {std::pair{"https://ca.test/nonce", "ftp://ca.test/nonce"},
                                 {"https://ca.test/nonce", "https://ca.test/a b"},
                                 {"\"newAccount\"", "\"oldAccount\""},
                                 {"\"https://ca.test/order\"", "7"}}) {
    const auto read = read_directory(replaced(directory, what, by));
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().code == Errc::protocol);
  }
  for (const auto& [what, by] : {std::pair{"\"valid\"", "\"settled\""},
                                 {"\"certificate\"", "\"diploma\""},
                                 {"\"finalize\": \"https", "\"finalize\": \"data"},
                                 {"\"https://ca.test/authz/2\"", "{}"}}) {
    CHECK_FALSE(read_order(replaced(order, what, by), "u").has_value());
  }
  // Tokens become paths and keys.
  for (const char* token : {"../../etc", "a b", "a=b", "a%2f"}) {
    CAPTURE(token);
    CHECK_FALSE(read_authorization(replaced(authorization, "abc_DEF-123", token), "u").has_value());
  }
  for (const char* content : {"", "[]", "null", "<html>", "{}"}) {
    CHECK(read_directory(content).error().code == Errc::protocol);
    CHECK(read_order(content, "u").error().code == Errc::protocol);
    CHECK(read_authorization(content, "u").error().code == Errc::protocol);
    CHECK(read_account(content, "u").error().code == Errc::protocol);
    CHECK(read_renewal_info(content).error().code == Errc::protocol);
  }
}

TEST_CASE("acme objects: renewal information is a window with a page about it (RFC 9773 §4.2)") {
  const std::string text =
      R"({"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-03T00:00:00+01:00"},
          "explanationURL":"https://ca.test/why"})";
  const auto info = read_renewal_info(text);
  REQUIRE(info.has_value());
  CHECK(info->end - info->start == 23 * 3600);
  CHECK(info->explanation_url == "https://ca.test/why");
  CHECK(
      read_renewal_info(replaced(text, "https://ca", "javascript://ca"))->explanation_url.empty());
  CHECK_FALSE(read_renewal_info(replaced(text, "2026-01-03", "2026-01-01")).has_value());
  CHECK_FALSE(read_renewal_info(replaced(text, "2026-01-03", "tomorrow")).has_value());
}
