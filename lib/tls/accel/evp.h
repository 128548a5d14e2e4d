// Owners of libcrypto's objects, and its errors as PSA's: for the sources of the driver.
//
// Not here: what is done with them. Thread: values.
#pragma once

#include <cstddef>
#include <memory>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <psa/crypto.h>

namespace proxycore::tls {

template <auto free>
struct FreeBy {
  template <class T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};

using EvpKey = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using EvpKeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>>;

// What mbedTLS knows an opaque key by is an EVP_PKEY*.
inline constexpr std::size_t handle_size = sizeof(void*);

// What libcrypto has to say stays in a queue of the thread, where the next one would find it.
inline psa_status_t evp_failed(psa_status_t status) noexcept {
  ERR_clear_error();
  return status;
}

}  // namespace proxycore::tls
