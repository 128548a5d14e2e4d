#include "server/config_keys.h"
#include <proxycore/config.h>

#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;

TEST_CASE("config reference: docs/configuration.md is what is printed") {
  const std::string path = std::string(TEST_DATA) + "/../../docs/configuration.md";
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file, path);
  const std::string written{std::istreambuf_iterator<char>(file), {}};
  const bool same = written == config_reference();
  CHECK_MESSAGE(same, "to write it anew: proxyd --print-config-reference > docs/configuration.md");
}

TEST_CASE("config reference: every key with its type, default and range") {
  const Config defaults;
  const std::string reference = config_reference();
  for (const auto& one : server::config_keys()) {
    const std::string standard = one.rule.standard.empty()
                                     ? "`" + one.shown(one.rule, defaults) + "`"
                                     : std::string(one.rule.standard);
    const std::string row = "| `" + std::string(one.rule.name) + "` | " + one.type(one.rule) +
                            " | " + standard + " | " + one.range(one.rule) + " | " +
                            std::string(one.rule.meaning) + " |\n";
    CHECK_MESSAGE(reference.find(row) != std::string::npos, row);
  }
  for (const auto& one : server::host_keys()) {
    const std::string row = "\n| `" + std::string(server::last_part(one.rule.name)) + "` | " +
                            one.type(one.rule) + " | ";
    CHECK_MESSAGE(reference.find(row) != std::string::npos, row);
  }
}
