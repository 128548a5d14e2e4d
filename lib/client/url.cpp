#include "client/url.h"

#include "base/text.h"
#include <proxycore/host.h>

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace proxycore::client {

namespace {

constexpr std::uint16_t http_port = 80;
constexpr std::uint16_t https_port = 443;

Error wrong(std::string_view part, std::string_view expected) {
  return {Errc::invalid, fmt::format("url: {}: expected {}", part, expected)};
}

bool take_scheme(std::string_view& text, std::string_view scheme) {
  if (!base::same(text.substr(0, scheme.size()), scheme)) return false;
  text.remove_prefix(scheme.size());
  return true;
}

Result<void> set_authority(std::string_view text, Url& to) {
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  auto host = HostName::canonical(text.substr(0, colon));
  if (!host) return std::move(host).error().within("url: host");
  to.host = *std::move(host);
  // An empty port is the scheme's own (RFC 3986 §3.2.3).
  if (colon == std::string_view::npos || colon + 1 == text.size()) return {};
  const auto port =
      base::parse_decimal(text.substr(colon + 1), std::numeric_limits<std::uint16_t>::max());
  if (!port || *port == 0) return wrong("port", "1 to 65535");
  to.port = static_cast<std::uint16_t>(*port);
  return {};
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  if (text.size() > max_size) return wrong("all of it", "at most 8192 bytes");
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!printable) return wrong("all of it", "printable ASCII without blanks");
  Url url;
  url.tls = take_scheme(text, "https://");
  if (!url.tls && !take_scheme(text, "http://")) return wrong("scheme", "https:// or http://");
  url.port = url.tls ? https_port : http_port;
  if (text.find('#') != std::string_view::npos) return wrong("fragment", "none");
  const std::size_t end = text.find_first_of("/?");
  const std::string_view authority = text.substr(0, end);
  if (authority.find('@') != std::string_view::npos) return wrong("user information", "none");
  PX_CHECK(set_authority(authority, url));
  if (end == std::string_view::npos) return url;
  if (text[end] == '?') {
    url.target.append(text.substr(end));
  } else {
    url.target = text.substr(end);
  }
  return url;
}

std::string Url::authority() const {
  if (port == (tls ? https_port : http_port)) return host;
  return fmt::format("{}:{}", host, port);
}

std::string Url::describe() const {
  return (tls ? "https://" : "http://") + authority();
}

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const bool letter = base::lower(c) >= 'a' && base::lower(c) <= 'z';
    if (letter || base::is_digit(c) || std::string_view{"-._~"}.find(c) != std::string_view::npos) {
      encoded.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(encoded), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      decoded.push_back(text[at]);
      continue;
    }
    unsigned char byte = 0;
    if (!base::parse_hex(text.substr(at + 1, 2), {&byte, 1})) return std::nullopt;
    decoded.push_back(static_cast<char>(byte));
    at += 2;
  }
  return decoded;
}

}  // namespace proxycore::client
