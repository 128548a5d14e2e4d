#include "support/mbedtls_builtin.h"
#include "tls/accel/driver.h"
#include "tls/accel/providers.h"
#include "tls/accel/start.h"

#include <algorithm>
#include <random>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

struct Suite {
  tls::Cipher cipher;
  psa_key_type_t type;
  psa_algorithm_t alg;
  std::size_t key_size;
};

const Suite suites[] = {
    {tls::Cipher::aes_128_gcm, PSA_KEY_TYPE_AES, PSA_ALG_GCM, 16},
    {tls::Cipher::aes_256_gcm, PSA_KEY_TYPE_AES, PSA_ALG_GCM, 32},
    {tls::Cipher::chacha20_poly1305, PSA_KEY_TYPE_CHACHA20, PSA_ALG_CHACHA20_POLY1305, 32}};

struct Record {
  Record(const Suite& suite, std::size_t size, std::size_t ad_size)
      : key(random_octets(suite.key_size)),
        nonce(random_octets(12)),
        ad(random_octets(ad_size)),
        plain(random_octets(size)) {}
  Octets key, nonce, ad, plain;
};

Octets expected(const Suite& suite, const Record& record) {
  const psa_key_attributes_t attributes = attributes_of(suite.type, 8 * suite.key_size);
  Octets out(record.plain.size() + 16);
  std::size_t size = 0;
  REQUIRE(mbedtls_psa_aead_encrypt(&attributes, record.key.data(), record.key.size(), suite.alg,
                                   record.nonce.data(), 12, record.ad.data(), record.ad.size(),
                                   record.plain.data(), record.plain.size(), out.data(), out.size(),
                                   &size) == PSA_SUCCESS);
  return out;
}

// In place; the tag behind it.
Octets sealed(tls::Aead by, const Suite& suite, const Record& record) {
  Octets out = record.plain;
  out.resize(out.size() + 16);
  const tls::Job job{suite.cipher,     record.key.data(), record.nonce.data(), record.ad.data(),
                     record.ad.size(), out.data(),        record.plain.size(), out.data()};
  REQUIRE(tls::seal(by, job, out.data() + record.plain.size()) == PSA_SUCCESS);
  return out;
}

psa_status_t opened(tls::Aead by, const Suite& suite, const Record& record, Octets& cipher) {
  const std::size_t size = cipher.size() - 16;
  const tls::Job job{suite.cipher,
                     record.key.data(),
                     record.nonce.data(),
                     record.ad.data(),
                     record.ad.size(),
                     cipher.data(),
                     size,
                     cipher.data()};
  return tls::open(by, job, cipher.data() + size);
}

void check(const Suite& suite, const Record& record) {
  const Octets cipher = expected(suite, record);
  for (const tls::Aead by : {tls::Aead::libcrypto, tls::best_aead(suite.cipher)}) {
    CHECK(sealed(by, suite, record) == cipher);
    Octets in_place = cipher;
    CHECK(opened(by, suite, record, in_place) == PSA_SUCCESS);
    CHECK(std::equal(record.plain.begin(), record.plain.end(), in_place.begin()));
  }
}

psa_status_t decrypt(const Suite& suite, const Record& record, const Octets& cipher,
                     Octets& plain) {
  const psa_key_attributes_t attributes = attributes_of(suite.type, 8 * suite.key_size);
  std::size_t size = 0;
  return proxycore_aead_decrypt(&attributes, record.key.data(), record.key.size(), suite.alg,
                                record.nonce.data(), record.nonce.size(), record.ad.data(),
                                record.ad.size(), cipher.data(), cipher.size(), plain.data(),
                                plain.size(), &size);
}

psa_status_t encrypt(const Suite& suite, const Record& record, Octets& cipher) {
  const psa_key_attributes_t attributes = attributes_of(suite.type, 8 * suite.key_size);
  std::size_t size = 0;
  return proxycore_aead_encrypt(&attributes, record.key.data(), record.key.size(), suite.alg,
                                record.nonce.data(), record.nonce.size(), record.ad.data(),
                                record.ad.size(), record.plain.data(), record.plain.size(),
                                cipher.data(), cipher.size(), &size);
}

}  // namespace

TEST_CASE("aead: every length up to 699 is as mbedTLS has it, by every provider") {
  tls::start_crypto();
  for (const Suite& suite : suites) {
    for (std::size_t size = 0; size < 700; ++size) check(suite, Record(suite, size, size % 33));
  }
}

TEST_CASE("aead: random lengths up to the longest record") {
  std::minstd_rand draw(7);
  for (const Suite& suite : suites) {
    for (int round = 0; round < 30; ++round)
      check(suite, Record(suite, draw() % 16900, round % 2 == 0 ? 13 : 5));
    check(suite, Record(suite, 16384 + 256, 13));
  }
}

TEST_CASE("aead: whatever is changed is noticed, and nothing of the plaintext stays") {
  std::minstd_rand draw(11);
  for (const Suite& suite : suites) {
    for (const tls::Aead by : {tls::Aead::libcrypto, tls::best_aead(suite.cipher)}) {
      for (int round = 0; round < 60; ++round) {
        Record record(suite, draw() % 3000, 1 + draw() % 20);
        Octets cipher = sealed(by, suite, record);
        const std::uint8_t bit = static_cast<std::uint8_t>(1U << (draw() % 8));
        switch (round % 4) {
          case 0:
            cipher[draw() % cipher.size()] ^= bit;  // text or tag
            break;
          case 1:
            cipher[cipher.size() - 1 - draw() % 16] ^= bit;
            break;
          case 2:
            record.ad[draw() % record.ad.size()] ^= bit;
            break;
          default:
            record.nonce[draw() % 12] ^= bit;
        }
        CHECK(opened(by, suite, record, cipher) == PSA_ERROR_INVALID_SIGNATURE);
        CHECK(std::all_of(cipher.begin(), cipher.end() - 16,
                          [](std::uint8_t octet) { return octet == 0; }));
      }
    }
  }
}

TEST_CASE("aead: as driver it says what it cannot do") {
  for (const Suite& suite : suites) {
    const Record record(suite, 100, 5);
    Octets cipher(116);
    CHECK(encrypt(suite, record, cipher) == PSA_SUCCESS);
    CHECK(cipher == expected(suite, record));
    Octets plain(100);
    CHECK(decrypt(suite, record, cipher, plain) == PSA_SUCCESS);
    CHECK(plain == record.plain);

    Octets small(115);
    CHECK(encrypt(suite, record, small) == PSA_ERROR_BUFFER_TOO_SMALL);
    Octets short_plain(99);
    CHECK(decrypt(suite, record, cipher, short_plain) == PSA_ERROR_BUFFER_TOO_SMALL);
    CHECK(decrypt(suite, record, Octets(15), plain) == PSA_ERROR_INVALID_ARGUMENT);

    Record long_nonce = record;
    long_nonce.nonce.push_back(0);
    CHECK(encrypt(suite, long_nonce, cipher) == PSA_ERROR_NOT_SUPPORTED);
    CHECK(decrypt(suite, long_nonce, cipher, plain) == PSA_ERROR_NOT_SUPPORTED);
    Suite short_tag = suite;
    short_tag.alg = PSA_ALG_AEAD_WITH_SHORTENED_TAG(suite.alg, 8);
    CHECK(encrypt(short_tag, record, cipher) == PSA_ERROR_NOT_SUPPORTED);
    Suite other = suite;
    other.alg = PSA_ALG_CCM;
    CHECK(encrypt(other, record, cipher) == PSA_ERROR_NOT_SUPPORTED);
  }
  const Suite aes_192{tls::Cipher::other, PSA_KEY_TYPE_AES, PSA_ALG_GCM, 24};
  const Record record(aes_192, 10, 0);
  Octets cipher(26);
  CHECK(encrypt(aes_192, record, cipher) == PSA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("aead: a wrong tag through PSA leaves nothing behind either") {
  const Suite& suite = suites[0];
  const Record record(suite, 64, 5);
  psa_key_attributes_t attributes = attributes_of(suite.type, 128);
  psa_set_key_algorithm(&attributes, suite.alg);
  psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);
  mbedtls_svc_key_id_t id = 0;
  REQUIRE(psa_import_key(&attributes, record.key.data(), 16, &id) == PSA_SUCCESS);
  Octets cipher = expected(suite, record);
  cipher.back() ^= 1;
  Octets plain(64, 9);
  std::size_t size = 0;
  CHECK(psa_aead_decrypt(id, suite.alg, record.nonce.data(), 12, record.ad.data(), 5, cipher.data(),
                         cipher.size(), plain.data(), plain.size(),
                         &size) == PSA_ERROR_INVALID_SIGNATURE);
  CHECK(plain == Octets(64));
  psa_destroy_key(id);
}
