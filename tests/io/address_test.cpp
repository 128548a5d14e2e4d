#include "io/address.h"

#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/un.h>

#include <doctest/doctest.h>

using namespace proxycore;
using io::Address;
using io::Network;

namespace {

Address at(std::string_view ip, std::uint16_t port = 0) {
  const auto address = Address::parse(ip, port);
  REQUIRE_MESSAGE(address.has_value(), ip);
  return *address;
}

bool contains(std::string_view network, std::string_view ip) {
  const auto parsed = Network::parse(network);
  REQUIRE_MESSAGE(parsed.has_value(), network);
  return parsed->contains(at(ip));
}

}  // namespace

TEST_CASE("address: IP literals of both families, and nothing else") {
  CHECK(at("127.0.0.1", 80).text() == "127.0.0.1:80");
  CHECK(at("::1", 80).text() == "[::1]:80");
  CHECK(at("2001:DB8:0:0::1", 443).text() == "[2001:db8::1]:443");
  CHECK(at("255.255.255.255").family() == AF_INET);
  CHECK(at("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255").family() == AF_INET6);
  for (const std::string_view wrong :
       {"", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", " 1.2.3.4", "1.2.3.4 ",
        "[::1]", "::1%lo", ":::", "1:2:3:4:5:6:7:8:9", "127.0.0.1:80", "0x7f000001",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
    CAPTURE(wrong);
    CHECK_FALSE(Address::parse(wrong, 0));
  }
  CHECK_FALSE(Address::parse(std::string_view("127.0.0.1\0x", 11), 0));
}

TEST_CASE("address: IPv4 that comes as IPv6 is shown, and compared, as IPv4") {
  CHECK(at("::ffff:192.0.2.7", 80).ip() == "192.0.2.7");
  CHECK(at("::ffff:192.0.2.7", 80).text() == "192.0.2.7:80");
  CHECK(at("::ffff:192.0.2.7").bits() == at("192.0.2.7").bits());
  CHECK_FALSE(at("::192.0.2.7").bits() == at("192.0.2.7").bits());
}

TEST_CASE("address: the port is apart from the address") {
  Address address = at("::1", 80);
  address.set_port(8080);
  CHECK(address.port() == 8080);
  CHECK(address.bits() == at("::1").bits());
  CHECK(address.size() == sizeof(sockaddr_in6));
  CHECK(at("127.0.0.1").size() == sizeof(sockaddr_in));
}

TEST_CASE("address: what is neither IPv4 nor IPv6 is unspecified") {
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  const Address address(reinterpret_cast<const sockaddr&>(path));
  CHECK(address.unspecified());
  CHECK(Address().unspecified());
  CHECK(address.ip().empty());
  CHECK(address.port() == 0);
  CHECK(address.size() == 0);
  CHECK_FALSE(Network::parse("::/0")->contains(address));
}

TEST_CASE("address: is taken from the system's form") {
  sockaddr_in6 from{};
  from.sin6_family = AF_INET6;
  from.sin6_port = htons(443);
  from.sin6_addr = in6addr_loopback;
  CHECK(Address(reinterpret_cast<const sockaddr&>(from)).text() == "[::1]:443");
}

TEST_CASE("network: holds the addresses that share its prefix (RFC 4632)") {
  CHECK(contains("10.0.0.0/8", "10.255.1.2"));
  CHECK_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
  CHECK(contains("192.0.2.128/25", "192.0.2.129"));
  CHECK_FALSE(contains("192.0.2.128/25", "192.0.2.127"));
  CHECK(contains("192.0.2.7", "192.0.2.7"));
  CHECK_FALSE(contains("192.0.2.7", "192.0.2.6"));
  CHECK(contains("0.0.0.0/0", "203.0.113.1"));
  CHECK(contains("2001:db8::/32", "2001:db8:ffff::1"));
  CHECK_FALSE(contains("2001:db8::/32", "2001:db9::1"));
  CHECK(contains("2001:db8::/65", "2001:db8::7fff:0:0:1"));
  CHECK_FALSE(contains("2001:db8::/65", "2001:db8::8000:0:0:1"));
  CHECK(contains("2001:db8::/64", "2001:db8::ffff:0:0:1"));
  CHECK(contains("::1", "::1"));
  CHECK_FALSE(contains("::1", "::2"));
}

TEST_CASE("network: bits behind the prefix mean nothing") {
  CHECK(contains("10.1.2.3/8", "10.9.9.9"));
  CHECK(contains("2001:db8::1/32", "2001:db8::2"));
}

TEST_CASE("network: IPv4 ranges hold IPv4 that comes as IPv6, and no IPv6") {
  CHECK(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
  CHECK_FALSE(contains("0.0.0.0/0", "::1"));
  CHECK(contains("::ffff:0:0/96", "10.1.2.3"));
  CHECK(contains("::/0", "10.1.2.3"));
}

TEST_CASE("network: says what it expected") {
  for (const std::string_view wrong :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8",
        "example.test", "10.0.0.0/ 8", "10.0.0.0/255.0.0.0"}) {
    CAPTURE(wrong);
    const auto network = Network::parse(wrong);
    REQUIRE_FALSE(network);
    CHECK(network.error().code == Errc::invalid);
    CHECK(network.error().detail ==
          "expected an address or range like 10.0.0.0/8, found '" + std::string(wrong) + "'");
  }
}
