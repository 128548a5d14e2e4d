#include "dns/porkbun.h"

#include "support/mock_vendors.h"
#include "support/provider_contract.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace proxycore;

namespace {

struct Rig {
  explicit Rig(std::vector<std::string> zones = {"example.com"}, std::size_t page = 1000,
               std::string secret = std::string{test::MockPorkbun::secret})
      : vendor(std::move(zones), page),
        provider({{"apiKey", std::string{test::MockPorkbun::key}}, {"secretApiKey", secret}}, http,
                 vendor.url()) {}

  test::MockPorkbun vendor;
  client::HttpClient http;
  dns::Porkbun provider;
  const Deadline by = Deadline::in(Millis{30'000});
};

const dns::Zone zone{"example.com"};
const dns::Txt challenge{.name = "_acme-challenge", .value = "value-1"};

}  // namespace

TEST_CASE("porkbun: keeps the contract of providers") {
  Rig rig;
  test::check_provider_contract(
      rig.provider, {.zone = "example.com", .values = [&](std::string_view name, const Deadline&) {
                       return rig.vendor.values(name);
                     }});
  CHECK(rig.vendor.records().empty());
  for (const test::Ask& ask : rig.vendor.asks()) {
    CHECK(ask.target.find("ByNameType") == std::string::npos);
  }
}

TEST_CASE("porkbun: all pages of domains are read, whatever their size") {
  std::vector<std::string> names;
  for (int i = 0; i < 70; ++i) names.push_back(fmt::format("zone{}.example", i));
  for (const std::size_t page : {1000U, 35U, 7U}) {
    Rig rig(names, page);
    const auto found = rig.provider.zones(rig.by);
    REQUIRE(found);
    REQUIRE(found->size() == 70);
    CHECK(found->back().name == "zone69.example");
  }
}

TEST_CASE("porkbun: apex and wildcard have their values side by side") {
  Rig rig;
  const auto first = rig.provider.add(zone, challenge, rig.by);
  const auto second =
      rig.provider.add(zone, {.name = "_acme-challenge", .value = "value-2"}, rig.by);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(rig.vendor.values("_acme-challenge.example.com").size() == 2);
  CHECK(rig.vendor.records()[0].ttl == 600);
  CHECK(rig.provider.remove(zone, challenge, *first, rig.by));
  CHECK(rig.vendor.values("_acme-challenge.example.com") == std::vector<std::string>{"value-2"});
}

TEST_CASE("porkbun: a refusal that is no duplicate stays an error") {
  Rig rig;
  rig.vendor.answer_next(
      {.status = 400,
       .body = R"({"status":"ERROR","message":"We were unable to create the DNS record."})"});
  const auto added = rig.provider.add(zone, challenge, rig.by);
  REQUIRE_FALSE(added);
  CHECK(added.error().message() ==
        "invalid: Porkbun: add record: 400: We were unable to create the DNS record.");
}

TEST_CASE("porkbun: a record that cannot be removed stays an error") {
  Rig rig;
  const auto id = rig.provider.add(zone, challenge, rig.by);
  REQUIRE(id);
  rig.vendor.answer_next({.status = 400, .body = R"({"status":"ERROR","message":"Not now."})"});
  const auto removed = rig.provider.remove(zone, challenge, *id, rig.by);
  REQUIRE_FALSE(removed);
  CHECK(removed.error().detail == "Porkbun: remove record: 400: Not now.");
  CHECK(rig.provider.remove(zone, challenge, *id, rig.by));
  CHECK(rig.vendor.records().empty());
}

TEST_CASE("porkbun: keys that are not good are denied; an error with status 200 is one") {
  Rig rig({"example.com"}, 1000, "sk1_wrong");
  const auto checked = rig.provider.check(rig.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().message() ==
        "denied: Porkbun: check the keys: 400: Invalid API key. (002)");

  Rig good;
  good.vendor.answer_next(test::MockPorkbun::error_200("Domain is not opted in to API access."));
  const auto added = good.provider.add(zone, challenge, good.by);
  REQUIRE_FALSE(added);
  CHECK(added.error().message() ==
        "denied: Porkbun: add record: 200: Domain is not opted in to API access.");
}

TEST_CASE("porkbun: errors repeat no key, even if the vendor does") {
  Rig rig;
  rig.vendor.answer_next({.status = 400,
                          .body = fmt::format(R"({{"status":"ERROR","message":"bad {} and {}"}})",
                                              test::MockPorkbun::key, test::MockPorkbun::secret)});
  const auto checked = rig.provider.check(rig.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().detail == "Porkbun: check the keys: 400: bad *** and ***");
}

TEST_CASE("porkbun: answers that are none of its own are told as what they are") {
  Rig rig;
  const auto failed = [&](test::Reply reply) {
    rig.vendor.answer_next(std::move(reply));
    const auto zones = rig.provider.zones(rig.by);
    return zones ? std::string{"fine"} : zones.error().message();
  };
  CHECK(failed({.status = 403, .body = "<html>"}) ==
        "denied: Porkbun: list zones: 403: an HTML page in place of an answer");
  CHECK(failed({.status = 400, .body = R"({"status":"ERROR"})"}) ==
        R"(invalid: Porkbun: list zones: 400: {"status":"ERROR"})");
  CHECK(failed({.status = 500}) == "io: Porkbun: list zones: 500: no explanation");
  CHECK(failed({.status = 503, .headers = {{"Retry-After", "99"}}}) ==
        "busy: Porkbun: list zones: 503: asks to wait 99 s");
}
