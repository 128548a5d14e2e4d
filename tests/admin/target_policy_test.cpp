#include "admin/target_policy.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

std::string refusal(const Config& config, const Host& host) {
  const auto policy = host::TargetPolicy::create(config);
  REQUIRE(policy);
  const auto checked = admin::check_targets(*policy, host, Deadline::in(Millis{10'000}));
  return checked ? std::string() : checked.error().message();
}

Host host_at(std::string ip, std::uint16_t port, std::vector<std::string> targets = {}) {
  return {
      .host = "a.test", .ip = std::move(ip), .target_port = port, .targets = std::move(targets)};
}

}  // namespace

TEST_CASE("target check: every target of a host is looked at, and the field is told") {
  Config config;
  config.admin.listen = {"127.0.0.1:3000"};
  CHECK(refusal(config, host_at("127.0.0.1", 3001)).empty());
  CHECK(refusal(config, host_at("127.0.0.1", 3000)) ==
        "invalid: field 'ip': 127.0.0.1:3000: it is one of our own listeners; "
        "admin.allowed_targets could allow it");
  CHECK(refusal(config, host_at("10.0.0.1", 80, {"10.0.0.2:80", "169.254.169.254:80"}))
            .starts_with("invalid: field 'targets': 169.254.169.254:80: it is a link-local"));
  config.admin.allowed_targets = {"127.0.0.1"};
  CHECK(refusal(config, host_at("127.0.0.1", 3000)).empty());
}

TEST_CASE("target check: names count by what they mean, unknown ones are let pass") {
  Config config;
  config.admin.listen = {"127.0.0.1:3000", "[::1]:3000"};
  const std::string why = refusal(config, host_at("localhost", 3000));
  CHECK(why.starts_with("invalid: field 'ip': localhost:3000 is "));
  CHECK(refusal(config, host_at("localhost", 3001)).empty());
  CHECK(refusal(config, host_at("nowhere.invalid", 3000)).empty());
}
