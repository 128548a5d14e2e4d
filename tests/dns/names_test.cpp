#include "dns/names.h"

#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

TEST_CASE("dns names: a name is in the zone with the longest name that it ends in") {
  const std::vector<dns::Zone> zones = {
      {"example.com"}, {"dev.example.com"}, {"ample.com"}, {"example.org"}};
  const auto zone_of = [&](std::string_view name) {
    const dns::Zone* zone = dns::zone_for(zones, name);
    return zone == nullptr ? std::string_view{} : std::string_view{zone->name};
  };
  CHECK(zone_of("_acme-challenge.example.com") == "example.com");
  CHECK(zone_of("_acme-challenge.api.dev.example.com") == "dev.example.com");
  CHECK(zone_of("dev.example.com") == "dev.example.com");
  CHECK(zone_of("example.com") == "example.com");
  CHECK(zone_of("notdev.example.com") == "example.com");
  CHECK(zone_of("x.ample.com") == "ample.com");
  CHECK(zone_of("example.net").empty());
  CHECK(zone_of("com").empty());
  CHECK(dns::zone_for({}, "example.com") == nullptr);
}

TEST_CASE("dns names: whole and relative are the same name") {
  CHECK(dns::relative_name("example.com", "_acme-challenge.www.example.com") ==
        "_acme-challenge.www");
  CHECK(dns::relative_name("example.com", "example.com") == "@");
  CHECK(dns::whole_name("example.com", "_acme-challenge.www") == "_acme-challenge.www.example.com");
  CHECK(dns::whole_name("example.com", "@") == "example.com");
}

TEST_CASE("dns names: a value is itself, bare or in quotes") {
  CHECK(dns::quoted("abc") == "\"abc\"");
  CHECK(dns::quoted("a\"b\\c") == "\"a\\\"b\\\\c\"");

  CHECK(dns::is_value("abc", "abc"));
  CHECK(dns::is_value("\"abc\"", "abc"));
  CHECK(dns::is_value("\"a\" \"bc\"", "abc"));
  CHECK(dns::is_value(dns::quoted("a\"b\\c"), "a\"b\\c"));
  CHECK(dns::is_value("\"abc\"", "\"abc\""));
  CHECK_FALSE(dns::is_value("abcd", "abc"));
  CHECK_FALSE(dns::is_value("\"abc", "abc"));
  CHECK_FALSE(dns::is_value("\"ab\"c", "abc"));
  CHECK_FALSE(dns::is_value("", "abc"));
  CHECK_FALSE(dns::is_value("\"", ""));
}
