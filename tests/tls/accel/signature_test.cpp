#include "support/mbedtls_builtin.h"
#include "tls/accel/driver.h"
#include "tls/accel/start.h"

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

struct Signed {
  psa_key_attributes_t attributes;
  Octets key, hash, signature;
};

// Signed by mbedTLS.
Signed sign(std::size_t bits, std::size_t hash_size) {
  const psa_key_type_t pair = PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1);
  const psa_key_attributes_t secret = attributes_of(pair, bits);
  Signed made{attributes_of(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), bits), Octets(97),
              random_octets(hash_size), Octets(96)};
  Octets key(bits / 8);
  std::size_t size = 0;
  REQUIRE(mbedtls_psa_ecp_generate_key(&secret, key.data(), key.size(), &size) == PSA_SUCCESS);
  REQUIRE(mbedtls_psa_ecp_export_public_key(&secret, key.data(), key.size(), made.key.data(),
                                            made.key.size(), &size) == PSA_SUCCESS);
  made.key.resize(size);
  REQUIRE(mbedtls_psa_ecdsa_sign_hash(&secret, key.data(), key.size(),
                                      PSA_ALG_ECDSA(PSA_ALG_SHA_256), made.hash.data(),
                                      made.hash.size(), made.signature.data(),
                                      made.signature.size(), &size) == PSA_SUCCESS);
  made.signature.resize(size);
  return made;
}

template <class Verify>
psa_status_t verified(Verify by, const Signed& it) {
  return by(&it.attributes, it.key.data(), it.key.size(), PSA_ALG_ECDSA(PSA_ALG_SHA_256),
            it.hash.data(), it.hash.size(), it.signature.data(), it.signature.size());
}

}  // namespace

TEST_CASE("signature: what mbedTLS signs is right, and a changed bit is not") {
  tls::start_crypto();
  for (const std::size_t bits : {256U, 384U}) {
    for (const std::size_t hash_size : {20U, 32U, 48U, 64U}) {
      const Signed good = sign(bits, hash_size);
      CHECK(verified(proxycore_verify_hash, good) == PSA_SUCCESS);
      for (const std::size_t at : {std::size_t{0}, bits / 8 - 1, bits / 8, bits / 4 - 1}) {
        Signed changed = good;
        changed.signature[at] ^= 4;
        CHECK(verified(proxycore_verify_hash, changed) == PSA_ERROR_INVALID_SIGNATURE);
      }
      Signed other = good;
      other.hash[0] ^= 0x80;
      CHECK(verified(proxycore_verify_hash, other) == PSA_ERROR_INVALID_SIGNATURE);
      other = good;
      other.key = sign(bits, hash_size).key;
      CHECK(verified(proxycore_verify_hash, other) == PSA_ERROR_INVALID_SIGNATURE);
    }
  }
}

TEST_CASE("signature: malformed ones and bad points are refused as mbedTLS refuses them") {
  for (const std::size_t bits : {256U, 384U}) {
    const Signed good = sign(bits, 32);
    for (const std::size_t size : {std::size_t{0}, bits / 4 - 1, bits / 4 + 1}) {
      Signed cut = good;
      cut.signature.resize(size);
      CHECK(verified(proxycore_verify_hash, cut) == PSA_ERROR_INVALID_SIGNATURE);
    }
    Signed zero = good;
    zero.signature.assign(bits / 4, 0);
    CHECK(verified(proxycore_verify_hash, zero) == PSA_ERROR_INVALID_SIGNATURE);
    Signed huge = good;
    huge.signature.assign(bits / 4, 0xff);
    CHECK(verified(proxycore_verify_hash, huge) == PSA_ERROR_INVALID_SIGNATURE);
    Signed off = good;
    off.key.back() ^= 1;
    CHECK(verified(proxycore_verify_hash, off) != PSA_SUCCESS);
    CHECK(verified(mbedtls_psa_ecdsa_verify_hash, off) != PSA_SUCCESS);
    Signed hybrid = good;
    hybrid.key[0] = static_cast<std::uint8_t>(6 | (good.key.back() & 1));
    CHECK(verified(proxycore_verify_hash, hybrid) != PSA_SUCCESS);
  }
}

TEST_CASE("signature: other keys are left to mbedTLS") {
  Signed pair = sign(256, 32);
  pair.attributes = attributes_of(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1), 256);
  CHECK(verified(proxycore_verify_hash, pair) == PSA_ERROR_NOT_SUPPORTED);
  Signed k1 = sign(256, 32);
  k1.attributes = attributes_of(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_K1), 256);
  CHECK(verified(proxycore_verify_hash, k1) == PSA_ERROR_NOT_SUPPORTED);
  Signed rsa = sign(256, 32);
  rsa.attributes = attributes_of(PSA_KEY_TYPE_RSA_PUBLIC_KEY, 2048);
  CHECK(verified(proxycore_verify_hash, rsa) == PSA_ERROR_NOT_SUPPORTED);
}
