// Private keys that mbedTLS has a handle to: libcrypto parsed them once and signs with them.
#include "tls/accel/driver.h"
#include "tls/accel/evp.h"

#include <cstring>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

namespace proxycore::tls {

namespace {

EVP_PKEY* key_of(const uint8_t* key, std::size_t length) {
  EVP_PKEY* pair = nullptr;
  if (length == handle_size) std::memcpy(&pair, key, handle_size);
  return pair;
}

bool is_rsa(const EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
}

std::size_t coordinate_size(const EVP_PKEY* key) {
  return (static_cast<std::size_t>(EVP_PKEY_get_bits(key)) + 7) / 8;
}

const EVP_MD* digest_of(psa_algorithm_t alg) {
  switch (PSA_ALG_SIGN_GET_HASH(alg)) {
    case PSA_ALG_SHA_256:
      return EVP_sha256();
    case PSA_ALG_SHA_384:
      return EVP_sha384();
    case PSA_ALG_SHA_512:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

psa_status_t sign_rsa(EVP_PKEY* key, psa_algorithm_t alg, const uint8_t* hash,
                      std::size_t hash_length, uint8_t* signature, std::size_t size,
                      std::size_t* length) {
  const EVP_MD* const digest = digest_of(alg);
  const bool pss = PSA_ALG_IS_RSA_PSS(alg);
  if (digest == nullptr || (!pss && !PSA_ALG_IS_RSA_PKCS1V15_SIGN(alg)))
    return PSA_ERROR_NOT_SUPPORTED;
  if (hash_length != static_cast<std::size_t>(EVP_MD_get_size(digest)))
    return PSA_ERROR_INVALID_ARGUMENT;
  if (size < static_cast<std::size_t>(EVP_PKEY_get_size(key))) return PSA_ERROR_BUFFER_TOO_SMALL;
  const EvpKeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  *length = size;
  const int padding = pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
  const bool made =
      context != nullptr && EVP_PKEY_sign_init(context.get()) == 1 &&
      EVP_PKEY_CTX_set_rsa_padding(context.get(), padding) == 1 &&
      EVP_PKEY_CTX_set_signature_md(context.get(), digest) == 1 &&
      // As long as the digest: what TLS wants (RFC 8446 §4.2.3).
      (!pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), RSA_PSS_SALTLEN_DIGEST) == 1) &&
      EVP_PKEY_sign(context.get(), signature, length, hash, hash_length) == 1;
  return made ? PSA_SUCCESS : evp_failed(PSA_ERROR_GENERIC_ERROR);
}

psa_status_t sign_ecdsa(EVP_PKEY* key, psa_algorithm_t alg, const uint8_t* hash,
                        std::size_t hash_length, uint8_t* signature, std::size_t size,
                        std::size_t* length) {
  if (!PSA_ALG_IS_RANDOMIZED_ECDSA(alg)) return PSA_ERROR_NOT_SUPPORTED;
  const std::size_t half = coordinate_size(key);
  if (size < 2 * half) return PSA_ERROR_BUFFER_TOO_SMALL;
  const EvpKeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  uint8_t der[256];
  std::size_t der_size = sizeof der;
  if (context == nullptr || EVP_PKEY_sign_init(context.get()) != 1 ||
      EVP_PKEY_sign(context.get(), der, &der_size, hash, hash_length) != 1)
    return evp_failed(PSA_ERROR_GENERIC_ERROR);
  const uint8_t* at = der;
  const std::unique_ptr<ECDSA_SIG, FreeBy<ECDSA_SIG_free>> pair(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der_size)));
  const int width = static_cast<int>(half);
  if (pair == nullptr || BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), signature, width) != width ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), signature + half, width) != width)
    return evp_failed(PSA_ERROR_GENERIC_ERROR);
  *length = 2 * half;
  return PSA_SUCCESS;
}

// PKCS #1, as PSA has it.
psa_status_t export_rsa(EVP_PKEY* key, uint8_t* data, std::size_t size, std::size_t* length) {
  const int needed = i2d_PublicKey(key, nullptr);
  if (needed <= 0) return evp_failed(PSA_ERROR_GENERIC_ERROR);
  if (size < static_cast<std::size_t>(needed)) return PSA_ERROR_BUFFER_TOO_SMALL;
  *length = static_cast<std::size_t>(i2d_PublicKey(key, &data));
  return PSA_SUCCESS;
}

// Uncompressed, however the file had it.
psa_status_t export_ecdsa(EVP_PKEY* key, uint8_t* data, std::size_t size, std::size_t* length) {
  const std::size_t half = coordinate_size(key);
  if (size < 1 + 2 * half) return PSA_ERROR_BUFFER_TOO_SMALL;
  BIGNUM* x = nullptr;
  BIGNUM* y = nullptr;
  const int width = static_cast<int>(half);
  const bool made = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
                    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
                    BN_bn2binpad(x, data + 1, width) == width &&
                    BN_bn2binpad(y, data + 1 + half, width) == width;
  BN_free(x);
  BN_free(y);
  if (!made) return evp_failed(PSA_ERROR_GENERIC_ERROR);
  data[0] = POINT_CONVERSION_UNCOMPRESSED;
  *length = 1 + 2 * half;
  return PSA_SUCCESS;
}

}  // namespace

}  // namespace proxycore::tls

using namespace proxycore::tls;

extern "C" {

size_t proxycore_opaque_size(psa_key_type_t /*type*/, size_t /*bits*/) {
  return handle_size;
}

psa_status_t proxycore_opaque_import_key(const psa_key_attributes_t* /*attributes*/,
                                         const uint8_t* data, size_t data_length, uint8_t* key,
                                         size_t key_size, size_t* key_length, size_t* bits) {
  EVP_PKEY* const pair = key_of(data, data_length);
  if (pair == nullptr || key_size < data_length) return PSA_ERROR_INVALID_ARGUMENT;
  std::memcpy(key, data, data_length);
  *key_length = data_length;
  *bits = static_cast<size_t>(EVP_PKEY_get_bits(pair));
  return PSA_SUCCESS;
}

psa_status_t proxycore_opaque_export_key(const psa_key_attributes_t* /*attributes*/,
                                         const uint8_t* key, size_t key_length, uint8_t* data,
                                         size_t data_size, size_t* data_length) {
  if (data_size < key_length) return PSA_ERROR_BUFFER_TOO_SMALL;
  std::memcpy(data, key, key_length);
  *data_length = key_length;
  return PSA_SUCCESS;
}

psa_status_t proxycore_opaque_export_public_key(const psa_key_attributes_t* /*attributes*/,
                                                const uint8_t* key, size_t key_length,
                                                uint8_t* data, size_t data_size,
                                                size_t* data_length) {
  EVP_PKEY* const pair = key_of(key, key_length);
  if (pair == nullptr) return PSA_ERROR_INVALID_HANDLE;
  return (is_rsa(pair) ? export_rsa : export_ecdsa)(pair, data, data_size, data_length);
}

psa_status_t proxycore_opaque_sign_hash(const psa_key_attributes_t* /*attributes*/,
                                        const uint8_t* key, size_t key_length, psa_algorithm_t alg,
                                        const uint8_t* hash, size_t hash_length, uint8_t* signature,
                                        size_t signature_size, size_t* signature_length) {
  EVP_PKEY* const pair = key_of(key, key_length);
  if (pair == nullptr) return PSA_ERROR_INVALID_HANDLE;
  return (is_rsa(pair) ? sign_rsa : sign_ecdsa)(pair, alg, hash, hash_length, signature,
                                                signature_size, signature_length);
}

}  // extern "C"
