// Key exchange: X25519 (RFC 7748) and P-256, as PSA wants it.
#include "tls/accel/driver.h"
#include "tls/accel/evp.h"
#include "tls/accel/providers.h"
#include "tls/accel/random.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#ifdef PROXYCORE_SODIUM
#include <sodium.h>
#endif

namespace proxycore::tls {

namespace {

constexpr std::size_t key_size = 32;    // of both curves
constexpr std::size_t point_size = 65;  // 04, x, y

enum class Curve { x25519, p256, other };

Curve curve_of(const psa_key_attributes_t* attributes) {
  const psa_key_type_t type = psa_get_key_type(attributes);
  const std::size_t bits = psa_get_key_bits(attributes);
  if (type == PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_MONTGOMERY) && bits == 255)
    return Curve::x25519;
  if (type == PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1) && bits == 256) return Curve::p256;
  return Curve::other;
}

#ifdef PROXYCORE_SODIUM

bool start_sodium() {
  static const bool started = sodium_init() >= 0;
  return started;
}

psa_status_t sodium_public(const uint8_t* key, uint8_t* out) {
  return crypto_scalarmult_base(out, key) == 0 ? PSA_SUCCESS : PSA_ERROR_GENERIC_ERROR;
}

psa_status_t sodium_secret(const uint8_t* key, const uint8_t* peer, uint8_t* out) {
  return crypto_scalarmult(out, key, peer) == 0 ? PSA_SUCCESS : PSA_ERROR_INVALID_ARGUMENT;
}

#else

bool start_sodium() {
  return false;
}
psa_status_t sodium_public(const uint8_t* /*key*/, uint8_t* /*out*/) {
  return PSA_ERROR_NOT_SUPPORTED;
}
psa_status_t sodium_secret(const uint8_t* /*key*/, const uint8_t* /*peer*/, uint8_t* /*out*/) {
  return PSA_ERROR_NOT_SUPPORTED;
}

#endif

psa_status_t evp_public(const uint8_t* key, uint8_t* out) {
  const EvpKey pair(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, key, key_size));
  std::size_t size = key_size;
  const bool made = pair != nullptr && EVP_PKEY_get_raw_public_key(pair.get(), out, &size) == 1;
  return made ? PSA_SUCCESS : evp_failed(PSA_ERROR_GENERIC_ERROR);
}

psa_status_t evp_secret(const uint8_t* key, const uint8_t* peer, uint8_t* out) {
  const EvpKey ours(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, key, key_size));
  const EvpKey theirs(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer, key_size));
  if (ours == nullptr || theirs == nullptr) return evp_failed(PSA_ERROR_GENERIC_ERROR);
  const EvpKeyContext context(EVP_PKEY_CTX_new(ours.get(), nullptr));
  std::size_t size = key_size;
  const bool made = context != nullptr && EVP_PKEY_derive_init(context.get()) == 1 &&
                    EVP_PKEY_derive_set_peer(context.get(), theirs.get()) == 1 &&
                    EVP_PKEY_derive(context.get(), out, &size) == 1;
  return made ? PSA_SUCCESS : evp_failed(PSA_ERROR_INVALID_ARGUMENT);
}

// P-256. EVP would do it too, at three times the cost for a key pair.

const EC_GROUP* p256() {
  static const EC_GROUP* const group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
  return group;
}

// What one operation needs; its numbers are secret, and wiped.
struct P256 {
  P256() : memory(BN_CTX_secure_new()), scalar(BN_secure_new()), point(EC_POINT_new(p256())) {}
  P256(const P256&) = delete;
  P256& operator=(const P256&) = delete;
  ~P256() {
    EC_POINT_clear_free(point);
    BN_clear_free(scalar);
    BN_CTX_free(memory);
  }
  bool set_scalar(const uint8_t* key) {
    if (memory == nullptr || scalar == nullptr || point == nullptr ||
        BN_bin2bn(key, key_size, scalar) == nullptr)
      return false;
    BN_set_flags(scalar, BN_FLG_CONSTTIME);
    return true;
  }
  BN_CTX* memory;
  BIGNUM* scalar;
  EC_POINT* point;
};

psa_status_t p256_public(const uint8_t* key, uint8_t* out) {
  P256 work;
  const bool made =
      work.set_scalar(key) &&
      EC_POINT_mul(p256(), work.point, work.scalar, nullptr, nullptr, work.memory) == 1 &&
      EC_POINT_point2oct(p256(), work.point, POINT_CONVERSION_UNCOMPRESSED, out, point_size,
                         work.memory) == point_size;
  return made ? PSA_SUCCESS : evp_failed(PSA_ERROR_GENERIC_ERROR);
}

psa_status_t p256_secret(const uint8_t* key, const uint8_t* peer, std::size_t peer_size,
                         uint8_t* out) {
  // libcrypto would take compressed and hybrid points too, which TLS forbids (RFC 8446 §4.2.8.2).
  if (peer_size != point_size || peer[0] != POINT_CONVERSION_UNCOMPRESSED)
    return PSA_ERROR_INVALID_ARGUMENT;
  P256 work;
  if (!work.set_scalar(key)) return evp_failed(PSA_ERROR_GENERIC_ERROR);
  // It checks that the point is on the curve, and there is only one subgroup.
  if (EC_POINT_oct2point(p256(), work.point, peer, peer_size, work.memory) != 1)
    return evp_failed(PSA_ERROR_INVALID_ARGUMENT);
  P256 shared;
  const bool made =
      shared.scalar != nullptr && shared.point != nullptr &&
      EC_POINT_mul(p256(), shared.point, nullptr, work.point, work.scalar, work.memory) == 1 &&
      EC_POINT_get_affine_coordinates(p256(), shared.point, shared.scalar, nullptr, work.memory) ==
          1 &&
      BN_bn2binpad(shared.scalar, out, key_size) == static_cast<int>(key_size);
  return made ? PSA_SUCCESS : evp_failed(PSA_ERROR_GENERIC_ERROR);
}

// A number in 1 ... n - 1: one draw in 2^32 is not.
psa_status_t p256_private(uint8_t* out) {
  static constexpr std::array<uint8_t, key_size> order = {
      0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
      0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
  static constexpr std::array<uint8_t, key_size> zero = {};
  do {
    if (random_bytes(nullptr, out, key_size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
    // Comparing tells at most something about a number that is thrown away.
  } while (std::memcmp(out, order.data(), key_size) >= 0 ||
           CRYPTO_memcmp(out, zero.data(), key_size) == 0);
  return PSA_SUCCESS;
}

psa_status_t x25519_private(uint8_t* out) {
  if (random_bytes(nullptr, out, key_size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
  // The form in which PSA keeps such keys (RFC 7748 §5).
  out[0] &= 248;
  out[31] = static_cast<uint8_t>((out[31] & 127) | 64);
  return PSA_SUCCESS;
}

}  // namespace

X25519 best_x25519() {
  return start_sodium() ? X25519::sodium : X25519::libcrypto;
}

psa_status_t x25519_public(X25519 by, const std::uint8_t* key, std::uint8_t* out) {
  return by == X25519::sodium ? sodium_public(key, out) : evp_public(key, out);
}

psa_status_t x25519_secret(X25519 by, const std::uint8_t* key, const std::uint8_t* peer,
                           std::uint8_t* out) {
  return by == X25519::sodium ? sodium_secret(key, peer, out) : evp_secret(key, peer, out);
}

}  // namespace proxycore::tls

using namespace proxycore::tls;

extern "C" {

psa_status_t proxycore_generate_key(const psa_key_attributes_t* attributes, uint8_t* key,
                                    size_t size, size_t* length) {
  const Curve curve = curve_of(attributes);
  if (curve == Curve::other) return PSA_ERROR_NOT_SUPPORTED;
  if (size < key_size) return PSA_ERROR_BUFFER_TOO_SMALL;
  *length = key_size;
  return curve == Curve::x25519 ? x25519_private(key) : p256_private(key);
}

psa_status_t proxycore_export_public_key(const psa_key_attributes_t* attributes, const uint8_t* key,
                                         size_t length, uint8_t* data, size_t data_size,
                                         size_t* data_length) {
  const Curve curve = curve_of(attributes);
  if (curve == Curve::other || length != key_size) return PSA_ERROR_NOT_SUPPORTED;
  const std::size_t needed = curve == Curve::x25519 ? key_size : point_size;
  if (data_size < needed) return PSA_ERROR_BUFFER_TOO_SMALL;
  *data_length = needed;
  return curve == Curve::x25519 ? x25519_public(best_x25519(), key, data) : p256_public(key, data);
}

psa_status_t proxycore_key_agreement(const psa_key_attributes_t* attributes, const uint8_t* key,
                                     size_t length, psa_algorithm_t alg, const uint8_t* peer,
                                     size_t peer_length, uint8_t* secret, size_t secret_size,
                                     size_t* secret_length) {
  const Curve curve = curve_of(attributes);
  if (curve == Curve::other || length != key_size || !PSA_ALG_IS_ECDH(alg))
    return PSA_ERROR_NOT_SUPPORTED;
  if (secret_size < key_size) return PSA_ERROR_BUFFER_TOO_SMALL;
  if (curve == Curve::x25519 && peer_length != key_size) return PSA_ERROR_INVALID_ARGUMENT;
  const psa_status_t status = curve == Curve::x25519
                                  ? x25519_secret(best_x25519(), key, peer, secret)
                                  : p256_secret(key, peer, peer_length, secret);
  if (status == PSA_SUCCESS)
    *secret_length = key_size;
  else
    OPENSSL_cleanse(secret, secret_size);
  return status;
}

}  // extern "C"
