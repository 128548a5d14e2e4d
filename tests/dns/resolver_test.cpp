#include "dns/resolver.h"

#include "support/dns_server.h"
#include "support/knot_server.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using dns::Resolver;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

using Values = std::vector<std::string>;

Values sorted(Result<Values> values) {
  REQUIRE_MESSAGE(values, values.error().message());
  std::sort(values->begin(), values->end());
  return *std::move(values);
}

const test::KnotServer& knot() {
  static const test::KnotServer server(
      {{"one.test",
        "@ TXT \"at the apex\"\n"
        "two TXT \"first\"\ntwo TXT \"sec\" \"ond\"\n"
        "ns2 AAAA 2001:db8::1\n@ NS ns2\n@ NS ns.other.test.\n"
        "alias CNAME two\nfar CNAME deep.two.other.test.\ndangling CNAME none.other.test.\n"
        "_acme-challenge.www CNAME abc.other.test.\n"
        "circle CNAME elcric\nelcric CNAME circle\n"
        "child NS ns.child\nns.child A 127.0.0.1\n"
        "*.wild TXT \"any\"\n"},
       {"child.one.test", "x TXT \"of the child\"\n"},
       {"other.test", "deep.two TXT \"far away\"\nabc CNAME abc2\nabc2 TXT \"token\"\n"}});
  return server;
}

Resolver resolver() {
  return Resolver({.servers = {knot().text()}});
}

}  // namespace

TEST_CASE("dns resolver: TXT values are whole, and all there") {
  Resolver dns = resolver();
  CHECK(sorted(dns.txt("two.one.test", soon())) == Values{"first", "second"});
  CHECK(sorted(dns.txt("one.test", soon())) == Values{"at the apex"});
  CHECK(sorted(dns.txt("some.wild.one.test", soon())) == Values{"any"});
  CHECK(dns.txt("ns.one.test", soon()).error().code == Errc::not_found);    // no such type
  CHECK(dns.txt("none.one.test", soon()).error().code == Errc::not_found);  // no such name
  CHECK(dns.txt("one..test", soon()).error().code == Errc::invalid);
  CHECK(dns.txt("elsewhere.example", soon()).error().code == Errc::busy);  // it refuses
}

TEST_CASE("dns resolver: CNAMEs are followed to their end, within bounds") {
  Resolver dns = resolver();
  CHECK(sorted(dns.txt("alias.one.test", soon())) == Values{"first", "second"});
  CHECK(sorted(dns.txt("far.one.test", soon())) == Values{"far away"});
  CHECK(dns.txt("dangling.one.test", soon()).error().code == Errc::not_found);
  CHECK(*dns.follow("two.one.test", soon()) == "two.one.test");
  CHECK(*dns.follow("none.one.test", soon()) == "none.one.test");
  CHECK(*dns.follow("far.one.test", soon()) == "deep.two.other.test");
  CHECK(*dns.follow("_acme-challenge.www.one.test", soon()) == "abc2.other.test");
  CHECK(dns.follow("circle.one.test", soon()).error().code == Errc::limit);
  const auto circle = dns.txt("circle.one.test", soon());
  REQUIRE_FALSE(circle);
  CHECK((circle.error().code == Errc::limit || circle.error().code == Errc::busy));
}

TEST_CASE("dns resolver: the closest zone is found, for names that are there and that are not") {
  Resolver dns = resolver();
  CHECK(*dns.zone_of("one.test", soon()) == "one.test");
  CHECK(*dns.zone_of("two.one.test", soon()) == "one.test");
  CHECK(*dns.zone_of("_acme-challenge.a.b.c.one.test", soon()) == "one.test");
  CHECK(*dns.zone_of("_acme-challenge.x.child.one.test", soon()) == "child.one.test");
  CHECK(*dns.zone_of("far.one.test", soon()) == "one.test");  // not that of its target
  CHECK(*dns.zone_of("dangling.one.test", soon()) == "one.test");
}

TEST_CASE("dns resolver: all addresses of all servers of a zone, of both kinds") {
  Resolver dns = resolver();
  const auto servers = dns.servers_of("one.test", soon());
  REQUIRE_MESSAGE(servers, servers.error().message());
  Values texts;
  for (const dns::Server& server : *servers) texts.push_back(server.text());
  CHECK(sorted(texts) == Values{"ns.one.test (127.0.0.1:53)", "ns.other.test (127.0.0.1:53)",
                                "ns2.one.test ([2001:db8::1]:53)"});
  CHECK(dns.servers_of("two.one.test", soon()).error().code == Errc::not_found);
}

TEST_CASE("dns resolver: servers that are configured are asked in place of the zone's own") {
  Resolver dns({.servers = {knot().text()}, .authoritative = {"192.0.2.1", "[2001:db8::2]:5300"}});
  const auto servers = dns.servers_of("one.test", soon());
  REQUIRE(servers);
  REQUIRE(servers->size() == 2);
  CHECK((*servers)[0].text() == "192.0.2.1:53");
  CHECK((*servers)[1].text() == "[2001:db8::2]:5300");
}

TEST_CASE("dns resolver: where no zone can be found, the recursive servers are asked") {
  test::DnsServer lonely;  // knows no SOA
  Resolver dns({.servers = {lonely.text()}});
  CHECK(dns.zone_of("a.b.test", soon()).error().code == Errc::not_found);
  const auto servers = dns.servers_for("a.b.test", soon());
  REQUIRE(servers);
  REQUIRE(servers->size() == 1);
  CHECK(servers->front().text() == lonely.text());
}

TEST_CASE("dns resolver: a server that does not do SOA records knows no zone") {
  test::DnsServer simple([](std::string_view query, test::DnsServer::Over) {
    return std::vector<std::string>{test::txt_answer(query, 4, {})};
  });
  Resolver dns({.servers = {simple.text()}});
  CHECK(dns.zone_of("a.b.test", soon()).error().code == Errc::not_found);
  CHECK(dns.servers_for("a.b.test", soon())->size() == 1);
}

TEST_CASE("dns resolver: the next server is asked when one cannot tell") {
  const test::Door nobody("127.0.0.1", test::Answer::refuses);
  test::DnsServer fails([](std::string_view query, test::DnsServer::Over) {
    return std::vector<std::string>{test::txt_answer(query, 2, {})};
  });
  test::DnsServer knows;
  knows.set("a.test", {"one"});
  Resolver dns({.servers = {nobody.address.text(), fails.text(), knows.text()}});
  CHECK(sorted(dns.txt("a.test", soon())) == Values{"one"});
  Resolver worse({.servers = {nobody.address.text(), fails.text()}});
  const auto failed = worse.txt("a.test", soon());
  CHECK(failed.error().code == Errc::busy);
  CHECK(failed.error().detail.find("SERVFAIL") != std::string::npos);
}

TEST_CASE("dns resolver: a server that is no address is told, whatever is asked") {
  for (const std::string bad : {"ns.example", "127.0.0.1:0", "127.0.0.1:x", "", "[::1"}) {
    CAPTURE(bad);
    Resolver servers({.servers = {bad}});
    const auto txt = servers.txt("a.test", soon());
    CHECK(txt.error().code == Errc::invalid);
    CHECK(txt.error().detail.find(bad) != std::string::npos);
    Resolver authoritative({.servers = {"127.0.0.1"}, .authoritative = {bad}});
    CHECK(authoritative.servers_for("a.test", soon()).error().code == Errc::invalid);
  }
  CHECK_FALSE(Resolver().txt("a..test", soon()));
}

TEST_CASE("dns resolver: a deadline that has passed and a stop request are kept to") {
  Resolver dns = resolver();
  CHECK(dns.txt("two.one.test", Deadline::in(Millis{0})).error().code == Errc::timeout);
  std::stop_source stop;
  stop.request_stop();
  CHECK(dns.txt("two.one.test", Deadline::never(stop.get_token())).error().code == Errc::cancelled);
}
