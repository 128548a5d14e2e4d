#include "dns/duckdns.h"

#include "support/mock_vendors.h"
#include "support/provider_contract.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

using Values = Result<std::vector<std::string>>;

struct Rig {
  explicit Rig(std::string token = std::string{test::MockDuckDns::token},
               std::string domains = "home, lab.duckdns.org")
      : provider(
            {{"token", token}, {"subdomains", domains}}, http,
            [this](std::string_view name, const Deadline&) -> Values {
              auto values = vendor.values(name);
              if (values.empty()) return Error{Errc::not_found};
              return values;
            },
            vendor.url()) {}

  test::MockDuckDns vendor{{"home", "lab"}};
  client::HttpClient http;
  dns::DuckDns provider;
  const Deadline by = Deadline::in(Millis{30'000});
};

const dns::Zone home{"home.duckdns.org"};

dns::Txt challenge(std::string value) {
  return {.name = "_acme-challenge", .value = std::move(value)};
}

}  // namespace

TEST_CASE("duckdns: keeps the contract of providers, with one value for all names") {
  Rig rig;
  CHECK_FALSE(rig.provider.info().several_values);
  test::check_provider_contract(
      rig.provider,
      {.zone = "home.duckdns.org", .values = [&](std::string_view name, const Deadline&) -> Values {
         return rig.vendor.values(name);
       }});
  CHECK(rig.vendor.values("home.duckdns.org").empty());
  CHECK(rig.vendor.addresses_changed() == 0);
}

TEST_CASE("duckdns: the settings' domains are its zones, with the suffix once") {
  Rig rig;
  const auto zones = rig.provider.zones(rig.by);
  REQUIRE(zones);
  REQUIRE(zones->size() == 2);
  CHECK((*zones)[0].name == "home.duckdns.org");
  CHECK((*zones)[1].name == "lab.duckdns.org");
}

TEST_CASE("duckdns: a check writes what is there, and clears only where nothing is") {
  Rig rig;
  REQUIRE(rig.provider.add(home, challenge("value-1"), rig.by));
  CHECK(rig.provider.check(rig.by));
  CHECK(rig.vendor.values("home.duckdns.org") == std::vector<std::string>{"value-1"});
  CHECK(rig.vendor.values("lab.duckdns.org").empty());
  CHECK(rig.vendor.addresses_changed() == 0);
}

TEST_CASE("duckdns: a value that was replaced is not cleared with its successor") {
  Rig rig;
  REQUIRE(rig.provider.add(home, challenge("value-1"), rig.by));
  REQUIRE(rig.provider.add(home, challenge("value-2"), rig.by));
  CHECK(rig.provider.remove(home, challenge("value-1"), {}, rig.by));
  CHECK(rig.vendor.values("home.duckdns.org") == std::vector<std::string>{"value-2"});
  CHECK(rig.provider.remove(home, challenge("value-2"), {}, rig.by));
  CHECK(rig.vendor.values("home.duckdns.org").empty());
}

TEST_CASE("duckdns: what was left by a process before is cleared") {
  Rig rig;
  REQUIRE(rig.provider.add(home, challenge("value-1"), rig.by));
  dns::DuckDns next({{"token", std::string{test::MockDuckDns::token}}, {"subdomains", "home"}},
                    rig.http, {}, rig.vendor.url());
  CHECK(next.remove(home, challenge("value-1"), {}, rig.by));
  CHECK(rig.vendor.values("home.duckdns.org").empty());
}

TEST_CASE("duckdns: what a call may have set that failed is cleared") {
  Rig rig;
  REQUIRE(rig.provider.add(home, challenge("value-1"), rig.by));
  rig.vendor.answer_next({.status = 502});
  CHECK_FALSE(rig.provider.add(home, challenge("value-2"), rig.by));
  CHECK(rig.provider.remove(home, challenge("value-2"), {}, rig.by));
  CHECK(rig.vendor.values("home.duckdns.org").empty());
}

TEST_CASE("duckdns: KO is denied, and no error has the token") {
  Rig rig("7c4d0e5a-0000-0000-0000-000000000000");
  const auto checked = rig.provider.check(rig.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Errc::denied);
  CHECK(checked.error().detail.find("7c4d0e5a") == std::string::npos);

  rig.vendor.answer_next({.status = 500, .body = "7c4d0e5a-0000-0000-0000-000000000000 failed"});
  const auto added = rig.provider.add(home, challenge("value-1"), rig.by);
  REQUIRE_FALSE(added);
  CHECK(added.error().message() == "io: DuckDNS: set the value: 500: *** failed");
}

TEST_CASE("duckdns: a page in place of OK and KO is no success") {
  Rig rig;
  rig.vendor.answer_next({.status = 200, .body = "<html>Welcome</html>"});
  const auto added = rig.provider.add(home, challenge("value-1"), rig.by);
  REQUIRE_FALSE(added);
  CHECK(added.error().code == Errc::protocol);
}

TEST_CASE("duckdns: there has to be a domain") {
  Rig rig(std::string{test::MockDuckDns::token}, " , ");
  const auto checked = rig.provider.check(rig.by);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Errc::invalid);
}
