#include "tls/signer.h"

#include "base/text.h"
#include "tls/accel/private_key.h"
#include "tls/accel/random.h"
#include "tls/accel/start.h"
#include "tls/digest.h"

#include <array>
#include <utility>

#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <psa/crypto.h>
extern "C" {  // which the header forgets for some
#include <mbedtls/psa_util.h>
}

namespace proxycore::tls {

namespace {
constexpr std::size_t max_key = 1024;        // bytes: RSA of 8192 bits
constexpr std::size_t max_public = 1 << 11;  // bytes of a SubjectPublicKeyInfo

struct PublicKey {
  PublicKey() { mbedtls_pk_init(&pk); }
  PublicKey(const PublicKey&) = delete;
  PublicKey& operator=(const PublicKey&) = delete;
  ~PublicKey() { mbedtls_pk_free(&pk); }
  mbedtls_pk_context pk;
};

std::string encoded(const unsigned char* bytes, std::size_t size) {
  return base::base64url({reinterpret_cast<const char*>(bytes), size});
}

// RFC 7518 §6.3.1: both without leading zeros.
Result<std::string> rsa_jwk(const mbedtls_pk_context& key) {
  const mbedtls_rsa_context& rsa = *mbedtls_pk_rsa(key);
  std::string modulus(mbedtls_rsa_get_len(&rsa), '\0');
  std::array<unsigned char, 8> exponent{};
  if (mbedtls_rsa_export_raw(&rsa, reinterpret_cast<unsigned char*>(modulus.data()), modulus.size(),
                             nullptr, 0, nullptr, 0, nullptr, 0, exponent.data(),
                             exponent.size()) != 0) {
    return Error{Errc::invalid, "private key: its public exponent is over 64 bits"};
  }
  std::size_t from = 0;
  while (from + 1 < exponent.size() && exponent[from] == 0) ++from;
  return R"({"e":")" + encoded(&exponent[from], exponent.size() - from) + R"(","kty":"RSA","n":")" +
         base::base64url(modulus) + "\"}";
}

// RFC 7518 §6.2.1. `point` is x and y.
std::string ec_jwk(std::string_view curve, const unsigned char* point, std::size_t half) {
  return R"({"crv":")" + std::string(curve) + R"(","kty":"EC","x":")" + encoded(point, half) +
         R"(","y":")" + encoded(point + half, half) + "\"}";
}
}  // namespace

struct Signer::Key {
  Key() { mbedtls_pk_init(&pk); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { free_private_key(pk); }
  mutable mbedtls_pk_context pk;  // mbedTLS signs with a key that is not const, and changes nothing
  mbedtls_md_type_t hash = MBEDTLS_MD_SHA256;
  std::size_t coordinate_bits = 0;  // 0: RSA
};

Signer::Signer(std::unique_ptr<Key> key, std::string algorithm, std::string jwk)
    : key_(std::move(key)), algorithm_(std::move(algorithm)), jwk_(std::move(jwk)) {}

Signer::Signer(Signer&& from) noexcept = default;
Signer& Signer::operator=(Signer&& from) noexcept = default;
Signer::~Signer() = default;

Result<Signer> Signer::load(std::string_view key_pem) {
  start_crypto();
  auto key = std::make_unique<Key>();
  PX_CHECK(import_private_key(key_pem, key->pk));
  std::array<unsigned char, max_public> der{};
  const int written = mbedtls_pk_write_pubkey_der(&key->pk, der.data(), der.size());
  PublicKey read;
  // It is written at the end of the buffer.
  if (written <= 0 || mbedtls_pk_parse_public_key(&read.pk, der.data() + der.size() - written,
                                                  static_cast<std::size_t>(written)) != 0) {
    return Error{Errc::io, "private key: no memory"};
  }
  if (mbedtls_pk_get_type(&read.pk) == MBEDTLS_PK_RSA) {
    PX_TRY(std::string jwk, rsa_jwk(read.pk));
    return Signer(std::move(key), "RS256", std::move(jwk));
  }
  const bool p256 = mbedtls_pk_get_bitlen(&read.pk) == 256;
  key->coordinate_bits = p256 ? 256 : 384;
  if (!p256) key->hash = MBEDTLS_MD_SHA384;
  // The point, uncompressed, is what a SubjectPublicKeyInfo ends with.
  const std::size_t half = key->coordinate_bits / 8;
  std::string jwk = ec_jwk(p256 ? "P-256" : "P-384", der.data() + der.size() - 2 * half, half);
  return Signer(std::move(key), p256 ? "ES256" : "ES384", std::move(jwk));
}

std::string Signer::thumbprint() const {
  const auto digest = sha256(jwk_);
  return encoded(digest.data(), digest.size());
}

Result<std::string> Signer::sign(std::string_view data) const {
  std::array<unsigned char, PSA_HASH_MAX_SIZE> digest{};
  std::size_t digest_size = 0;
  const psa_algorithm_t hash = key_->hash == MBEDTLS_MD_SHA256 ? PSA_ALG_SHA_256 : PSA_ALG_SHA_384;
  psa_hash_compute(hash, reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                   digest.data(), digest.size(), &digest_size);
  std::array<unsigned char, max_key> made{};
  std::size_t size = 0;
  if (mbedtls_pk_sign(&key_->pk, key_->hash, digest.data(), digest_size, made.data(), made.size(),
                      &size, random_bytes, nullptr) != 0) {
    return Error{Errc::io, "private key: it does not sign"};
  }
  if (key_->coordinate_bits == 0) return std::string(made.begin(), made.begin() + size);
  std::string raw(2 * key_->coordinate_bits / 8, '\0');
  std::size_t raw_size = 0;
  if (mbedtls_ecdsa_der_to_raw(key_->coordinate_bits, made.data(), size,
                               reinterpret_cast<unsigned char*>(raw.data()), raw.size(),
                               &raw_size) != 0) {
    return Error{Errc::io, "private key: it does not sign"};
  }
  raw.resize(raw_size);
  return raw;
}

}  // namespace proxycore::tls
