// Raw sockets on loopback for the far side of a test: blocking, unless said otherwise, and closed
// when they die. Ports are the system's choice. Thread: any.
#pragma once

#include "io/address.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace proxycore::test {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) noexcept : fd_(number) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  // Closes with RST.
  void abort() noexcept {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      REQUIRE(sent > 0);
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // What one read(2) gives; "" at the end.
  [[nodiscard]] std::string receive(std::size_t most = 1 << 16) const {
    std::string text(most, '\0');
    const ssize_t count = ::recv(fd_, text.data(), text.size(), 0);
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return text;
  }
  // What is there without waiting.
  [[nodiscard]] std::string receive_now() const {
    std::string text(1 << 16, '\0');
    const ssize_t count = ::recv(fd_, text.data(), text.size(), MSG_DONTWAIT);
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return text;
  }
  // Whether the far end has closed, and everything before was read.
  [[nodiscard]] bool ended() const {
    char byte = 0;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
  }
  [[nodiscard]] std::string receive_all() const {
    std::string all;
    for (std::string part = receive(); !part.empty(); part = receive()) all += part;
    return all;
  }
  void shut_write() const { ::shutdown(fd_, SHUT_WR); }
  void set_blocking(bool on) const {
    const int flags = ::fcntl(fd_, F_GETFL);
    ::fcntl(fd_, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
  }

 private:
  int fd_ = -1;
};

// A listening socket; `port` 0: on a port of the system's choice.
struct Door {
  explicit Door(std::string_view ip = "127.0.0.1", std::uint16_t port = 0, int backlog = 128) {
    address = *io::Address::parse(ip, port);
    fd = Fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(fd.get(), address.data(), address.size()) == 0);
    REQUIRE(::listen(fd.get(), backlog) == 0);
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size);
    address = io::Address(reinterpret_cast<const sockaddr&>(name));
  }
  [[nodiscard]] Fd accept() const {
    return Fd(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  [[nodiscard]] Fd connect() const {
    Fd client(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.get(), address.data(), address.size()) == 0);
    return client;
  }

  Fd fd;
  io::Address address;
};

}  // namespace proxycore::test
