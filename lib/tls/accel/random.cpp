#include "tls/accel/random.h"

#include <cerrno>

#include <sys/random.h>

#include <mbedtls/error.h>

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
