// Making private keys, requests for certificates, and self-signed certificates.
//
// All text is PEM (RFC 7468). Not here: reading certificates (cert.h), tickets (tickets.h).
// Source: RFC 5280, RFC 2986 (requests), RFC 5915 and RFC 8017 (keys). Thread: any.
#pragma once

#include "tls/cert.h"
#include <proxycore/cert.h>
#include <proxycore/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::tls {

// P-256, or RSA of 2048 bits. Errors: io (no random bytes, no memory).
Result<std::string> generate_key(KeyType type);

// A PKCS #10 request for `names`, the first of them the common name if it is short enough.
// Errors: invalid (a name that is neither a host name, a "*." pattern nor an address; the key).
Result<std::string> make_csr(const std::vector<std::string>& names, const std::string& key_pem);

struct SelfSigned {
  std::vector<std::string> names;  // host names, "*." patterns, addresses
  KeyType type = KeyType::ecdsa;
  std::int64_t not_before = 0;  // seconds since 1970
  std::int64_t not_after = 0;
  std::string common_name = {};  // empty: the first of the names
};
// A certificate with a key of its own that signs itself. Errors: invalid (a name), io.
Result<CertBundle> self_signed(const SelfSigned& wanted);

}  // namespace proxycore::tls
