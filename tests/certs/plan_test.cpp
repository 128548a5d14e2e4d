#include "certs/plan.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::certs;

namespace {

Host host_of(std::string name, std::string challenge_type = {}) {
  return {.host = std::move(name),
          .ip = "127.0.0.1",
          .target_port = 80,
          .challenge_type = std::move(challenge_type)};
}

struct Around {
  std::set<std::string, std::less<>> zones = {};
  std::set<std::string, std::less<>> wildcards = {};
  Method preferred = Method::http01;

  [[nodiscard]] Circumstances circumstances() const {
    return {.preferred = preferred,
            .has_zone =
                [this](std::string_view name) {
                  for (const std::string& zone : zones) {
                    if (name == zone || name.ends_with("." + zone)) return true;
                  }
                  return false;
                },
            .has_wildcard =
                [this](std::string_view pattern) {
                  return wildcards.find(pattern) != wildcards.end();
                }};
  }
};

// "name: identifiers by method", or why there is none.
std::string planned(const Host& host, const Around& around = {}) {
  std::string why;
  const auto wanted = wanted_by(host, around.circumstances(), why);
  if (!wanted) return why;
  std::string text = wanted->name + ":";
  for (const std::string& name : wanted->identifiers) text += " " + name;
  return text + (wanted->method == Method::http01 ? " by http-01" : " by dns-01");
}

}  // namespace

TEST_CASE("plan: a plain host wants its own name") {
  CHECK(planned(host_of("app.example.test")) == "app.example.test: app.example.test by http-01");
  CHECK(planned(host_of("app.example.test", "HTTP-01")) ==
        "app.example.test: app.example.test by http-01");
  CHECK(planned(host_of("app.example.test", "DNS-01")) ==
        "app.example.test: app.example.test by dns-01");
}

TEST_CASE("plan: where dns-01 is preferred, names without a provider fall back to http-01") {
  const Around around{.zones = {"example.test"}, .preferred = Method::dns01};
  CHECK(planned(host_of("app.example.test"), around) ==
        "app.example.test: app.example.test by dns-01");
  CHECK(planned(host_of("app.other.test"), around) == "app.other.test: app.other.test by http-01");
}

TEST_CASE("plan: no CA vouches for addresses and single labels") {
  CHECK(planned(host_of("localhost")) == "no CA vouches for an address or a single label");
  CHECK(planned(host_of("192.0.2.1")) == "no CA vouches for an address or a single label");
  CHECK(planned(host_of("[2001:db8::1]")) == "no CA vouches for an address or a single label");
}

TEST_CASE("plan: a wildcard wants its base, too, by dns-01") {
  const Around around{.zones = {"example.test"}};
  CHECK(planned(host_of("*.example.test"), around) ==
        "*.example.test: example.test *.example.test by dns-01");
  CHECK(planned(host_of("*.example.test")) ==
        "no DNS provider has its zone: its names get certificates when asked for");
  // Whoever says so is told what is missing by the try itself.
  CHECK(planned(host_of("*.example.test", "DNS-01-wildcard")) ==
        "*.example.test: example.test *.example.test by dns-01");
  Host old = host_of("*.example.test");
  old.is_wildcard = true;
  CHECK(planned(old) == "*.example.test: example.test *.example.test by dns-01");
}

TEST_CASE("plan: ** is no certificate: the level below it has one, what is deeper has to ask") {
  const Around around{.zones = {"example.test"}};
  CHECK(planned(host_of("**.example.test"), around) == "*.example.test: *.example.test by dns-01");
  const std::string none =
      "no certificate covers such a pattern: its names get theirs when asked for";
  CHECK(planned(host_of("**"), around) == none);
  CHECK(planned(host_of("info.**"), around) == none);
  CHECK(planned(host_of("api.*.example.test"), around) == none);
  CHECK(planned(host_of("*.*.example.test"), around) == none);
  CHECK(planned(host_of("*.test"), around) == none);
}

TEST_CASE("plan: a host under a wildcard that has a certificate wants none, unless it says so") {
  const Around around{.wildcards = {"*.example.test"}};
  CHECK(planned(host_of("app.example.test"), around) ==
        "the certificate of its wildcard is for it, too");
  CHECK(planned(host_of("app.example.test", "HTTP-01"), around) ==
        "app.example.test: app.example.test by http-01");
  CHECK(planned(host_of("a.b.example.test"), around) ==
        "a.b.example.test: a.b.example.test by http-01");
  CHECK(planned(host_of("app.example.test", "wildcardChild")) ==
        "the certificate of its wildcard is for it, too");
}

TEST_CASE("plan: whoever wants none gets none") {
  CHECK(planned(host_of("app.example.test", "none")) == "its challengeType is none");
  Host row = host_of("kid.example.test");
  row.is_cache = true;
  CHECK(planned(row) == "a wildcard answers for it");
}

TEST_CASE("plan: a name that was asked for gets its own under a pattern") {
  const Around around{.wildcards = {"*.example.test"}};
  const auto asked = [&](std::string_view name, const Host& host) {
    return wanted_for(name, host, around.circumstances());
  };
  const auto deep = asked("x.y.example.test", host_of("**.example.test"));
  REQUIRE(deep);
  CHECK(deep->identifiers == std::vector<std::string>{"x.y.example.test"});
  CHECK(deep->host == "**.example.test");
  CHECK_FALSE(asked("x.example.test", host_of("**.example.test")));
  CHECK_FALSE(asked("x.y.example.test", host_of("**.example.test", "none")));
  CHECK_FALSE(asked("localhost", host_of("**")));
  CHECK_FALSE(asked("*.y.example.test", host_of("**.example.test")));
}
