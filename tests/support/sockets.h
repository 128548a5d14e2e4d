// Raw sockets on loopback for the far side of a test: blocking, unless said otherwise, and closed
// when they die. Ports are the system's choice. Thread: any.
#pragma once

#include "io/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
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

// What who connects meets.
enum class Answer { accepts, hangs, refuses };

// A port of ours.
class Door {
 public:
  explicit Door(std::string_view ip = "127.0.0.1", Answer answer = Answer::accepts) {
    std::optional<Door> made = at(*io::Address::parse(ip, 0), answer);
    REQUIRE(made.has_value());
    *this = *std::move(made);
  }
  // Two with the same port, on 127.0.0.1 and 127.0.0.2.
  static std::pair<Door, Door> twins(Answer first, Answer second) {
    for (int tries = 0;; ++tries) {  // somebody else may have the port
      REQUIRE(tries < 100);
      Door two("127.0.0.2", second);
      auto one = at(*io::Address::parse("127.0.0.1", two.address.port()), first);
      if (one) return {*std::move(one), std::move(two)};
    }
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

 private:
  struct Unopened {};
  explicit Door(Unopened) {}

  static std::optional<Door> at(const io::Address& wanted, Answer answer) {
    Door door{Unopened{}};
    door.fd = Fd(::socket(wanted.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(door.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(door.fd.get(), wanted.data(), wanted.size()) != 0) return std::nullopt;
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    ::getsockname(door.fd.get(), reinterpret_cast<sockaddr*>(&name), &size);
    door.address = io::Address(reinterpret_cast<const sockaddr&>(name));
    if (answer == Answer::refuses) return door;
    if (::listen(door.fd.get(), answer == Answer::hangs ? 0 : 128) != 0) return std::nullopt;
    // The queue is full with one: the next SYN is not answered.
    if (answer == Answer::hangs) door.queued_ = door.connect();
    return door;
  }

  Fd queued_;
};

}  // namespace proxycore::test
