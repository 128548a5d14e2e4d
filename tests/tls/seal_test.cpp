#include "tls/seal.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using tls::seal;
using tls::unseal;

TEST_CASE("seal: what was sealed opens, whatever its size") {
  const std::string key = tls::generate_seal_key().value();
  CHECK(key.size() == tls::seal_key_size);
  for (const std::size_t size : {0U, 1U, 16U, 300U, 100'000U}) {
    const std::string plain(size, 's');
    const auto sealed = seal(key, plain, "place");
    REQUIRE(sealed);
    CHECK(sealed->size() == size + 28);
    CHECK(unseal(key, *sealed, "place").value() == plain);
  }
}

TEST_CASE("seal: the same secret never looks the same") {
  const std::string key = tls::generate_seal_key().value();
  CHECK(seal(key, "secret", "").value() != seal(key, "secret", "").value());
  CHECK(tls::generate_seal_key().value() != key);
}

TEST_CASE("seal: neither another key, nor another place, nor a changed byte opens it") {
  const std::string key = tls::generate_seal_key().value();
  const std::string sealed = seal(key, "secret", "a").value();
  CHECK(unseal(tls::generate_seal_key().value(), sealed, "a").error().code == Errc::invalid);
  CHECK(unseal(key, sealed, "b").error().code == Errc::invalid);
  CHECK(unseal(key, sealed, "").error().code == Errc::invalid);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK(unseal(key, changed, "a").error().code == Errc::invalid);
    CHECK(unseal(key, sealed.substr(0, i), "a").error().code == Errc::invalid);
  }
  CHECK(unseal(key, sealed, "a").value() == "secret");
}

TEST_CASE("seal: a key of another size is refused") {
  CHECK(seal("short", "secret", "a").error().code == Errc::invalid);
  CHECK(unseal(std::string(31, 'k'), std::string(40, 's'), "a").error().code == Errc::invalid);
}
