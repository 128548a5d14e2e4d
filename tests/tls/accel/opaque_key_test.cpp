#include "support/mbedtls_builtin.h"
#include "support/tls_ends.h"
#include "tls/accel/driver.h"
#include "tls/accel/private_key.h"

#include <string>

#include <doctest/doctest.h>
#include <mbedtls/pk.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

// The same key as mbedTLS parses it and as libcrypto does, the latter as the driver has it.
struct Both {
  explicit Both(KeyKind kind) {
    const std::string& pem = identity(kind).key_pem;
    BIO* const in = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    theirs = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO_free(in);
    REQUIRE(theirs != nullptr);
    mbedtls_pk_init(&ours);
    REQUIRE(mbedtls_pk_parse_key(&ours, reinterpret_cast<const unsigned char*>(pem.c_str()),
                                 pem.size() + 1, nullptr, 0, tls::random_bytes, nullptr) == 0);
  }
  Both(const Both&) = delete;
  Both& operator=(const Both&) = delete;
  ~Both() {
    EVP_PKEY_free(theirs);
    mbedtls_pk_free(&ours);
  }
  [[nodiscard]] const std::uint8_t* handle() const {
    return reinterpret_cast<const std::uint8_t*>(&theirs);
  }
  psa_status_t sign(psa_algorithm_t alg, const Octets& hash, Octets& signature) const {
    std::size_t size = 0;
    const psa_status_t status =
        proxycore_opaque_sign_hash(nullptr, handle(), sizeof theirs, alg, hash.data(), hash.size(),
                                   signature.data(), signature.size(), &size);
    signature.resize(status == PSA_SUCCESS ? size : 0);
    return status;
  }
  EVP_PKEY* theirs;
  mbedtls_pk_context ours;
};

}  // namespace

TEST_CASE("opaque_key: the public key is the one mbedTLS exports") {
  for (const KeyKind kind : {KeyKind::p256, KeyKind::p384, KeyKind::rsa}) {
    const Both key(kind);
    psa_key_attributes_t attributes = psa_key_attributes_init();
    REQUIRE(mbedtls_pk_get_psa_attributes(&key.ours, PSA_KEY_USAGE_SIGN_HASH, &attributes) == 0);
    mbedtls_svc_key_id_t id = 0;
    REQUIRE(mbedtls_pk_import_into_psa(&key.ours, &attributes, &id) == PSA_SUCCESS);
    Octets expected(600);
    std::size_t size = 0;
    REQUIRE(psa_export_public_key(id, expected.data(), expected.size(), &size) == PSA_SUCCESS);
    expected.resize(size);
    psa_destroy_key(id);

    Octets exported(600);
    REQUIRE(proxycore_opaque_export_public_key(nullptr, key.handle(), sizeof key.theirs,
                                               exported.data(), exported.size(),
                                               &size) == PSA_SUCCESS);
    exported.resize(size);
    CHECK(exported == expected);
    Octets small(expected.size() - 1);
    CHECK(proxycore_opaque_export_public_key(nullptr, key.handle(), sizeof key.theirs, small.data(),
                                             small.size(), &size) == PSA_ERROR_BUFFER_TOO_SMALL);
  }
}

TEST_CASE("opaque_key: mbedTLS verifies what libcrypto signs with it") {
  for (const auto& [hash_alg, md, hash_size] :
       {std::tuple{PSA_ALG_SHA_256, MBEDTLS_MD_SHA256, 32U},
        std::tuple{PSA_ALG_SHA_384, MBEDTLS_MD_SHA384, 48U},
        std::tuple{PSA_ALG_SHA_512, MBEDTLS_MD_SHA512, 64U}}) {
    const Octets hash = random_octets(hash_size);
    for (const KeyKind kind : {KeyKind::p256, KeyKind::p384}) {
      const Both key(kind);
      const std::size_t bits = kind == KeyKind::p256 ? 256 : 384;
      Octets signature(96);
      REQUIRE(key.sign(PSA_ALG_ECDSA(hash_alg), hash, signature) == PSA_SUCCESS);
      REQUIRE(signature.size() == bits / 4);
      Octets point(97);
      std::size_t size = 0;
      REQUIRE(proxycore_opaque_export_public_key(nullptr, key.handle(), sizeof key.theirs,
                                                 point.data(), point.size(), &size) == PSA_SUCCESS);
      const psa_key_attributes_t attributes =
          attributes_of(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), bits);
      CHECK(mbedtls_psa_ecdsa_verify_hash(&attributes, point.data(), size, PSA_ALG_ECDSA(hash_alg),
                                          hash.data(), hash.size(), signature.data(),
                                          signature.size()) == PSA_SUCCESS);
    }
    Both rsa(KeyKind::rsa);
    Octets signature(256);
    REQUIRE(rsa.sign(PSA_ALG_RSA_PKCS1V15_SIGN(hash_alg), hash, signature) == PSA_SUCCESS);
    CHECK(mbedtls_pk_verify(&rsa.ours, md, hash.data(), hash.size(), signature.data(),
                            signature.size()) == 0);
    REQUIRE(rsa.sign(PSA_ALG_RSA_PSS(hash_alg), hash, signature) == PSA_SUCCESS);
    // TLS wants the salt as long as the digest.
    const mbedtls_pk_rsassa_pss_options options{md, static_cast<int>(hash_size)};
    CHECK(mbedtls_pk_verify_ext(MBEDTLS_PK_RSASSA_PSS, &options, &rsa.ours, md, hash.data(),
                                hash.size(), signature.data(), signature.size()) == 0);
  }
}

TEST_CASE("opaque_key: says what it does not sign, and where there is no room") {
  const Octets hash = random_octets(32);
  const Both rsa(KeyKind::rsa);
  const Both ec(KeyKind::p256);
  Octets signature(256);
  CHECK(rsa.sign(PSA_ALG_RSA_PKCS1V15_SIGN_RAW, hash, signature) == PSA_ERROR_NOT_SUPPORTED);
  signature.resize(256);
  CHECK(rsa.sign(PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, signature) == PSA_ERROR_NOT_SUPPORTED);
  signature.resize(256);
  CHECK(rsa.sign(PSA_ALG_RSA_PSS(PSA_ALG_SHA_384), hash, signature) == PSA_ERROR_INVALID_ARGUMENT);
  signature.resize(255);
  CHECK(rsa.sign(PSA_ALG_RSA_PSS(PSA_ALG_SHA_256), hash, signature) == PSA_ERROR_BUFFER_TOO_SMALL);
  signature.resize(63);
  CHECK(ec.sign(PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, signature) == PSA_ERROR_BUFFER_TOO_SMALL);
  signature.resize(64);
  CHECK(ec.sign(PSA_ALG_DETERMINISTIC_ECDSA(PSA_ALG_SHA_256), hash, signature) ==
        PSA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("opaque_key: PSA keeps a handle of it and nothing else") {
  mbedtls_pk_context key;
  mbedtls_pk_init(&key);
  REQUIRE(tls::import_private_key(identity(KeyKind::rsa).key_pem, key));
  CHECK(mbedtls_pk_get_type(&key) == MBEDTLS_PK_OPAQUE);
  tls::free_private_key(key);
  // Something that is no handle is no key.
  std::size_t size = 0;
  std::size_t bits = 0;
  Octets room(8);
  CHECK(proxycore_opaque_import_key(nullptr, room.data(), 7, room.data(), 8, &size, &bits) ==
        PSA_ERROR_INVALID_ARGUMENT);
  CHECK(proxycore_opaque_import_key(nullptr, room.data(), 8, room.data(), 8, &size, &bits) ==
        PSA_ERROR_INVALID_ARGUMENT);
}
