// Random secrets, and what is kept in their place.
//
// A secret of 128 random bits and more needs no slow hash: its SHA-256 tells nobody what it was.
// Not here: passwords, which people choose (password.h). Source: FIPS 180-4. Thread: any.
#pragma once

#include <proxycore/result.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace proxycore::auth {

// Twice as many hex digits as `bytes`, at most 64 of them. Errors: io (no random bytes).
Result<std::string> random_hex(std::size_t bytes);

// SHA-256 in 64 hex digits.
std::string digest(std::string_view secret);

// Takes the same time wherever they differ.
bool equal(std::string_view a, std::string_view b) noexcept;

}  // namespace proxycore::auth
