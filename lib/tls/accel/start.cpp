#include "tls/accel/start.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <psa/crypto.h>

namespace proxycore::tls {

void start_crypto() {
  static std::once_flag once;
  std::call_once(once, [] {
    const psa_status_t status = psa_crypto_init();
    if (status == PSA_SUCCESS) return;
    std::fprintf(stderr, "tls: the cryptography does not start: PSA status %d\n",
                 static_cast<int>(status));
    std::abort();
  });
}

}  // namespace proxycore::tls
