#include "io/address.h"

#include "base/text.h"

#include <bit>
#include <cstring>

#include <arpa/inet.h>

#include <fmt/format.h>

namespace proxycore::io {

namespace {

std::uint64_t big_endian(const unsigned char* bytes) noexcept {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | bytes[i];
  return value;
}

constexpr std::uint64_t mapped_prefix = 0xffff00000000ULL;  // ::ffff:0:0/96

}  // namespace

Address::Address(const sockaddr& from) noexcept {
  any_.sa_family = AF_UNSPEC;
  if (from.sa_family == AF_INET) std::memcpy(&v4_, &from, sizeof v4_);
  if (from.sa_family == AF_INET6) std::memcpy(&v6_, &from, sizeof v6_);
}

std::optional<Address> Address::parse(std::string_view ip, std::uint16_t port) noexcept {
  char text[INET6_ADDRSTRLEN] = {};
  if (ip.size() >= sizeof text || ip.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(text, ip.data(), ip.size());
  Address address;
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, text, &v4) == 1) {
    address.v4_ = {};
    address.v4_.sin_family = AF_INET;
    address.v4_.sin_addr = v4;
  } else if (::inet_pton(AF_INET6, text, &v6) == 1) {
    address.v6_ = {};
    address.v6_.sin6_family = AF_INET6;
    address.v6_.sin6_addr = v6;
  } else {
    return std::nullopt;
  }
  address.set_port(port);
  return address;
}

std::uint16_t Address::port() const noexcept {
  if (family() == AF_INET) return ntohs(v4_.sin_port);
  if (family() == AF_INET6) return ntohs(v6_.sin6_port);
  return 0;
}

void Address::set_port(std::uint16_t port) noexcept {
  if (family() == AF_INET) v4_.sin_port = htons(port);
  if (family() == AF_INET6) v6_.sin6_port = htons(port);
}

socklen_t Address::size() const noexcept {
  return family() == AF_INET ? sizeof v4_ : family() == AF_INET6 ? sizeof v6_ : 0;
}

std::string Address::ip() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &v4_.sin_addr, text, sizeof text);
  } else if (family() == AF_INET6) {
    if (IN6_IS_ADDR_V4MAPPED(&v6_.sin6_addr)) {
      ::inet_ntop(AF_INET, v6_.sin6_addr.s6_addr + 12, text, sizeof text);
    } else {
      ::inet_ntop(AF_INET6, &v6_.sin6_addr, text, sizeof text);
    }
  }
  return text;
}

std::string Address::text() const {
  const std::string host = ip();
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port())
                                             : fmt::format("[{}]:{}", host, port());
}

Address::Bits Address::bits() const noexcept {
  if (family() == AF_INET) return {0, mapped_prefix | ntohl(v4_.sin_addr.s_addr)};
  if (family() == AF_INET6) {
    return {big_endian(v6_.sin6_addr.s6_addr), big_endian(v6_.sin6_addr.s6_addr + 8)};
  }
  return {};
}

Result<Network> Network::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash), 0);
  const auto wrong = [&] {
    return Error{Errc::invalid,
                 fmt::format("expected an address or range like 10.0.0.0/8, found '{}'", text)};
  };
  if (!address) return wrong();
  const bool v4 = address->family() == AF_INET;
  std::uint64_t length = v4 ? 32 : 128;
  if (slash != std::string_view::npos) {
    const auto given = base::parse_decimal(text.substr(slash + 1), length);
    if (!given) return wrong();
    length = *given;
  }
  if (v4) length += 96;
  Network network;
  const auto ones = [](std::uint64_t count) {
    return count == 0 ? 0 : count >= 64 ? ~std::uint64_t{0} : ~std::uint64_t{0} << (64 - count);
  };
  network.mask_ = {ones(length), length > 64 ? ones(length - 64) : 0};
  const Address::Bits bits = address->bits();
  network.bits_ = {bits.high & network.mask_.high, bits.low & network.mask_.low};
  return network;
}

bool Network::contains(const Address& address) const noexcept {
  if (address.unspecified()) return false;
  const Address::Bits bits = address.bits();
  return (bits.high & mask_.high) == bits_.high && (bits.low & mask_.low) == bits_.low;
}

}  // namespace proxycore::io
