#include "dns/rfc2136.h"

#include "dns/names.h"
#include "dns/propagation.h"
#include "dns/resolver.h"
#include "support/dns_server.h"
#include "support/knot_server.h"
#include "support/provider_contract.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using dns::Rfc2136;
using dns::Settings;
using test::KnotServer;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

const KnotServer& knot() {
  static const KnotServer server(KnotServer::Zones{{"one.test",
                                                    "txt TXT \"kept\"\nsub NS ns.sub\n"
                                                    "_acme-challenge.alias CNAME token.sub\n"},
                                                   {"sub.one.test", ""}});
  return server;
}

Settings settings() {
  return {{"server", knot().text()},
          {"zones", "one.test, Sub.One.test."},
          {"key_name", KnotServer::key_name},
          {"secret", KnotServer::secret}};
}

Settings with(const std::string& name, const std::string& value) {
  Settings changed = settings();
  changed[name] = value;
  return changed;
}

std::unique_ptr<dns::Provider> made(const Settings& from) {
  auto provider = Rfc2136::make(from);
  REQUIRE_MESSAGE(provider, provider.error().message());
  return *std::move(provider);
}

Result<std::vector<std::string>> values(std::string_view name, const Deadline& by) {
  dns::Resolver resolver({.servers = {knot().text()}});
  auto found = resolver.txt(name, by);
  if (!found && found.error().code == Errc::not_found) return std::vector<std::string>{};
  return found;
}

}  // namespace

TEST_CASE("rfc2136: keeps the contract of providers, on a real server") {
  const auto provider = made(settings());
  test::check_provider_contract(*provider, {.zone = "one.test", .values = &values});
  CHECK(*values("txt.one.test", soon()) == std::vector<std::string>{"kept"});
}

TEST_CASE(
    "rfc2136: what was added is seen at once, where an alias leads, and until it is removed") {
  const auto provider = made(settings());
  dns::Resolver resolver({.servers = {knot().text()}, .authoritative = {knot().text()}});
  const auto at = resolver.follow("_acme-challenge.alias.one.test", soon());
  REQUIRE(at);
  CHECK(*at == "token.sub.one.test");
  const auto zones = provider->zones(soon());
  const dns::Zone* const zone = dns::zone_for(*zones, *at);
  REQUIRE(zone != nullptr);
  const dns::Txt one{dns::relative_name(zone->name, *at), "value-1"};
  const dns::Txt two{dns::relative_name(zone->name, *at), "value-2"};
  CHECK(provider->add(*zone, one, soon()));
  CHECK(provider->add(*zone, two, soon()));
  const std::vector<std::string> both = {"value-1", "value-2"};
  const auto seen = dns::await_txt(resolver, *at, both, Millis{10}, soon());
  CHECK_MESSAGE(seen, seen.error().message());
  CHECK(provider->remove(*zone, one, {}, soon()));
  CHECK(*values(*at, soon()) == std::vector<std::string>{"value-2"});
  CHECK(provider->remove(*zone, two, {}, soon()));
  CHECK(values(*at, soon())->empty());
}

TEST_CASE("rfc2136: every algorithm that is offered is one that servers know") {
  for (const std::string algorithm :
       {"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}) {
    CAPTURE(algorithm);
    const KnotServer server(KnotServer::Zones{{"one.test", ""}}, algorithm);
    Settings mine = with("algorithm", algorithm);
    mine["server"] = server.text();
    mine["zones"] = "one.test";
    const auto checked = made(mine)->check(soon());
    CHECK_MESSAGE(checked, checked.error().message());
  }
}

TEST_CASE("rfc2136: zones are those of the settings, canonical") {
  const auto zones = made(settings())->zones(soon());
  REQUIRE(zones);
  REQUIRE(zones->size() == 2);
  CHECK((*zones)[0].name == "one.test");
  CHECK((*zones)[1].name == "sub.one.test");
}

TEST_CASE("rfc2136: what the server has against us is told, without the secret") {
  const std::string other_secret = "b3RoZXIgc2VjcmV0IG9mIGFueWJvZHkncw==";
  struct Case {
    Settings settings;
    Errc code;
    std::string why;
  };
  const std::vector<Case> cases = {
      {with("secret", other_secret), Errc::denied, "BADSIG"},
      {with("key_name", "other.test"), Errc::denied, "BADKEY"},
      {with("algorithm", "hmac-sha512"), Errc::denied, "BADKEY"},
      {with("zones", "two.test"), Errc::not_found, "two.test"},
  };
  for (const Case& one : cases) {
    const auto refused = made(one.settings)->check(soon());
    REQUIRE_FALSE(refused);
    CAPTURE(refused.error().message());
    CHECK(refused.error().code == one.code);
    CHECK(refused.error().detail.find(one.why) != std::string::npos);
    CHECK(refused.error().detail.find(knot().text()) != std::string::npos);
    CHECK(refused.error().detail.find(one.settings.at("secret")) == std::string::npos);
  }
}

TEST_CASE("rfc2136: answers that are no good are not believed") {
  // Says NOERROR to anything, without a signature.
  std::uint16_t flags = 0x2800;
  test::DnsServer liar([&](std::string_view query, test::DnsServer::Over) {
    std::string answer(query.substr(0, 2));
    dns::append_u16(answer, static_cast<std::uint16_t>(0x8000U | flags));
    answer.append(8, '\0');
    std::string all;
    dns::append_u16(all, static_cast<std::uint16_t>(answer.size()));
    return std::vector<std::string>{all + answer};
  });
  const auto provider = made(with("server", liar.text()));
  CHECK(provider->check(soon()).error().code == Errc::denied);
  flags = 0x2805;
  CHECK(provider->check(soon()).error().code == Errc::denied);  // REFUSED
  flags = 0x2804;
  CHECK(provider->check(soon()).error().code == Errc::invalid);  // NOTIMP
  flags = 0x2802;
  CHECK(provider->check(soon()).error().code == Errc::io);  // SERVFAIL
  flags = 0x280A;
  CHECK(provider->check(soon()).error().code == Errc::not_found);  // NOTZONE
  const test::Door nobody("127.0.0.1", test::Answer::refuses);
  CHECK(made(with("server", nobody.address.text()))->check(soon()).error().code == Errc::refused);
}

TEST_CASE("rfc2136: settings that cannot be good name the one that is wrong") {
  const auto why = [](const std::string& name, const std::string& value) {
    const auto provider = Rfc2136::make(with(name, value));
    REQUIRE_FALSE(provider);
    CHECK(provider.error().code == Errc::invalid);
    return provider.error().detail;
  };
  CHECK(why("server", "").find("server") != std::string::npos);
  CHECK(why("server", "a b").find("server") != std::string::npos);
  CHECK(why("zones", " , ").find("zones") != std::string::npos);
  CHECK(why("zones", "*.one.test").find("zones") != std::string::npos);
  CHECK(why("key_name", "").find("key") != std::string::npos);
  CHECK(why("algorithm", "hmac-md5").find("algorithm") != std::string::npos);
  CHECK(why("secret", "%%%").find("secret") != std::string::npos);
  for (const char* server : {"ns.example", "ns.example:5353", "192.0.2.1", "::1", "[::1]:53"}) {
    CAPTURE(server);
    CHECK(Rfc2136::make(with("server", server)));
  }
}
