// Listener: a listening socket on a loop; listen_on() makes the descriptors.
//
// Descriptors are made before the workers start, one per worker and address (SO_REUSEPORT spreads
// the connections in the kernel), so that a bind error is told by Server::create and privileges can
// be dropped afterwards. Accepted sockets inherit TCP_NODELAY from the listening one.
// Thread: listen_on() any; Listener its loop's.
#pragma once

#include "io/address.h"
#include "io/loop.h"
#include "io/timers.h"
#include <proxycore/config.h>
#include <proxycore/result.h>

#include <cstdint>

namespace proxycore::io {

// A bound, listening, non-blocking descriptor. `address.address` is an IP literal or a socket path;
// a stale socket file is replaced, a live one is an error. Errors: io (address and reason).
Result<int> listen_on(const ListenAddress& address, std::uint32_t backlog, std::uint32_t unix_mode);
// The port that a listening descriptor got.
std::uint16_t bound_port(int fd) noexcept;

class Listener {
 public:
  class Owner {
   public:
    // `fd` is non-blocking and now the owner's. `peer` is unspecified for Unix sockets.
    virtual void on_accept(int fd, const Address& peer, Listener& from) = 0;

   protected:
    ~Owner() = default;
  };

  // Takes the descriptor. `kind` is for the owner's use.
  Listener(Loop& loop, int fd, bool is_unix, unsigned kind, Owner& owner);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  [[nodiscard]] bool is_unix() const noexcept { return is_unix_; }
  [[nodiscard]] unsigned kind() const noexcept { return kind_; }
  // Takes what the kernel has queued, so that closing the listener afterwards loses no client that
  // had connected already.
  void accept_rest();

 private:
  struct Block;
  void watch(bool on);
  bool accept_one();

  Loop& loop_;
  Block* block_;
  Owner& owner_;
  Timer pause_;  // after the process ran out of descriptors
  int fd_;
  unsigned kind_;
  bool is_unix_;
};

}  // namespace proxycore::io
