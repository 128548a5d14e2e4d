// Url: where a Redis server is, and as whom which of its databases is used.
//
//   redis://[user:password@]host[:port][/db]            port 6379, database 0
//   redis+unix://[user:password@]/path/to.sock[?db=N]
//
// User, password and path may be percent-encoded (RFC 3986 §2.1), an IPv6 address stands in
// brackets; the user may be empty. What describe() and errors say never holds a password.
// Not here: connecting (sync_client, async_client). Thread: a value.
#pragma once

#include <proxycore/result.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::redis {

struct Url {
  std::string user = {};  // empty: the server's default user
  std::string password = {};
  std::string host = {};  // an address without brackets, or a name
  std::uint16_t port = 6379;
  std::string path = {};  // of the Unix socket; then host is empty
  std::uint32_t db = 0;

  // Whether a text is meant for parse(), by its scheme.
  static bool has_scheme(std::string_view text) noexcept;
  // Errors: invalid (which part, and what was expected there; the text itself is not repeated).
  static Result<Url> parse(std::string_view text);
  // "redis://10.0.0.1:6379/0", "redis+unix:///run/redis.sock?db=0".
  [[nodiscard]] std::string describe() const;
};

}  // namespace proxycore::redis
