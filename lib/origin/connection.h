// Connection: one connection to a target: Transport + Codec in the client role.
//
// It resolves the target's name, tries its addresses one after the other, shakes hands where TLS is
// spoken, carries one exchange at a time (HTTP/1.1), and waits in the pool in between. A byte or
// FIN that comes while it is idle ends it, so that the next exchange does not find it dead.
// Owned by its Endpoint (pool.h). Thread: its worker's.
#pragma once

#include "base/list.h"
#include "http/codec.h"
#include "http/h1_codec.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/timers.h"
#include "io/transport.h"
#include "tls/transport.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace proxycore::origin {

class Pool;
class Waiter;
struct Endpoint;
struct IdleTag;

class Connection final : public io::Retired,
                         public base::ListNode<IdleTag>,
                         io::Transport::Owner,
                         io::Resolver::Waiter,
                         io::Later,
                         http::Codec::Peer {
 public:
  Connection(Pool& pool, Endpoint& endpoint);
  ~Connection() override;

  // Starts connecting for `waiter`, who gets the lease later. An error when that cannot even begin.
  std::optional<Error> open(Millis limit, origin::Waiter& waiter);

  [[nodiscard]] http::Codec& codec() noexcept { return codec_; }
  [[nodiscard]] Endpoint& endpoint() noexcept { return endpoint_; }
  // Whether an exchange has already been completed on it.
  [[nodiscard]] bool reused() const noexcept { return exchanges_ > 1; }

  // Writes now instead of at the end of the turn; see ClientConnection::push().
  bool push();

  // Called by Pool and Lease.
  void lend() noexcept;
  void give_back();
  void wait_for_use(Millis limit);

 private:
  friend class Pool;
  enum class State { resolving, connecting, shaking_hands, lent, idle, dead };

  // io::Transport::Owner
  void on_open() override;
  void on_bytes(base::Bytes in) override;
  void on_end() override;
  void on_writable() override;
  void on_closed(const Error& why) override;
  // io::Resolver::Waiter
  void on_resolved(const io::Addresses& answer) override;
  // io::Later: flush
  void on_later() override;
  // http::Codec::Peer
  http::StreamEvents& on_stream(http::Stream& opened_by_peer) override;
  void on_output() override { loop_.later(*this); }
  void on_receive(bool on) override;

  std::optional<Error> connect_next();
  void connect_failed(Error why);
  void shake_hands();
  void handshake_failed(Error why);
  void opened();
  void keep_session();
  void flush();
  void settle();
  void die();

  Pool& pool_;
  Endpoint& endpoint_;
  io::Loop& loop_;
  State state_ = State::resolving;
  bool in_event_ = false;  // give_back() inside one of our own events settles when it is over
  bool returned_ = false;  // the lease ended in such an event
  bool resume_ = false;    // the codec may go on with input it kept
  std::uint64_t exchanges_ = 0;
  std::size_t index_ = 0;  // in endpoint_.connections
  std::size_t next_address_ = 0;
  std::vector<io::Address> addresses_;
  base::List<origin::Waiter> waiter_;  // at most one: who we connect for
  io::Timer timer_;                    // connecting: the limit of this attempt; idle: of keeping it
  Millis connect_limit_{0};
  http::H1Codec codec_;
  std::shared_ptr<const tls::Session> resume_session_;  // until the handshake
  std::int64_t shaken_ = 0;  // when the full handshake was that its session comes from
  std::shared_ptr<tls::ClientContext> context_;  // null: no TLS is spoken
  // Dies before the codec whose output it may be writing.
  std::unique_ptr<io::Transport> transport_;
  tls::Transport* tls_ = nullptr;  // transport_, once TLS is spoken on it
};

}  // namespace proxycore::origin
