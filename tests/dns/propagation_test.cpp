#include "dns/propagation.h"

#include "support/dns_server.h"

#include <atomic>
#include <stop_token>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using dns::Resolver;
using test::DnsServer;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken
constexpr Millis interval{10};

const std::string name = "_acme-challenge.a.test";

Deadline soon() {
  return Deadline::in(patience);
}

Resolver asking(std::vector<std::string> authoritative) {
  return Resolver({.servers = {"127.0.0.1"}, .authoritative = std::move(authoritative)});
}

}  // namespace

TEST_CASE("propagation: a look counts who has all values, and names the first who has not") {
  DnsServer first;
  DnsServer second;
  first.set(name, {"one", "two", "another"});
  second.set(name, {"two"});
  Resolver resolver = asking({first.text(), second.text()});
  const auto servers = resolver.servers_for(name, soon());
  REQUIRE(servers);
  const std::vector<std::string> values = {"one", "two"};
  auto sighting = dns::look(resolver, *servers, name, values, soon());
  REQUIRE(sighting);
  CHECK(sighting->servers == 2);
  CHECK(sighting->seen == 1);
  CHECK(sighting->missing == second.text() + ": it lacks 1 of 2 values, and has 1 in all");
  CHECK_FALSE(sighting->complete());
  second.set(name, {"two", "one"});
  sighting = dns::look(resolver, *servers, name, values, soon());
  REQUIRE(sighting);
  CHECK(sighting->complete());
}

TEST_CASE("propagation: waits until all servers have all values") {
  DnsServer first;
  first.set(name, {"one"});
  // Has it when it is asked for the third time.
  std::atomic<int> asked{0};
  DnsServer second([&](std::string_view query, DnsServer::Over) {
    const bool has = ++asked >= 3;
    return std::vector<std::string>{test::txt_answer(
        query, 0, has ? std::vector<std::string>{"one"} : std::vector<std::string>{})};
  });
  Resolver resolver = asking({first.text(), second.text()});
  const auto seen =
      dns::await_txt(resolver, name, std::vector<std::string>{"one"}, interval, soon());
  CHECK_MESSAGE(seen, seen.error().message());
  CHECK(asked == 3);
}

TEST_CASE("propagation: at the deadline it is told who did not have it, and what they said") {
  DnsServer has;
  has.set(name, {"one"});
  DnsServer lacks;
  Resolver resolver = asking({has.text(), lacks.text()});
  const auto late = dns::await_txt(resolver, name, std::vector<std::string>{"one"}, interval,
                                   Deadline::in(Millis{300}));
  CHECK(late.error().code == Errc::timeout);
  CHECK(late.error().detail.find(name) != std::string::npos);
  CHECK(late.error().detail.find("1 of 2 servers") != std::string::npos);
  CHECK(late.error().detail.find(lacks.text()) != std::string::npos);
  CHECK(late.error().detail.find("no TXT record") != std::string::npos);
}

TEST_CASE("propagation: a server that is dead is not taken for one that has it") {
  DnsServer has;
  has.set(name, {"one"});
  const test::Door dead("127.0.0.1", test::Answer::refuses);
  Resolver resolver = asking({has.text(), dead.address.text()});
  const auto late = dns::await_txt(resolver, name, std::vector<std::string>{"one"}, interval,
                                   Deadline::in(Millis{300}));
  CHECK(late.error().code == Errc::timeout);
  CHECK(late.error().detail.find(dead.address.text()) != std::string::npos);
}

TEST_CASE("propagation: servers that this machine has no route to are left out") {
  DnsServer has;
  has.set(name, {"one"});
  // An address that nothing can be sent to.
  Resolver resolver = asking({"[ff01::1]:9", has.text()});
  const auto servers = resolver.servers_for(name, soon());
  const auto sighting =
      dns::look(resolver, *servers, name, std::vector<std::string>{"one"}, soon());
  REQUIRE(sighting);
  CHECK(sighting->seen == 1);
}

TEST_CASE("propagation: a stop request ends the wait") {
  std::stop_source stop;
  DnsServer lacks([&](std::string_view query, DnsServer::Over) {
    stop.request_stop();
    return std::vector<std::string>{test::txt_answer(query, 0, {})};
  });
  Resolver resolver = asking({lacks.text()});
  const auto ended = dns::await_txt(resolver, name, std::vector<std::string>{"one"},
                                    Millis{3'600'000}, Deadline::never(stop.get_token()));
  CHECK(ended.error().code == Errc::cancelled);
}

TEST_CASE("propagation: while no server is found, that is what is told") {
  const test::Door dead("127.0.0.1", test::Answer::refuses);
  Resolver resolver({.servers = {dead.address.text()}});
  const auto late = dns::await_txt(resolver, name, std::vector<std::string>{"one"}, interval,
                                   Deadline::in(Millis{300}));
  CHECK(late.error().code == Errc::timeout);
  CHECK(late.error().detail.find(dead.address.text()) != std::string::npos);
  CHECK(dns::await_txt(resolver, "a..test", std::vector<std::string>{"one"}, interval, soon())
            .error()
            .code == Errc::invalid);
}
