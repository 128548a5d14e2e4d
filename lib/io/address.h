// Address: an IPv4 or IPv6 socket address; Network: a range of addresses (CIDR).
//
// Not here: names (resolver.h), Unix sockets (they have paths, not addresses).
// Source: RFC 4632, RFC 4291. Thread: values.
#pragma once

#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>

namespace proxycore::io {

class Address {
 public:
  Address() noexcept { any_.sa_family = AF_UNSPEC; }
  explicit Address(const sockaddr& from) noexcept;

  // An IP literal without brackets. nullopt: it is none.
  static std::optional<Address> parse(std::string_view ip, std::uint16_t port) noexcept;

  [[nodiscard]] bool unspecified() const noexcept { return any_.sa_family == AF_UNSPEC; }
  [[nodiscard]] int family() const noexcept { return any_.sa_family; }
  [[nodiscard]] std::uint16_t port() const noexcept;
  void set_port(std::uint16_t port) noexcept;
  [[nodiscard]] const sockaddr* data() const noexcept { return &any_; }
  [[nodiscard]] socklen_t size() const noexcept;
  // The address without its port and without brackets; IPv4-mapped IPv6 as IPv4. "" if unspecified.
  [[nodiscard]] std::string ip() const;
  // "127.0.0.1:80", "[::1]:80".
  [[nodiscard]] std::string text() const;

  // IPv4 as IPv4-mapped IPv6, 16 bytes in network order: comparable and hashable.
  struct Bits {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend bool operator==(const Bits&, const Bits&) = default;
  };
  [[nodiscard]] Bits bits() const noexcept;

 private:
  // NOLINTBEGIN(readability-identifier-naming): private, though clang-tidy 14 calls them public
  union {
    sockaddr any_;
    sockaddr_in v4_;
    sockaddr_in6 v6_;
  };
  // NOLINTEND(readability-identifier-naming)
};

class Network {
 public:
  // "10.0.0.0/8", "::1", "192.0.2.7". Errors: invalid (says what was expected).
  static Result<Network> parse(std::string_view text);
  [[nodiscard]] bool contains(const Address& address) const noexcept;

 private:
  Address::Bits bits_;
  Address::Bits mask_;
};

}  // namespace proxycore::io
