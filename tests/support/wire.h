// Wire: a connection whose test waits for what comes, for at most ten seconds. For tests with a
// server on threads of its own. Thread: any, one at a time.
#pragma once

#include "support/sockets.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include <sys/time.h>

#include <doctest/doctest.h>

namespace proxycore::test {

class Wire {
 public:
  explicit Wire(Fd fd) : fd_(std::move(fd)) {
    const timeval limit{10, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  static Fd connected(std::uint16_t port) {
    const auto address = *io::Address::parse("127.0.0.1", port);
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), address.data(), address.size()) == 0);
    return fd;
  }
  static Wire to(std::uint16_t port) { return Wire(connected(port)); }

  void send(std::string_view text) const { fd_.send(text); }
  void close() { fd_.close(); }
  // What came, up to and with `mark`.
  std::string until(std::string_view mark) {
    std::size_t at = in_.find(mark);
    while (at == std::string::npos) {
      REQUIRE_MESSAGE(more(), "the connection ended, or nothing came, after: ", in_);
      at = in_.find(mark);
    }
    return cut(at + mark.size());
  }
  std::string take(std::size_t size) {
    while (in_.size() < size) REQUIRE(more());
    return cut(size);
  }
  // A head and the content that Content-Length tells of.
  std::string message() {
    std::string all = until("\r\n\r\n");
    const std::size_t at = all.find("Content-Length: ");
    if (at != std::string::npos) all += take(std::strtoul(all.c_str() + at + 16, nullptr, 10));
    return all;
  }
  // 0: no answer.
  int status() {
    const std::string answer = message();
    return answer.size() > 12 ? std::atoi(answer.c_str() + 9) : 0;
  }
  // Everything up to the end.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(in_, {});
  }

 private:
  bool more() {
    const std::string part = fd_.receive();
    in_ += part;
    return !part.empty();
  }
  std::string cut(std::size_t size) {
    std::string part = in_.substr(0, size);
    in_.erase(0, size);
    return part;
  }

  Fd fd_;
  std::string in_;
};

}  // namespace proxycore::test
