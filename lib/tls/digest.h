// SHA-256, HMAC, and comparing without telling where the difference is.
//
// For what the control plane signs and checks: JWS (RFC 7515), external account bindings (RFC 8555
// §7.3.4), TSIG (RFC 8945). Not here: signatures by private keys (signer.h).
// Source: FIPS 180-4, RFC 2104. Thread: any.
#pragma once

#include <proxycore/result.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::tls {

enum class Hash : std::uint8_t { sha1, sha224, sha256, sha384, sha512 };

std::array<std::uint8_t, 32> sha256(std::string_view bytes);

// As many bytes as the hash has. Errors: io (no memory).
Result<std::string> hmac(Hash hash, std::string_view key, std::string_view data);

// Takes the same time wherever they differ; how long they are is no secret.
bool equal(std::string_view a, std::string_view b) noexcept;

}  // namespace proxycore::tls
