#include "dns/words.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

TEST_CASE("dns words: one line, without control characters") {
  CHECK(dns::fit_for_people("  Bad\r\n\t request \x1b[31m", {}) == "Bad request ?[31m");
  CHECK(dns::fit_for_people("", {}).empty());
}

TEST_CASE("dns words: secrets are blotted out wherever they are") {
  const std::vector<std::string> secrets = {"tok-1", ""};
  CHECK(dns::fit_for_people("tok-1 is not tok-2, tok-1", secrets) == "*** is not tok-2, ***");
}

TEST_CASE("dns words: they are cut, and no half of a secret is left at the end") {
  const std::vector<std::string> secrets = {"secret"};
  const std::string line = dns::fit_for_people(std::string(397, 'x') + "secretsecret", secrets);
  CHECK(line == std::string(397, 'x') + "***...");
}
