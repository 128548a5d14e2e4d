// Sockets for code that blocks: waiting for them, looking names up, connecting, each under a
// Deadline.
//
// The control plane's counterpart of loop, resolver and socket: nothing here knows a loop. A stop
// request ends every wait at once. Not here: what is said on a connection. Source: RFC 8305 (which
// address first). Thread: a Poll, one at a time; the functions, any.
#pragma once

#include "io/address.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>

namespace proxycore::io {

// A file descriptor that is closed with its object.
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
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void close() noexcept;

 private:
  int fd_ = -1;
};

// poll(2) that a stop request wakes.
class Poll {
 public:
  static constexpr std::size_t most = 32;  // watched at once

  Poll();

  // Until one of them is ready, as its revents say; what is ready already counts even if the
  // deadline has passed. Errors: timeout, cancelled, io.
  Result<void> wait(std::span<pollfd> watched, const Deadline& by);
  // The same for one. `events`: POLLIN, POLLOUT.
  Result<void> wait(const Fd& one, short events, const Deadline& by);

 private:
  Fd wake_;  // an eventfd that a stop request writes to
};

// The addresses of a name or of an IP literal (without brackets), with that port; never empty.
// getaddrinfo(3), on a thread of its own that may outlive a call that did not wait for it.
// Errors: not_found, busy (the name's server does not answer), io, timeout, cancelled.
Result<std::vector<Address>> resolve(const std::string& name, std::uint16_t port,
                                     const Deadline& by);

// A TCP connection to the first address that answers; the next one is tried as well when one has
// not answered for a quarter of a second. Does not block. Precondition: not empty.
// Errors: refused, io (the last address's), timeout, cancelled.
Result<Fd> connect(std::span<const Address> addresses, Poll& poll, const Deadline& by);

}  // namespace proxycore::io
