#include "tls/accel/private_key.h"

#include "tls/accel/random.h"
#include "tls/accel/start.h"

#include <cstddef>
#include <string>

#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#ifdef PROXYCORE_TLS_ACCEL
#include "tls/accel/driver.h"
#include "tls/accel/evp.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#else
#include <mbedtls/ecp.h>
#endif

namespace proxycore::tls {

namespace {

constexpr std::size_t smallest_rsa = 2048;
constexpr std::size_t largest_rsa = 8192;

Error not_accepted() {
  return {Errc::invalid,
          "private key: expected RSA of 2048 to 8192 bits, or an elliptic curve key on P-256 or "
          "P-384"};
}

Error unreadable() {
  return {Errc::invalid,
          "private key: expected PEM of PKCS #8, PKCS #1 or SEC 1, without a password"};
}

// The public part as DER (SubjectPublicKeyInfo); empty if there is none.
std::string public_part(const mbedtls_pk_context& key) {
  std::string der(2 * largest_rsa / 8, '\0');
  auto* const out = reinterpret_cast<unsigned char*>(der.data());
  const int size = mbedtls_pk_write_pubkey_der(&key, out, der.size());
  // It is written at the end of the buffer.
  return size > 0 ? der.substr(der.size() - static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

bool is_pair(const mbedtls_pk_context& public_key, const mbedtls_pk_context& private_key) {
  const std::string expected = public_part(public_key);
  return !expected.empty() && expected == public_part(private_key);
}

#ifdef PROXYCORE_TLS_ACCEL

namespace {

// Instead of asking on the terminal.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) {
  return -1;
}

EvpKey parse(std::string_view pem) {
  const std::unique_ptr<BIO, FreeBy<BIO_free>> in(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return EvpKey(PEM_read_bio_PrivateKey(in.get(), nullptr, no_password, nullptr));
}

// The type as PSA sees it, and what the key may do; false: not one that is accepted.
bool describe(const EVP_PKEY* key, psa_key_attributes_t& as) {
  const auto bits = static_cast<std::size_t>(EVP_PKEY_get_bits(key));
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    // TLS 1.2 signs with the one, TLS 1.3 with the other.
    psa_set_key_type(&as, PSA_KEY_TYPE_RSA_KEY_PAIR);
    psa_set_key_algorithm(&as, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_ANY_HASH));
    psa_set_key_enrollment_algorithm(&as, PSA_ALG_RSA_PSS(PSA_ALG_ANY_HASH));
    psa_set_key_bits(&as, bits);
    return bits >= smallest_rsa && bits <= largest_rsa;
  }
  char group[32];
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
      EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1)
    return false;
  psa_set_key_type(&as, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
  psa_set_key_algorithm(&as, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
  psa_set_key_bits(&as, bits);
  const std::string_view name = group;
  return name == "prime256v1" || name == "secp384r1";
}

}  // namespace

Result<void> import_private_key(std::string_view pem, mbedtls_pk_context& into) {
  start_crypto();
  EvpKey key = parse(pem);
  ERR_clear_error();
  if (key == nullptr) return unreadable();
  psa_key_attributes_t attributes = psa_key_attributes_init();
  if (!describe(key.get(), attributes)) return not_accepted();
  // Exporting gives the handle back, not the key.
  psa_set_key_usage_flags(
      &attributes, PSA_KEY_USAGE_SIGN_HASH | PSA_KEY_USAGE_SIGN_MESSAGE | PSA_KEY_USAGE_EXPORT);
  psa_set_key_lifetime(&attributes, PSA_KEY_LIFETIME_FROM_PERSISTENCE_AND_LOCATION(
                                        PSA_KEY_LIFETIME_VOLATILE, PROXYCORE_KEY_LOCATION));
  EVP_PKEY* const handle = key.get();
  mbedtls_svc_key_id_t id = 0;
  if (psa_import_key(&attributes, reinterpret_cast<const std::uint8_t*>(&handle), handle_size,
                     &id) != PSA_SUCCESS)
    return Error{Errc::io, "private key: no memory"};
  if (mbedtls_pk_setup_opaque(&into, id) != 0) {
    psa_destroy_key(id);
    return Error{Errc::io, "private key: no memory"};
  }
  static_cast<void>(key.release());  // free_private_key() has it
  return {};
}

void free_private_key(mbedtls_pk_context& key) noexcept {
  const mbedtls_svc_key_id_t id = key.MBEDTLS_PRIVATE(priv_id);
  if (mbedtls_pk_get_type(&key) == MBEDTLS_PK_OPAQUE) {
    EVP_PKEY* handle = nullptr;
    std::size_t size = 0;
    const psa_status_t status =
        psa_export_key(id, reinterpret_cast<std::uint8_t*>(&handle), handle_size, &size);
    psa_destroy_key(id);
    if (status == PSA_SUCCESS) EVP_PKEY_free(handle);
  }
  mbedtls_pk_free(&key);
}

#else

namespace {

bool accepted(const mbedtls_pk_context& key) {
  const std::size_t bits = mbedtls_pk_get_bitlen(&key);
  if (mbedtls_pk_get_type(&key) == MBEDTLS_PK_RSA)
    return bits >= smallest_rsa && bits <= largest_rsa;
  if (mbedtls_pk_get_type(&key) != MBEDTLS_PK_ECKEY) return false;
  const mbedtls_ecp_group_id group = mbedtls_pk_ec(key)->MBEDTLS_PRIVATE(grp).id;
  return group == MBEDTLS_ECP_DP_SECP256R1 || group == MBEDTLS_ECP_DP_SECP384R1;
}

}  // namespace

Result<void> import_private_key(std::string_view pem, mbedtls_pk_context& into) {
  start_crypto();
  std::string text(pem);  // mbedTLS wants the final NUL
  const int failed =
      mbedtls_pk_parse_key(&into, reinterpret_cast<const unsigned char*>(text.c_str()),
                           text.size() + 1, nullptr, 0, random_bytes, nullptr);
  mbedtls_platform_zeroize(text.data(), text.size());
  if (failed == 0 && accepted(into)) return {};
  free_private_key(into);
  return failed != 0 ? unreadable() : not_accepted();
}

void free_private_key(mbedtls_pk_context& key) noexcept {
  mbedtls_pk_free(&key);
}

#endif

}  // namespace proxycore::tls
