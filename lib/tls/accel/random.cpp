#include "tls/accel/random.h"

#include <cerrno>
#include <cstdint>

#include <sys/random.h>

#include <mbedtls/error.h>
#include <psa/crypto.h>

namespace proxycore::tls {

int random_bytes(void* /*context*/, unsigned char* out, std::size_t size) noexcept {
  while (size > 0) {
    const ssize_t got = getrandom(out, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return MBEDTLS_ERR_ERROR_GENERIC_ERROR;
    out += got;
    size -= static_cast<std::size_t>(got);
  }
  return 0;
}

}  // namespace proxycore::tls

#ifdef MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG

// Whenever PSA itself needs random numbers.
extern "C" psa_status_t mbedtls_psa_external_get_random(
    mbedtls_psa_external_random_context_t* /*context*/, std::uint8_t* out, std::size_t size,
    std::size_t* got) {
  if (proxycore::tls::random_bytes(nullptr, out, size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
  *got = size;
  return PSA_SUCCESS;
}

#endif
