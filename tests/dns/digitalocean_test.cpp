#include "dns/digitalocean.h"

#include "support/mock_vendors.h"
#include "support/provider_contract.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace proxycore;

namespace {

struct Rig {
  explicit Rig(std::vector<std::string> zones = {"example.com"},
               std::string token = std::string{test::MockDigitalOcean::token})
      : vendor(std::move(zones)), provider({{"token", token}}, http, vendor.url()) {}

  test::MockDigitalOcean vendor;
  client::HttpClient http;
  dns::DigitalOcean provider;
  const Deadline by = Deadline::in(Millis{30'000});
};

const dns::Txt challenge{.name = "_acme-challenge.www", .value = "value-1"};

}  // namespace

TEST_CASE("digitalocean: keeps the contract of providers") {
  Rig rig;
  test::check_provider_contract(
      rig.provider, {.zone = "example.com", .values = [&](std::string_view name, const Deadline&) {
                       return rig.vendor.values(name);
                     }});
  CHECK(rig.vendor.records().empty());
}

TEST_CASE("digitalocean: all pages of zones are read, and the token goes to nobody else") {
  std::vector<std::string> names;
  for (int i = 0; i < 450; ++i) names.push_back(fmt::format("zone{}.example", i));
  Rig rig(names);
  const auto found = rig.provider.zones(rig.by);
  REQUIRE(found);
  REQUIRE(found->size() == 450);
  CHECK(found->back().name == "zone449.example");
  CHECK(rig.vendor.asks().size() == 3);
}

TEST_CASE("digitalocean: records are made by relative names and found by whole ones") {
  Rig rig;
  for (int i = 0; i < 300; ++i) {
    rig.vendor.put("example.com", "_acme-challenge.www.example.com", fmt::format("other-{}", i));
  }
  const auto id = rig.provider.add({"example.com"}, challenge, rig.by);
  REQUIRE(id);
  CHECK_FALSE(id->empty());
  CHECK(rig.vendor.values("_acme-challenge.www.example.com").size() == 301);
  CHECK(rig.provider.remove({"example.com"}, challenge, {}, rig.by));
  CHECK(rig.vendor.values("_acme-challenge.www.example.com").size() == 300);
}

TEST_CASE("digitalocean: what it would keep twice is there once") {
  Rig rig;
  const auto first = rig.provider.add({"example.com"}, challenge, rig.by);
  const auto again = rig.provider.add({"example.com"}, challenge, rig.by);
  REQUIRE(first);
  REQUIRE(again);
  CHECK(*first == *again);
  CHECK(rig.vendor.records().size() == 1);
}

TEST_CASE("digitalocean: a token that is not good is denied, whatever the case of the words") {
  Rig rig({"example.com"}, "dop_wrong");
  const auto checked = rig.provider.check(rig.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().message() ==
        "denied: DigitalOcean: check the token: 401: Unable to authenticate you");
}

TEST_CASE("digitalocean: answers that are none of its own are told as what they are") {
  Rig rig;
  const auto failed = [&](test::Reply reply) {
    rig.vendor.answer_next(std::move(reply));
    const auto zones = rig.provider.zones(rig.by);
    return zones ? std::string{"fine"} : zones.error().message();
  };
  CHECK(failed({.status = 401}) == "denied: DigitalOcean: list zones: 401: no explanation");
  CHECK(failed({.status = 500, .body = "<!DOCTYPE html>"}) ==
        "io: DigitalOcean: list zones: 500: an HTML page in place of an answer");
  CHECK(failed({.status = 200, .body = ""}) ==
        "protocol: DigitalOcean: list zones: expected an object, found null");
}

TEST_CASE("digitalocean: the limit of the hour is told with its end") {
  Rig rig;
  rig.vendor.answer_next({.status = 429, .headers = {{"ratelimit-reset", "4102444800"}}});
  const auto zones = rig.provider.zones(rig.by);
  REQUIRE_FALSE(zones);
  CHECK(zones.error().code == Errc::busy);
  CHECK(zones.error().retry_after_s > 86'400);
}
