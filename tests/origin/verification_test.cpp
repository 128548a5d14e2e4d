#include "origin/verification.h"

#include "support/temp_dir.h"
#include "support/tls_rig.h"
#include <proxycore/observe.h>

#include <cstddef>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using origin::Verification;

namespace {

// What is logged while it lives.
struct Logged {
  Logged() {
    set_log_sink([this](LogLevel level, std::string_view line) {
      levels.push_back(level);
      lines.emplace_back(line);
    });
  }
  ~Logged() { set_log_sink({}); }
  Logged(const Logged&) = delete;
  Logged& operator=(const Logged&) = delete;

  std::vector<LogLevel> levels;
  std::vector<std::string> lines;
};

std::string written(const test::TempDir& directory, const std::string& name,
                    const std::string& text) {
  const std::string path = directory.file(name);
  std::ofstream(path) << text;
  return path;
}

Route route_to(std::string pattern, TargetVerify verify) {
  Route route;
  route.pattern = std::move(pattern);
  route.targets = Targets({Target{"app.internal", 443}});
  route.tls = std::make_shared<const TargetTls>(TargetTls{verify, ""});
  return route;
}

}  // namespace

TEST_CASE("verification: is by the authorities of a file") {
  const test::TempDir directory;
  TlsConfig config;
  config.origin_ca = written(directory, "ca.pem", test::test_authority().pem());
  Verification verification;
  CHECK(verification.authorities() == nullptr);
  const auto loaded = Verification::load(config);
  REQUIRE(loaded);
  verification.use(*loaded);
  REQUIRE(verification.authorities() == *loaded);
  CHECK(verification.authorities()->count() == 1);
}

TEST_CASE("verification: a file that is missing, or has none, is an error that names the key") {
  const test::TempDir directory;
  TlsConfig config;
  config.origin_ca = directory.file("none.pem");
  const auto missing = Verification::load(config);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
  CHECK(missing.error().detail ==
        "tls.origin_ca: " + config.origin_ca + ": cannot be read: No such file or directory");
  config.origin_ca = written(directory, "empty.pem", "nothing");
  const auto empty = Verification::load(config);
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code == Errc::invalid);
  CHECK(empty.error().detail.starts_with("tls.origin_ca: " + config.origin_ca + ": "));
}

TEST_CASE("verification: without a file it is by the system's, if it has any") {
  const Logged logged;
  const auto loaded = Verification::load({});
  REQUIRE(loaded);
  if (*loaded != nullptr) {
    CHECK((*loaded)->count() > 0);
    CHECK(logged.lines.empty());
  } else {
    REQUIRE(logged.lines.size() == 1);
    CHECK(logged.lines[0].find("target.authorities") != std::string::npos);
  }
}

TEST_CASE("verification: a host that goes without is warned about once") {
  const Logged logged;
  Verification verification;
  const Route chosen = route_to("a.test", TargetVerify::no);
  const Route old = route_to("*.b.test", TargetVerify::unset);
  for (int i = 0; i < 3; ++i) {
    verification.warn(chosen);
    verification.warn(old);
  }
  REQUIRE(logged.lines.size() == 2);
  for (const LogLevel level : logged.levels) CHECK(level == LogLevel::warning);
  const auto holds = [&](std::size_t line, std::string_view text) {
    return logged.lines[line].find(text) != std::string::npos;
  };
  for (const std::size_t line : {0U, 1U}) CHECK(holds(line, "target.insecure"));
  CHECK(holds(0, "host=a.test"));
  CHECK(holds(0, "target=app.internal:443"));
  CHECK(holds(0, "targetVerify is false"));
  CHECK(holds(1, "host=*.b.test"));
  CHECK(holds(1, "the record has no targetVerify"));
}

TEST_CASE("verification: warns about a bounded number of hosts") {
  const Logged logged;
  Verification verification;
  for (std::size_t i = 0; i < Verification::max_warned + 10; ++i) {
    verification.warn(route_to("h" + std::to_string(i) + ".test", TargetVerify::no));
  }
  CHECK(logged.lines.size() == Verification::max_warned);
}
