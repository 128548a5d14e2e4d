// Verifying ECDSA: what certificates of origins, and of clients, are signed with.
#include "tls/accel/driver.h"
#include "tls/accel/evp.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/params.h>

namespace proxycore::tls {

namespace {

// Size of a coordinate, and libcrypto's name of the curve; null: not one of ours.
struct Curve {
  const char* name = nullptr;
  std::size_t size = 0;
};

Curve curve_of(const psa_key_attributes_t* attributes) {
  if (psa_get_key_type(attributes) != PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1))
    return {};
  if (psa_get_key_bits(attributes) == 256) return {"P-256", 32};
  if (psa_get_key_bits(attributes) == 384) return {"P-384", 48};
  return {};
}

EvpKey public_key(const Curve& curve, const uint8_t* point, std::size_t size) {
  const EvpKeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(curve.name),
                                       0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<uint8_t*>(point), size),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  if (context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY,
                        const_cast<OSSL_PARAM*>(parameters)) != 1)
    return nullptr;
  return EvpKey(key);
}

// PSA writes r and s beside each other, libcrypto as DER.
std::size_t to_der(const uint8_t* signature, std::size_t half, uint8_t* der) {
  const std::unique_ptr<ECDSA_SIG, FreeBy<ECDSA_SIG_free>> pair(ECDSA_SIG_new());
  BIGNUM* const r = BN_bin2bn(signature, static_cast<int>(half), nullptr);
  BIGNUM* const s = BN_bin2bn(signature + half, static_cast<int>(half), nullptr);
  if (pair == nullptr || r == nullptr || s == nullptr || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return 0;
  }
  const int size = i2d_ECDSA_SIG(pair.get(), &der);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

}  // namespace

}  // namespace proxycore::tls

using namespace proxycore::tls;

extern "C" psa_status_t proxycore_verify_hash(const psa_key_attributes_t* attributes,
                                              const uint8_t* key, size_t key_length,
                                              psa_algorithm_t alg, const uint8_t* hash,
                                              size_t hash_length, const uint8_t* signature,
                                              size_t signature_length) {
  const Curve curve = curve_of(attributes);
  // libcrypto would take hybrid points too: mbedTLS is to refuse them.
  if (curve.name == nullptr || !PSA_ALG_IS_ECDSA(alg) || key_length != 1 + 2 * curve.size ||
      key[0] != POINT_CONVERSION_UNCOMPRESSED)
    return PSA_ERROR_NOT_SUPPORTED;
  if (signature_length != 2 * curve.size) return PSA_ERROR_INVALID_SIGNATURE;
  uint8_t der[2 * (48 + 3) + 3];
  const std::size_t der_size = to_der(signature, curve.size, der);
  const EvpKey point = public_key(curve, key, key_length);
  if (der_size == 0 || point == nullptr) return evp_failed(PSA_ERROR_INVALID_ARGUMENT);
  const EvpKeyContext context(EVP_PKEY_CTX_new(point.get(), nullptr));
  if (context == nullptr || EVP_PKEY_verify_init(context.get()) != 1)
    return evp_failed(PSA_ERROR_GENERIC_ERROR);
  const bool right = EVP_PKEY_verify(context.get(), der, der_size, hash, hash_length) == 1;
  return right ? PSA_SUCCESS : evp_failed(PSA_ERROR_INVALID_SIGNATURE);
}
