// random_bytes(): the source of random numbers for everything that mbedTLS asks for some.
//
// The kernel's getrandom(2), which has no state of its own: nothing to seed, to lock, or to get
// wrong after a fork. It has the signature of mbedtls_ssl_conf_rng() and its like.
// Thread: any.
#pragma once

#include <cstddef>

namespace proxycore::tls {

// `context` is not used. Returns 0, or an mbedTLS error if the kernel refuses.
int random_bytes(void* context, unsigned char* out, std::size_t size) noexcept;

}  // namespace proxycore::tls
