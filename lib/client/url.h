// Url: where an HTTP request goes: "https://ca.example:14000/dir?a=b".
//
// http and https only; no user information and no fragment, which no request carries. What
// describe() and errors say has neither path nor query, as vendors have tokens there.
// Source: RFC 3986 §3, RFC 9110 §4.2. Not here: connecting (http_client). Thread: a value.
#pragma once

#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::client {

struct Url {
  static constexpr std::size_t max_size = 8192;  // bytes

  bool tls = true;
  std::string host = {};  // canonical; an IPv6 address in brackets
  std::uint16_t port = 443;
  std::string target = "/";  // path and query as they were given

  // Errors: invalid (which part, and what was expected there; the text itself is not repeated).
  static Result<Url> parse(std::string_view text);

  // As in a Host field: the port only where it is not the scheme's own.
  [[nodiscard]] std::string authority() const;
  // "https://ca.example:14000".
  [[nodiscard]] std::string describe() const;
};

// `text` for a place within a query, a path segment or a form: what is not unreserved (RFC 3986
// §2.3) as %XX.
std::string percent_encoded(std::string_view text);
// The bytes that `text` stands for; nullopt: a '%' in it has no two hex digits behind it.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace proxycore::client
