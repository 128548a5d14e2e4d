#include "dns/cloudflare.h"

#include "support/mock_vendors.h"
#include "support/provider_contract.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace proxycore;

namespace {

using Zones = std::vector<test::MockCloudflare::Zone>;

struct Rig {
  explicit Rig(Zones zones = {{"example.com"}},
               std::string token = std::string{test::MockCloudflare::token})
      : vendor(std::move(zones)), provider({{"token", token}}, http, vendor.url()) {}

  test::MockCloudflare vendor;
  client::HttpClient http;
  dns::Cloudflare provider;
  const Deadline by = Deadline::in(Millis{30'000});
};

const dns::Txt challenge{.name = "_acme-challenge", .value = "value-1"};

}  // namespace

TEST_CASE("cloudflare: keeps the contract of providers") {
  Rig rig;
  test::check_provider_contract(
      rig.provider, {.zone = "example.com", .values = [&](std::string_view name, const Deadline&) {
                       return rig.vendor.values(name);
                     }});
  CHECK(rig.vendor.records().empty());
}

TEST_CASE("cloudflare: all pages of zones are read, and those that are not active left out") {
  Zones zones;
  for (int i = 0; i < 120; ++i) zones.push_back({fmt::format("zone{}.example", i)});
  zones.push_back({"waiting.example", "pending"});
  Rig rig(zones);
  const auto found = rig.provider.zones(rig.by);
  REQUIRE(found);
  REQUIRE(found->size() == 120);
  CHECK(found->back().name == "zone119.example");
  CHECK(found->back().id == "zone-119");
  CHECK(rig.vendor.asks().size() == 3);
}

TEST_CASE("cloudflare: a value is found by itself on any page, and no other is removed") {
  Rig rig;
  for (int i = 0; i < 250; ++i) {
    rig.vendor.put("example.com", "_acme-challenge.example.com", fmt::format("other-{}", i));
  }
  rig.vendor.put("example.com", "_acme-challenge.example.com", "value-1");
  CHECK(rig.provider.remove({"example.com", "zone-0"}, challenge, {}, rig.by));
  const auto left = rig.vendor.values("_acme-challenge.example.com");
  CHECK(left.size() == 250);
  CHECK(std::find(left.begin(), left.end(), "value-1") == left.end());
}

TEST_CASE("cloudflare: a record that is there already is a success, with its id") {
  Rig rig;
  const dns::Zone zone{"example.com", "zone-0"};
  const auto first = rig.provider.add(zone, challenge, rig.by);
  const auto again = rig.provider.add(zone, challenge, rig.by);
  REQUIRE(first);
  REQUIRE(again);
  CHECK(*first == *again);
  CHECK(rig.vendor.records().size() == 1);
}

TEST_CASE("cloudflare: a CNAME in the way is a conflict, not a success") {
  Rig rig;
  rig.vendor.answer_next(
      {.status = 400,
       .body = R"({"success":false,"errors":[{"code":81054,"message":"A CNAME is there."}]})"});
  const auto added = rig.provider.add({"example.com", "zone-0"}, challenge, rig.by);
  REQUIRE_FALSE(added);
  CHECK(added.error().message() ==
        "conflict: Cloudflare: add record: 400: A CNAME is there. (81054)");
}

TEST_CASE("cloudflare: times to live are what it takes") {
  Rig rig;
  const dns::Zone zone{"example.com", "zone-0"};
  CHECK(rig.provider.add(zone, {.name = "a", .value = "x", .ttl = 5}, rig.by));
  CHECK(rig.provider.add(zone, {.name = "b", .value = "x", .ttl = 1'000'000}, rig.by));
  CHECK(rig.vendor.records()[0].ttl == 60);
  CHECK(rig.vendor.records()[1].ttl == 86'400);
}

TEST_CASE("cloudflare: a zone without its id is looked for by its name") {
  Rig rig({{"other.example"}, {"example.com"}});
  CHECK(rig.provider.add({"example.com"}, challenge, rig.by));
  CHECK(rig.vendor.values("_acme-challenge.example.com") == std::vector<std::string>{"value-1"});
  const auto nowhere = rig.provider.add({"nowhere.example"}, challenge, rig.by);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().code == Errc::not_found);
}

TEST_CASE("cloudflare: a token that is not good is denied, in Cloudflare's words") {
  Rig wrong({{"example.com"}}, "cf-wrong");
  const auto checked = wrong.provider.check(wrong.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().message() ==
        "denied: Cloudflare: list zones: 403: Authentication error (10000)");

  Rig malformed({{"example.com"}}, "cf wrong");
  const auto refused = malformed.provider.check(malformed.by);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() ==
        "denied: Cloudflare: list zones: 400: Invalid request headers (6003): Invalid format for "
        "Authorization header (6111)");
}

TEST_CASE("cloudflare: a token that reaches no zone is told which rights it needs") {
  Rig rig(Zones{});
  const auto checked = rig.provider.check(rig.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Errc::denied);
  CHECK(checked.error().detail.find("Zone:Read and DNS:Edit") != std::string::npos);
}

TEST_CASE("cloudflare: answers that are none of its own are told as what they are") {
  Rig rig;
  const auto failed = [&](test::Reply reply) {
    rig.vendor.answer_next(std::move(reply));
    const auto zones = rig.provider.zones(rig.by);
    return zones ? std::string{"fine"} : zones.error().message();
  };
  CHECK(failed({.status = 502, .body = "<html>Bad gateway</html>"}) ==
        "io: Cloudflare: list zones: 502: an HTML page in place of an answer");
  CHECK(failed({.status = 500}) == "io: Cloudflare: list zones: 500: no explanation");
  CHECK(failed({.status = 200, .body = "<html>Maintenance</html>"}) ==
        "protocol: Cloudflare: list zones: 200: an HTML page in place of an answer");
  CHECK(failed({.status = 200, .body = R"({"success":true,"result":7})"}) ==
        "protocol: Cloudflare: list zones: field 'result': expected an array, found 7");
  CHECK(failed({.status = 200, .body = R"({"success":true,"result":[{"name":"a.example"}]})"}) ==
        "protocol: Cloudflare: list zones: field 'id': missing");
  CHECK(failed({.status = 200, .body = R"({"success":false,"errors":[]})"})
            .starts_with("protocol: Cloudflare: list zones: 200: "));
}

TEST_CASE("cloudflare: rate limits are waited for, or told") {
  Rig rig;
  rig.vendor.answer_next({.status = 429, .headers = {{"Retry-After", "0"}}});
  CHECK(rig.provider.zones(rig.by));
  rig.vendor.answer_next({.status = 429, .headers = {{"Retry-After", "250"}}});
  const auto zones = rig.provider.zones(rig.by);
  REQUIRE_FALSE(zones);
  CHECK(zones.error().code == Errc::busy);
  CHECK(zones.error().retry_after_s == 250);
}
