#include <proxycore/host.h>

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

// The canonical text, or the reason why there is none.
std::string target(std::string_view text) {
  const auto parsed = Target::parse(text);
  if (!parsed) return parsed.error().message();
  CHECK(*Target::parse(parsed->text()) == *parsed);
  return parsed->text();
}

Host good() {
  return {.host = "a.test", .ip = "127.0.0.1", .target_port = 80};
}

std::string problem(Host host) {
  const auto checked = host.validate();
  if (checked) return "";
  CHECK(checked.error().code == Errc::invalid);
  return checked.error().detail;
}

}  // namespace

TEST_CASE("target: address and port, IPv6 in brackets") {
  CHECK(target("127.0.0.1:80") == "127.0.0.1:80");
  CHECK(target("[::1]:65535") == "[::1]:65535");
  CHECK(target("[2001:DB8::0:1]:1") == "[2001:db8::1]:1");
  CHECK(target("App.Internal:8080") == "app.internal:8080");
  CHECK(target("my_service:3000") == "my_service:3000");
  CHECK(target("bücher.example:80") == "xn--bcher-kva.example:80");
  CHECK(Target::parse("[::1]:80")->name == "::1");
}

TEST_CASE("target: anything else is refused, with what was expected") {
  CHECK(target("127.0.0.1") == "invalid: '127.0.0.1' is no target: expected ADDRESS:PORT");
  CHECK(target(":80") == "invalid: ':80' is no target: expected ADDRESS:PORT");
  CHECK(target("") == "invalid: '' is no target: expected ADDRESS:PORT");
  CHECK(target("[::1]") == "invalid: '[::1]' is no target: expected ADDRESS:PORT");
  CHECK(target("::1:80") ==
        "invalid: '::1:80' is no target: expected brackets around an IPv6 address");
  CHECK(target("a:0") == "invalid: 'a:0' is no target: expected a port of 1 to 65535");
  CHECK(target("a:65536") == "invalid: 'a:65536' is no target: expected a port of 1 to 65535");
  CHECK(target("a:+1") == "invalid: 'a:+1' is no target: expected a port of 1 to 65535");
  CHECK(target("a:") == "invalid: 'a:' is no target: expected a port of 1 to 65535");
  CHECK(target("[::x]:80") == "invalid: '[::x]:80' is no target: '[::x]' is no IPv6 address");
  CHECK(target("10.0.0.256:80") ==
        "invalid: '10.0.0.256:80' is no target: '10.0.0.256' is no IPv4 address");
  CHECK(target("127.1:80") == "invalid: '127.1:80' is no target: '127.1' is no IPv4 address");
  CHECK(target("*.a:80") ==
        "invalid: '*.a:80' is no target: '*.a' is no host name: label '*' has other than letters, "
        "digits, '-' and '_'");
}

TEST_CASE("host: validate brings names into their canonical form") {
  Host host = good();
  host.host = "**.Bücher.Example.";
  host.ip = "[2001:DB8::1]";
  host.targets = {"APP:81", "[::0]:82"};
  REQUIRE(host.validate());
  CHECK(host.host == "**.xn--bcher-kva.example");
  CHECK(host.ip == "2001:db8::1");
  CHECK(host.targets == std::vector<std::string>{"app:81", "[::]:82"});
  const Host before = host;
  REQUIRE(host.validate());
  CHECK(host.host == before.host);
  CHECK(host.targets == before.targets);
}

TEST_CASE("host: validate names the field, the value and what was expected") {
  CHECK(problem(good()).empty());
  Host host = good();
  host.host = "";
  CHECK(problem(host) == "field 'host': is missing");
  host.host = "a..b";
  CHECK(problem(host) == "field 'host': 'a..b' is no host name: it has an empty label");
  host = good();
  host.ip = "";
  CHECK(problem(host) == "field 'ip': is missing");
  host.ip = "1.2.3";
  CHECK(problem(host) == "field 'ip': '1.2.3' is no IPv4 address");
  host.ip = "fe80::1%eth0";
  CHECK(problem(host) == "field 'ip': 'fe80::1%eth0' is no IPv6 address");
  host.ip = "127.0.0.1:80";
  CHECK(problem(host) == "field 'ip': '127.0.0.1:80': expected an address or name without port");
  host = good();
  host.target_port = 0;
  CHECK(problem(host) == "field 'targetPort': 0 is under 1");
  host = good();
  host.targets = {"127.0.0.1:80", "x"};
  CHECK(problem(host) == "field 'targets': 'x' is no target: expected ADDRESS:PORT");
  host.targets.assign(Host::max_targets + 1, "127.0.0.1:80");
  CHECK(problem(host) == "field 'targets': 257 entries are over 256");
  host = good();
  host.connect_timeout = Millis{0};
  CHECK(problem(host) == "field 'connectTimeout': 0 is under 1");
  host.connect_timeout = Millis{600'001};
  CHECK(problem(host) == "field 'connectTimeout': 600001 is over 600000");
  host = good();
  host.first_byte_timeout = Millis{86'400'001};
  CHECK(problem(host) == "field 'firstByteTimeout': 86400001 is over 86400000");
  host = good();
  host.idle_timeout = Millis{-1};
  CHECK(problem(host) == "field 'idleTimeout': -1 is under 1");
}
