// start_crypto(): the one place that starts mbedTLS's cryptography (psa_crypto_init).
//
// Whatever uses PSA, keys, certificates or handshakes calls it first; all calls but the first cost
// a load. It ends the process where it fails (no memory, no random numbers): nothing can be served
// without it. Thread: any.
#pragma once

namespace proxycore::tls {

void start_crypto();

}  // namespace proxycore::tls
