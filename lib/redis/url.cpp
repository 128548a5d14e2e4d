#include "redis/url.h"

#include "base/text.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <sys/un.h>

#include <fmt/format.h>

namespace proxycore::redis {

namespace {

constexpr std::string_view tcp_scheme = "redis://";
constexpr std::string_view unix_scheme = "redis+unix://";

Error wrong(std::string_view part, std::string_view expected) {
  return {Errc::invalid, fmt::format("redis url: {}: expected {}", part, expected)};
}

std::optional<unsigned> hex_digit(char c) {
  if (base::is_digit(c)) return static_cast<unsigned>(c - '0');
  const char letter = base::lower(c);
  if (letter >= 'a' && letter <= 'f') return static_cast<unsigned>(letter - 'a') + 10;
  return std::nullopt;
}

Result<std::string> decoded(std::string_view part, std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      plain.push_back(text[at]);
      continue;
    }
    const auto high = at + 2 < text.size() ? hex_digit(text[at + 1]) : std::nullopt;
    const auto low = at + 2 < text.size() ? hex_digit(text[at + 2]) : std::nullopt;
    if (!high || !low) return wrong(part, "two hexadecimal digits behind each '%'");
    plain.push_back(static_cast<char>(*high * 16 + *low));
    at += 2;
  }
  return plain;
}

// "user:password@" at the front of `rest`, if it is there.
Result<void> take_user(std::string_view& rest, Url& to) {
  const std::size_t at = rest.substr(0, rest.find('/')).rfind('@');
  if (at == std::string_view::npos) return {};
  const std::string_view info = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  const std::size_t colon = info.find(':');
  if (colon == std::string_view::npos || colon + 1 == info.size()) {
    return wrong("user", "'user:password' or ':password' before '@'");
  }
  PX_TRY(to.user, decoded("user", info.substr(0, colon)));
  PX_TRY(to.password, decoded("password", info.substr(colon + 1)));
  return {};
}

Result<void> set_db(std::string_view text, Url& to) {
  const auto number = base::parse_decimal(text, std::numeric_limits<std::int32_t>::max());
  if (!number) return wrong("database", "a number");
  to.db = static_cast<std::uint32_t>(*number);
  return {};
}

Result<void> set_host(std::string_view text, Url& to) {
  std::optional<std::string_view> port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("host", "']' behind an IPv6 address");
    const std::string_view behind = text.substr(end + 1);
    if (!behind.empty() && behind.front() != ':') return wrong("host", "':port' behind ']'");
    if (!behind.empty()) port = behind.substr(1);
    text = text.substr(1, end - 1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    port = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  const bool is_plain = std::all_of(text.begin(), text.end(), [](char c) {
    return base::is_digit(c) || (base::lower(c) >= 'a' && base::lower(c) <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == ':' || c == '%';
  });
  if (text.empty() || !is_plain) {
    return wrong("host", "a name or address (an IPv6 address in brackets)");
  }
  to.host = text;
  if (!port) return {};
  const auto number = base::parse_decimal(*port, std::numeric_limits<std::uint16_t>::max());
  if (!number || *number == 0) return wrong("port", "1 to 65535");
  to.port = static_cast<std::uint16_t>(*number);
  return {};
}

Result<Url> parse_tcp(std::string_view rest) {
  Url url;
  PX_CHECK(take_user(rest, url));
  const std::size_t slash = rest.find('/');
  PX_CHECK(set_host(rest.substr(0, slash), url));
  if (slash != std::string_view::npos && slash + 1 < rest.size()) {
    PX_CHECK(set_db(rest.substr(slash + 1), url));
  }
  return url;
}

Result<Url> parse_unix(std::string_view rest) {
  Url url;
  PX_CHECK(take_user(rest, url));
  const std::size_t mark = rest.find('?');
  if (mark != std::string_view::npos) {
    constexpr std::string_view key = "db=";
    const std::string_view query = rest.substr(mark + 1);
    if (!query.starts_with(key)) return wrong("query", "'db=NUMBER'");
    PX_CHECK(set_db(query.substr(key.size()), url));
  }
  PX_TRY(url.path, decoded("path", rest.substr(0, mark)));
  if (!url.path.starts_with('/')) return wrong("path", "an absolute path");
  if (url.path.find('\0') != std::string::npos) return wrong("path", "no NUL");
  if (url.path.size() >= sizeof(sockaddr_un::sun_path)) {
    return wrong("path", fmt::format("at most {} bytes", sizeof(sockaddr_un::sun_path) - 1));
  }
  return url;
}

}  // namespace

bool Url::has_scheme(std::string_view text) noexcept {
  const std::string_view scheme = text.substr(0, text.find(':'));
  return scheme == "redis" || scheme == "redis+unix" || scheme == "rediss";
}

Result<Url> Url::parse(std::string_view text) {
  if (text.starts_with(tcp_scheme)) return parse_tcp(text.substr(tcp_scheme.size()));
  if (text.starts_with(unix_scheme)) return parse_unix(text.substr(unix_scheme.size()));
  if (text.starts_with("rediss:"))
    return wrong("scheme", "'redis' (TLS to Redis is not available)");
  return wrong("scheme", "'redis://host:port/db' or 'redis+unix:///path'");
}

std::string Url::describe() const {
  if (!path.empty()) return fmt::format("redis+unix://{}?db={}", path, db);
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("redis://{}:{}/{}", is_ipv6 ? "[" + host + "]" : host, port, db);
}

}  // namespace proxycore::redis
