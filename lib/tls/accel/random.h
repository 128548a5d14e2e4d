// random_bytes(): the source of random numbers for everything that mbedTLS asks for some.
//
// They are the kernel's, by getrandom(2). Small ones come from a supply that each thread asks for
// at once: nothing is given twice, what was given is wiped, and a child process begins with
// nothing, since the kernel empties the page in it (MADV_WIPEONFORK). It has the signature of
// mbedtls_ssl_conf_rng() and its like. Thread: any.
#pragma once

#include <cstddef>

namespace proxycore::tls {

// `context` is not used. Returns 0, or an mbedTLS error if the kernel refuses.
int random_bytes(void* context, unsigned char* out, std::size_t size) noexcept;

}  // namespace proxycore::tls
