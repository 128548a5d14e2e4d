#include "base/text.h"
#include "io/address.h"
#include <proxycore/config.h>

#include <sys/un.h>

#include <fmt/format.h>

namespace proxycore {

namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr std::size_t max_unix_path = sizeof(sockaddr_un::sun_path) - 1;

Error expected(std::string_view what, std::string_view text) {
  return {Errc::invalid, fmt::format("expected {}, found {}", what, base::shown(text))};
}

Result<ListenAddress> parse_unix(std::string_view text) {
  const std::string_view path = text.substr(unix_prefix.size());
  if (path.empty()) return expected("a path behind 'unix:'", text);
  if (path.size() > max_unix_path) {
    return expected(fmt::format("a path of at most {} bytes behind 'unix:'", max_unix_path), text);
  }
  if (path.find('\0') != std::string_view::npos) return expected("a path without NUL", text);
  return ListenAddress{.address = std::string(path), .port = 0, .is_unix = true};
}

}  // namespace

Result<ListenAddress> ListenAddress::parse(std::string_view text) {
  if (text.starts_with(unix_prefix)) return parse_unix(text);
  const std::size_t colon = text.rfind(':');
  std::string_view ip = text.substr(0, colon);
  const bool bracketed = ip.size() >= 2 && ip.front() == '[' && ip.back() == ']';
  if (bracketed) ip = ip.substr(1, ip.size() - 2);

  const auto address = io::Address::parse(ip, 0);
  // Without brackets the last group of an IPv6 address would pass for the port.
  const bool known =
      address ? (address->family() == AF_INET6) == bracketed : text.starts_with("*:");
  if (colon == std::string_view::npos || !known) {
    return expected("an address like 127.0.0.1:8080, [::1]:8080, *:80 or unix:/run/x.sock", text);
  }
  const auto port = base::parse_decimal(text.substr(colon + 1), UINT16_MAX);
  if (!port) return expected("a port from 0 to 65535 behind the last ':'", text);
  return ListenAddress{.address = address ? address->ip() : "*",
                       .port = static_cast<std::uint16_t>(*port),
                       .is_unix = false};
}

std::string ListenAddress::text() const {
  if (is_unix) return fmt::format("{}{}", unix_prefix, address);
  const bool ipv6 = address.find(':') != std::string::npos;
  return ipv6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
}

}  // namespace proxycore
