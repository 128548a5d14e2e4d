// mbedTLS's own functions behind the dispatch of PSA operations: what the driver is compared with.
//
// They are in the library, but declared in its internal headers, which are C and no C++.
// Here too: keys' attributes, and random bytes for tests. Thread: any.
#pragma once

#include "tls/accel/random.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include <psa/crypto.h>

extern "C" {
psa_status_t mbedtls_psa_ecp_generate_key(const psa_key_attributes_t*, std::uint8_t*, std::size_t,
                                          std::size_t*);
psa_status_t mbedtls_psa_ecp_export_public_key(const psa_key_attributes_t*, const std::uint8_t*,
                                               std::size_t, std::uint8_t*, std::size_t,
                                               std::size_t*);
psa_status_t mbedtls_psa_key_agreement_ecdh(const psa_key_attributes_t*, const std::uint8_t*,
                                            std::size_t, psa_algorithm_t, const std::uint8_t*,
                                            std::size_t, std::uint8_t*, std::size_t, std::size_t*);
psa_status_t mbedtls_psa_ecdsa_sign_hash(const psa_key_attributes_t*, const std::uint8_t*,
                                         std::size_t, psa_algorithm_t, const std::uint8_t*,
                                         std::size_t, std::uint8_t*, std::size_t, std::size_t*);
psa_status_t mbedtls_psa_ecdsa_verify_hash(const psa_key_attributes_t*, const std::uint8_t*,
                                           std::size_t, psa_algorithm_t, const std::uint8_t*,
                                           std::size_t, const std::uint8_t*, std::size_t);
psa_status_t mbedtls_psa_aead_encrypt(const psa_key_attributes_t*, const std::uint8_t*, std::size_t,
                                      psa_algorithm_t, const std::uint8_t*, std::size_t,
                                      const std::uint8_t*, std::size_t, const std::uint8_t*,
                                      std::size_t, std::uint8_t*, std::size_t, std::size_t*);
}

namespace proxycore::test {

using Octets = std::vector<std::uint8_t>;

inline Octets random_octets(std::size_t size) {
  Octets octets(size);
  tls::random_bytes(nullptr, octets.data(), size);
  return octets;
}

inline psa_key_attributes_t attributes_of(psa_key_type_t type, std::size_t bits) {
  psa_key_attributes_t attributes = psa_key_attributes_init();
  psa_set_key_type(&attributes, type);
  psa_set_key_bits(&attributes, bits);
  return attributes;
}

}  // namespace proxycore::test
