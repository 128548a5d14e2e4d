// seal() and unseal(): a secret as it is kept at rest, encrypted and bound to where it is kept.
//
// AES-256-GCM (NIST SP 800-38D) with a nonce of random bytes, which is part of what is kept;
// `place` is authenticated with it, so that what was sealed for one record does not open in
// another. Not here: where the key is (certs/sealer), session tickets (tickets.h). Thread:
// functions, any.
#pragma once

#include <proxycore/result.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace proxycore::tls {

inline constexpr std::size_t seal_key_size = 32;

// Errors: io (no random bytes).
Result<std::string> generate_seal_key();

// Bytes: nonce, ciphertext, tag. Errors: invalid (a key of another size), io.
Result<std::string> seal(std::string_view key, std::string_view plain, std::string_view place);
// Errors: invalid (not sealed with this key, or for another place; a key of another size).
Result<std::string> unseal(std::string_view key, std::string_view sealed, std::string_view place);

}  // namespace proxycore::tls
