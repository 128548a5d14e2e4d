#include "tls/accel/private_key.h"

#include "support/tls_ends.h"
#include "tls/accel/random.h"

#include <array>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

struct Key {
  Key() { mbedtls_pk_init(&context); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { tls::free_private_key(context); }
  mbedtls_pk_context context;
};

struct Chain {
  explicit Chain(const std::string& pem) {
    mbedtls_x509_crt_init(&leaf);
    REQUIRE(mbedtls_x509_crt_parse(&leaf, reinterpret_cast<const unsigned char*>(pem.c_str()),
                                   pem.size() + 1) == 0);
  }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;
  ~Chain() { mbedtls_x509_crt_free(&leaf); }
  mbedtls_x509_crt leaf;
};

enum class Form { pkcs8, traditional, encrypted };

std::string pem_of(EVP_PKEY* key, Form form) {
  BIO* const out = BIO_new(BIO_s_mem());
  if (form == Form::pkcs8)
    PEM_write_bio_PKCS8PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  if (form == Form::traditional)
    PEM_write_bio_PrivateKey_traditional(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  if (form == Form::encrypted)
    PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  std::string pem(data, static_cast<std::size_t>(size));
  BIO_free(out);
  EVP_PKEY_free(key);
  return pem;
}

bool accepted(const std::string& pem) {
  Key key;
  const auto imported = tls::import_private_key(pem, key.context);
  if (imported) return true;
  CHECK(imported.error().code == Errc::invalid);
  CHECK(imported.error().detail.starts_with("private key: expected "));
  return false;
}

}  // namespace

TEST_CASE("private_key: belongs to its certificate and to no other") {
  for (const KeyKind kind : {KeyKind::p256, KeyKind::p384, KeyKind::rsa}) {
    Key key;
    REQUIRE(tls::import_private_key(identity(kind).key_pem, key.context));
    for (const KeyKind other : {KeyKind::p256, KeyKind::p384, KeyKind::rsa}) {
      Chain chain(identity(other).chain_pem);
      CHECK(tls::is_pair(chain.leaf.pk, key.context) == (kind == other));
    }
  }
}

TEST_CASE("private_key: what it signs, the certificate's public key verifies") {
  const std::array<unsigned char, 48> hash{1, 2, 3};
  for (const KeyKind kind : {KeyKind::p256, KeyKind::p384, KeyKind::rsa}) {
    Key key;
    REQUIRE(tls::import_private_key(identity(kind).key_pem, key.context));
    Chain chain(identity(kind).chain_pem);
    for (const auto& [digest, size] :
         {std::pair{MBEDTLS_MD_SHA256, 32U}, std::pair{MBEDTLS_MD_SHA384, 48U}}) {
      std::array<unsigned char, MBEDTLS_PK_SIGNATURE_MAX_SIZE> signature{};
      std::size_t length = 0;
      REQUIRE(mbedtls_pk_sign(&key.context, digest, hash.data(), size, signature.data(),
                              signature.size(), &length, tls::random_bytes, nullptr) == 0);
      CHECK(mbedtls_pk_verify(&chain.leaf.pk, digest, hash.data(), size, signature.data(),
                              length) == 0);
      signature[length / 2] ^= 1;
      CHECK(mbedtls_pk_verify(&chain.leaf.pk, digest, hash.data(), size, signature.data(),
                              length) != 0);
      if (kind != KeyKind::rsa) continue;
      REQUIRE(mbedtls_pk_sign_ext(MBEDTLS_PK_RSASSA_PSS, &key.context, digest, hash.data(), size,
                                  signature.data(), signature.size(), &length, tls::random_bytes,
                                  nullptr) == 0);
      const mbedtls_pk_rsassa_pss_options options{digest, static_cast<int>(size)};
      CHECK(mbedtls_pk_verify_ext(MBEDTLS_PK_RSASSA_PSS, &options, &chain.leaf.pk, digest,
                                  hash.data(), size, signature.data(), length) == 0);
    }
  }
}

TEST_CASE("private_key: every unencrypted form, with text around it") {
  for (const Form form : {Form::pkcs8, Form::traditional}) {
    CHECK(accepted(pem_of(EVP_EC_gen("P-256"), form)));
    CHECK(accepted(pem_of(EVP_EC_gen("P-384"), form)));
    CHECK(accepted(pem_of(EVP_RSA_gen(2048), form)));
    CHECK(accepted("a comment\n" + pem_of(EVP_EC_gen("P-256"), form) + "\nmore\n"));
  }
  // SEC 1 as `openssl ecparam -genkey` writes it, the curve first.
  CHECK(accepted("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" +
                 pem_of(EVP_EC_gen("P-256"), Form::traditional)));
}

TEST_CASE("private_key: other keys and what is none are refused") {
  CHECK(!accepted(pem_of(EVP_EC_gen("P-521"), Form::pkcs8)));
  CHECK(!accepted(pem_of(EVP_EC_gen("secp256k1"), Form::pkcs8)));
  CHECK(!accepted(pem_of(EVP_RSA_gen(1024), Form::pkcs8)));
  CHECK(!accepted(pem_of(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), Form::pkcs8)));
  CHECK(!accepted(pem_of(EVP_EC_gen("P-256"), Form::encrypted)));
  CHECK(!accepted(identity(KeyKind::p256).chain_pem));
  CHECK(!accepted(""));
  CHECK(!accepted("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  std::string cut = identity(KeyKind::rsa).key_pem;
  cut.resize(cut.size() / 2);
  CHECK(!accepted(cut));
}

TEST_CASE("private_key: several threads sign with one") {
  for (const KeyKind kind : {KeyKind::p256, KeyKind::rsa}) {
    Key key;
    REQUIRE(tls::import_private_key(identity(kind).key_pem, key.context));
    std::vector<std::thread> threads;
    std::array<int, 3> failures{};
    for (int& failed : failures) {
      threads.emplace_back([&key, &failed] {
        const std::array<unsigned char, 32> hash{7};
        for (int i = 0; i < 20; ++i) {
          std::array<unsigned char, MBEDTLS_PK_SIGNATURE_MAX_SIZE> signature{};
          std::size_t length = 0;
          failed |= mbedtls_pk_sign(&key.context, MBEDTLS_MD_SHA256, hash.data(), hash.size(),
                                    signature.data(), signature.size(), &length, tls::random_bytes,
                                    nullptr);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == std::array<int, 3>{});
  }
}
