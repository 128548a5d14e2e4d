#include "dns/registry.h"

#include "client/http_client.h"
#include "dns/resolver.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

struct Rig {
  client::HttpClient http;
  dns::Resolver resolver{{.servers = {"127.0.0.1:9"}, .authoritative = {}}};
  dns::Services services{http, resolver};
  dns::Registry registry = dns::built_in();

  std::string failure(std::string_view type, const dns::Settings& settings) {
    const auto made = registry.make(type, settings, services);
    return made ? std::string{"made"} : made.error().message();
  }
};

}  // namespace

TEST_CASE("dns registry: every built-in provider is there, with the settings of records") {
  Rig rig;
  const auto fields = [&](std::string_view type) {
    std::vector<std::string> names;
    const dns::ProviderInfo* info = rig.registry.find(type);
    REQUIRE(info != nullptr);
    for (const dns::Field& field : info->fields) names.push_back(field.name);
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(fields("Cloudflare") == Names{"token"});
  CHECK(fields("DigitalOcean") == Names{"token"});
  CHECK(fields("PorkBun") == Names{"apiKey", "secretApiKey"});
  CHECK(fields("DuckDns") == Names{"token", "subdomains"});
  CHECK(fields("rfc2136") == Names{"server", "zones", "key_name", "algorithm", "secret"});
  CHECK(rig.registry.types().size() == 5);
  for (const dns::ProviderInfo* info : rig.registry.types()) {
    CHECK_FALSE(info->title.empty());
    CHECK(std::any_of(info->fields.begin(), info->fields.end(),
                      [](const dns::Field& field) { return field.secret; }));
  }
}

TEST_CASE("dns registry: a type is found in any case") {
  Rig rig;
  const auto made = rig.registry.make("cloudflare", {{"token", " abc\n"}}, rig.services);
  REQUIRE(made);
  CHECK((*made)->info().type == "Cloudflare");
  CHECK(rig.failure("PORKBUN", {{"apiKey", "a"}, {"secretApiKey", "b"}}) == "made");
  CHECK(rig.failure("duckDNS", {{"token", "a"}, {"subdomains", "b"}}) == "made");
  CHECK(rig.failure("digitalOcean", {{"token", "a"}}) == "made");
}

TEST_CASE("dns registry: what is wrong with settings is named, and no value is shown") {
  Rig rig;
  CHECK(rig.failure("Route53", {})
            .starts_with("not_found: DNS provider 'Route53': unknown; there is: Cloudflare, "
                         "DigitalOcean, PorkBun"));
  CHECK(rig.failure("Cloudflare", {}) == "invalid: Cloudflare: field 'token' (API token): missing");
  CHECK(rig.failure("Cloudflare", {{"token", " \n"}}) ==
        "invalid: Cloudflare: field 'token' (API token): missing");
  CHECK(rig.failure("Cloudflare", {{"token", "abc"}, {"tokn", "secret"}}) ==
        "invalid: Cloudflare: field 'tokn': unknown; there is: token");
  CHECK(rig.failure("Cloudflare", {{"token", "abc\r\nX-Evil: 1"}}) ==
        "invalid: Cloudflare: field 'token': has control characters");
  CHECK(rig.failure("PorkBun", {{"apiKey", "a"}}) ==
        "invalid: PorkBun: field 'secretApiKey' (Secret API key): missing");
}

TEST_CASE("dns registry: a type can be added once, in any case") {
  dns::Registry registry;
  const auto nothing = [](const dns::Settings&, const dns::Services&) {
    return Result<std::unique_ptr<dns::Provider>>{Error{Errc::io}};
  };
  CHECK(registry.add({.type = "Mine", .title = "Mine"}, nothing));
  CHECK(registry.add({.type = "mine", .title = "Mine"}, nothing).error().code == Errc::conflict);
  CHECK(registry.add({.type = "", .title = "Mine"}, nothing).error().code == Errc::invalid);
  const auto twice =
      registry.add({.type = "twice",
                    .title = "Twice",
                    .fields = {{.name = "a", .label = "A"}, {.name = "a", .label = "B"}}},
                   nothing);
  REQUIRE_FALSE(twice);
  CHECK(twice.error().detail == "DNS provider 'twice': field 'a': is there twice");
  CHECK(registry.types().size() == 1);
}
