#include "tls/digest.h"

#include "base/text.h"

#include <doctest/doctest.h>

using namespace proxycore;
using tls::Hash;

namespace {
std::string hex_of(std::string_view bytes) {
  return base::hex({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
}
}  // namespace

TEST_CASE("digest: SHA-256 of known texts (FIPS 180-4)") {
  CHECK(base::hex(tls::sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(base::hex(tls::sha256("")) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("digest: HMAC of known texts (RFC 2202 §3, RFC 4231 §4.3)") {
  const std::string key = "Jefe";
  const std::string data = "what do ya want for nothing?";
  CHECK(hex_of(tls::hmac(Hash::sha1, key, data).value()) ==
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  CHECK(hex_of(tls::hmac(Hash::sha224, key, data).value()) ==
        "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44");
  CHECK(hex_of(tls::hmac(Hash::sha256, key, data).value()) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex_of(tls::hmac(Hash::sha384, key, data).value()) ==
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
        "8e2240ca5e69e2c78b3239ecfab21649");
  CHECK(hex_of(tls::hmac(Hash::sha512, key, data).value()) ==
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
  CHECK(tls::hmac(Hash::sha256, "", "").value().size() == 32);
  // Longer than a block of the hash.
  CHECK(hex_of(tls::hmac(Hash::sha256, std::string(131, '\xaa'),
                         "Test Using Larger Than Block-Size Key - Hash Key First")
                   .value()) == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("digest: equal() compares all of it") {
  CHECK(tls::equal("", ""));
  CHECK(tls::equal("same", "same"));
  CHECK_FALSE(tls::equal("same", "sane"));
  CHECK_FALSE(tls::equal("same", "sam"));
  CHECK_FALSE(tls::equal("", "x"));
}
