// Private keys: from PEM to what a handshake signs with.
//
// With tls_accel the key is parsed once, by libcrypto, and mbedTLS holds a handle to it (an opaque
// PSA key): it never sees the secret, and nothing is parsed again for a signature. Without, mbedTLS
// parses and keeps it. Either way the context works wherever mbedTLS signs with a key pair. Its
// type shows in the certificate's public key (an opaque context says MBEDTLS_PK_OPAQUE). Accepted:
// PEM of PKCS #8, PKCS #1 or SEC 1, not encrypted; RSA of 2048 to 8192 bits, P-256 and P-384.
// Thread: any; signing with one key from several threads is allowed.
#pragma once

#include <proxycore/result.h>

#include <string_view>

struct mbedtls_pk_context;

namespace proxycore::tls {

// `into` is initialised and empty; on success it is given back with free_private_key().
// Errors: invalid, io (no memory); never with anything of the key in them.
Result<void> import_private_key(std::string_view pem, mbedtls_pk_context& into);

// Whether both are the same key's. In place of mbedtls_pk_check_pair(), which knows no opaque RSA
// key and takes every public key for one of the private key's type.
bool is_pair(const mbedtls_pk_context& public_key, const mbedtls_pk_context& private_key);

// In place of mbedtls_pk_free(), which leaves an opaque key behind.
void free_private_key(mbedtls_pk_context& key) noexcept;

}  // namespace proxycore::tls
