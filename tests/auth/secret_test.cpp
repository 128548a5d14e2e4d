#include "auth/secret.h"

#include <set>

#include <doctest/doctest.h>

namespace proxycore::auth {

TEST_CASE("secret: random texts have two digits a byte and do not come twice") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto text = random_hex(16);
    REQUIRE(text);
    CHECK(text->size() == 32);
    CHECK(text->find_first_not_of("0123456789abcdef") == std::string::npos);
    seen.insert(*text);
  }
  CHECK(seen.size() == 1000);
  CHECK(random_hex(64)->size() == 128);
}

TEST_CASE("secret: a digest is SHA-256 (FIPS 180-4)") {
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("secret: texts of different lengths are not equal") {
  CHECK(equal("abc", "abc"));
  CHECK_FALSE(equal("abc", "abd"));
  CHECK_FALSE(equal("abc", "abcd"));
  CHECK_FALSE(equal("", "a"));
  CHECK(equal("", ""));
}

}  // namespace proxycore::auth
