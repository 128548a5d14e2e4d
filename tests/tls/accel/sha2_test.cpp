#include "support/mbedtls_builtin.h"
#include "tls/accel/start.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <psa/crypto.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

Octets by_psa(psa_algorithm_t alg, const Octets& text) {
  Octets digest(64);
  std::size_t size = 0;
  REQUIRE(psa_hash_compute(alg, text.data(), text.size(), digest.data(), digest.size(), &size) ==
          PSA_SUCCESS);
  digest.resize(size);
  return digest;
}

Octets by_parts(psa_algorithm_t alg, const Octets& text, std::size_t step) {
  psa_hash_operation_t operation = psa_hash_operation_init();
  REQUIRE(psa_hash_setup(&operation, alg) == PSA_SUCCESS);
  for (std::size_t at = 0; at < text.size(); at += step)
    REQUIRE(psa_hash_update(&operation, text.data() + at, std::min(step, text.size() - at)) ==
            PSA_SUCCESS);
  Octets digest(64);
  std::size_t size = 0;
  REQUIRE(psa_hash_finish(&operation, digest.data(), digest.size(), &size) == PSA_SUCCESS);
  digest.resize(size);
  return digest;
}

Octets by_openssl(const EVP_MD* kind, const Octets& text) {
  Octets digest(64);
  unsigned size = 0;
  REQUIRE(EVP_Digest(text.data(), text.size(), digest.data(), &size, kind, nullptr) == 1);
  digest.resize(size);
  return digest;
}

}  // namespace

TEST_CASE("sha2: digests of every length, at once and in parts") {
  tls::start_crypto();
  const std::pair<psa_algorithm_t, const EVP_MD*> kinds[] = {{PSA_ALG_SHA_224, EVP_sha224()},
                                                             {PSA_ALG_SHA_256, EVP_sha256()},
                                                             {PSA_ALG_SHA_384, EVP_sha384()},
                                                             {PSA_ALG_SHA_512, EVP_sha512()}};
  for (const auto& [alg, kind] : kinds) {
    for (std::size_t size = 0; size < 400; ++size) {
      const Octets text = random_octets(size);
      const Octets expected = by_openssl(kind, text);
      CHECK(by_psa(alg, text) == expected);
      CHECK(by_parts(alg, text, 1 + size % 150) == expected);
    }
    const Octets text = random_octets(100'000);
    CHECK(by_psa(alg, text) == by_openssl(kind, text));
  }
}
