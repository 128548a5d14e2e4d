// Passwords: hashed with bcrypt, verified, and how good they must be.
//
// All three forms of existing installations are verified ($2a$, $2b$, $2y$); new ones are $2b$.
// bcrypt looks at 72 bytes and stops at a NUL, so that nothing longer is taken. Hashing and
// verifying block for as long as the cost says: they belong on the PasswordDesk. Passwords and
// hashes never enter an Error or a log line.
// Source: crypt(5). Thread: functions, any; blocks.
#pragma once

#include <proxycore/result.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace proxycore::auth {

inline constexpr std::size_t max_password = 72;  // bytes
inline constexpr unsigned min_cost = 4;          // log2 of the rounds
inline constexpr unsigned max_cost = 16;

// "$2b$12$...". Errors: invalid (empty, over 72 bytes, a NUL in it, a cost out of range), io (no
// random bytes).
Result<std::string> hash_password(std::string_view password, unsigned cost);

// Does as much work as a hash of `cost` takes, whatever `hash` is: one of an older, lower cost, or
// none at all because there is no such user. A longer password than bcrypt looks at matches as it
// did when it was set.
bool verify_password(std::string_view password, std::string_view hash, unsigned cost);

// At least 8 bytes, and 12 or three of: lower case, upper case, digits, others. Errors: invalid
// (for people).
Result<void> check_strength(std::string_view password);

}  // namespace proxycore::auth
