#include "host/target_policy.h"

#include "io/resolver.h"
#include "support/eventually.h"

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <ifaddrs.h>

using namespace proxycore;
using host::TargetPolicy;

namespace {

std::string objection(const TargetPolicy& policy, std::string_view ip, std::uint16_t port) {
  return std::string(policy.objection(*io::Address::parse(ip, port)));
}

bool allows(const TargetPolicy& policy, std::string_view ip, std::uint16_t port) {
  return objection(policy, ip, port).empty();
}

TargetPolicy of(const Config& config) {
  auto made = TargetPolicy::create(config);
  REQUIRE(made);
  return *std::move(made);
}

// An address that this machine has besides the loopback ones.
std::optional<io::Address> own_address() {
  ifaddrs* all = nullptr;
  std::optional<io::Address> found;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* at = all; at != nullptr && !found; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    const io::Address address(*at->ifa_addr);
    if (!address.ip().starts_with("127.")) found = address;
  }
  ::freeifaddrs(all);
  return found;
}

}  // namespace

TEST_CASE("target policy: link-local addresses are refused, however they are written") {
  const TargetPolicy policy;
  for (const char* ip : {"169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254",
                         "64:ff9b::169.254.169.254", "fe80::1", "febf::1", "fd00:ec2::254"}) {
    CAPTURE(ip);
    CHECK(objection(policy, ip, 80) == "it is a link-local address");
  }
  for (const char* ip : {"127.0.0.1", "10.0.0.1", "169.253.255.255", "169.255.0.0", "::1",
                         "fec0::1", "fd00:ec2::253", "2001:db8::1"}) {
    CAPTURE(ip);
    CHECK(allows(policy, ip, 80));
  }
}

TEST_CASE("target policy: listeners of our own are refused by their very address and port") {
  Config config;
  config.listen.admin = {"127.0.0.1:9100", "unix:/run/x.sock"};
  config.listen.http = {"127.0.0.1:80"};
  config.admin.listen = {"[::1]:3000"};
  config.admin.https = {"127.0.0.2:3443", "127.0.0.1:0"};
  const TargetPolicy policy = of(config);
  CHECK(objection(policy, "127.0.0.1", 9100) == "it is one of our own listeners");
  CHECK_FALSE(allows(policy, "::ffff:127.0.0.1", 9100));
  CHECK_FALSE(allows(policy, "0.0.0.0", 9100));
  CHECK_FALSE(allows(policy, "::ffff:0.0.0.0", 9100));
  CHECK_FALSE(allows(policy, "::1", 3000));
  CHECK_FALSE(allows(policy, "::", 3000));
  CHECK_FALSE(allows(policy, "127.0.0.2", 3443));
  CHECK(allows(policy, "127.0.0.1", 9101));
  CHECK(allows(policy, "127.0.0.2", 9100));
  CHECK(allows(policy, "127.0.0.1", 3000));
  CHECK(allows(policy, "10.1.2.3", 9100));
  CHECK(allows(policy, "127.0.0.1", 80));  // for visitors
}

TEST_CASE("target policy: a listener on every address is refused by each of this machine's") {
  for (const char* text : {"*:9100", "0.0.0.0:9100", "[::]:9100"}) {
    CAPTURE(text);
    Config config;
    config.listen.admin = {text};
    const TargetPolicy policy = of(config);
    for (const char* ip : {"127.0.0.1", "127.7.7.7", "::1", "0.0.0.0", "::"}) {
      CAPTURE(ip);
      CHECK_FALSE(allows(policy, ip, 9100));
    }
    if (const auto own = own_address()) {
      CAPTURE(own->ip());
      CHECK_FALSE(allows(policy, own->ip(), 9100));
      CHECK(allows(policy, own->ip(), 9101));
    }
    CHECK(allows(policy, "192.0.2.7", 9100));
    CHECK(allows(policy, "2001:db8::7", 9100));
  }
}

TEST_CASE("target policy: the store's server is refused") {
  Config config;
  config.store.url = "redis://user:secret@10.0.0.7/0";
  const TargetPolicy policy = of(config);
  CHECK(objection(policy, "10.0.0.7", 6379) == "it is the store's server");
  CHECK(allows(policy, "10.0.0.7", 80));
  CHECK(allows(policy, "10.0.0.8", 6379));
  config.store.url = "redis+unix:///run/redis.sock";
  CHECK(allows(of(config), "127.0.0.1", 6379));
}

TEST_CASE("target policy: until a store's name is known, nobody gets to its port") {
  static std::atomic<bool> answers;
  answers = false;
  Config config;
  config.store.url = "redis://redis.test:6400";
  auto policy = TargetPolicy::create(config, [](const std::string& name) {
    CHECK(name == "redis.test");
    answers.wait(false);
    return io::Addresses({*io::Address::parse("10.0.0.9", 0)});
  });
  REQUIRE(policy);
  CHECK(objection(*policy, "10.0.0.1", 6400) == "it may be the store's server, which is not known");
  CHECK(allows(*policy, "10.0.0.9", 6401));
  answers = true;
  answers.notify_all();
  CHECK(test::eventually([&] { return allows(*policy, "10.0.0.1", 6400); }));
  CHECK(objection(*policy, "10.0.0.9", 6400) == "it is the store's server");
}

TEST_CASE("target policy: the configuration denies further ranges, and allows before all") {
  Config config;
  config.listen.admin = {"127.0.0.1:9100"};
  config.admin.denied_targets = {"10.0.0.0/8", "127.0.0.9"};
  config.admin.allowed_targets = {"10.1.0.0/16", "169.254.10.0/24", "127.0.0.1"};
  const TargetPolicy policy = of(config);
  CHECK(objection(policy, "10.2.0.1", 80) == "admin.denied_targets has it");
  CHECK_FALSE(allows(policy, "127.0.0.9", 80));
  CHECK(allows(policy, "10.1.0.1", 80));
  CHECK(allows(policy, "169.254.10.1", 80));
  CHECK_FALSE(allows(policy, "169.254.11.1", 80));
  CHECK(allows(policy, "127.0.0.1", 9100));
}

TEST_CASE("target policy: a range that is none is an error that names the key") {
  Config config;
  config.admin.denied_targets = {"10.0.0.0/99"};
  const auto refused = TargetPolicy::create(config);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::invalid);
  CHECK(refused.error().detail.starts_with("admin.denied_targets: expected"));
}
