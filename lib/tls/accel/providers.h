// Who does the work of the driver where there is a choice, so that tests can ask each of them.
//
// Not here: the driver's functions (driver.h), which take the best there is. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>

#include <psa/crypto.h>

namespace proxycore::tls {

// X25519 (RFC 7748): keys, points and secrets are 32 bytes.

enum class X25519 : std::uint8_t { libcrypto, sodium };
X25519 best_x25519();
psa_status_t x25519_public(X25519 by, const std::uint8_t* key, std::uint8_t* out);
// Points of low order are invalid: everybody knows the secret (RFC 7748 §6.1).
psa_status_t x25519_secret(X25519 by, const std::uint8_t* key, const std::uint8_t* peer,
                           std::uint8_t* out);

// Records.

enum class Cipher : std::uint8_t { aes_128_gcm, aes_256_gcm, chacha20_poly1305, other };

// One record with a nonce of 12 bytes; `out` may be `in`, and is as long.
struct Job {
  Cipher cipher;
  const std::uint8_t* key;
  const std::uint8_t* nonce;
  const std::uint8_t* ad;
  std::size_t ad_size;
  const std::uint8_t* in;
  std::size_t size;
  std::uint8_t* out;
};

// intel-ipsec-mb has AES-GCM only, and is worth it only with the widest instructions.
enum class Aead : std::uint8_t { libcrypto, ipsec_mb };
Aead best_aead(Cipher cipher);
// `tag` has 16 bytes. After a wrong one, `out` is wiped.
psa_status_t seal(Aead by, const Job& job, std::uint8_t* tag);
psa_status_t open(Aead by, const Job& job, const std::uint8_t* tag);

}  // namespace proxycore::tls
