#include "tls/accel/private_key.h"

#include "tls/accel/random.h"
#include "tls/accel/start.h"

#include <cstddef>
#include <string>

#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>

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

}  // namespace proxycore::tls
