// ClientConnection: one client: Transport + Codec in the server role, and its exchanges.
//
// Over TLS the codec is made when the handshake is done and ALPN has chosen between HTTP/2 and
// HTTP/1.1. The one timer guards what the connection as a whole waits for: the handshake, a request
// (idle), the rest of a head, a client that takes no bytes, the end of a lingering close. What an
// exchange waits for is the exchange's own matter.
// Owned by its worker. Thread: its worker's.
#pragma once

#include "base/list.h"
#include "http/codec.h"
#include "io/address.h"
#include "io/loop.h"
#include "io/timers.h"
#include "io/transport.h"
#include "proxy/rewrite.h"
#include <proxycore/handler.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace proxycore::proxy {

class Exchange;
struct ConnectionTag;
struct ExchangeTag;
class Worker;

class ClientConnection final : public io::Retired,
                               public base::ListNode<ConnectionTag>,
                               io::Transport::Owner,
                               io::Later,
                               http::Codec::Peer {
 public:
  // How it came in.
  struct Accepted {
    io::Address peer;
    bool is_unix = false;
    bool tls = false;
    bool surplus = false;        // over a limit: it is told so and closed
    Handler* handler = nullptr;  // answers everything on it (the admin listener)
  };
  ClientConnection(Worker& worker, std::unique_ptr<io::Transport> transport, const Accepted& from);
  ~ClientConnection() override;

  [[nodiscard]] const ClientInfo& info() const noexcept { return info_; }
  [[nodiscard]] bool surplus() const noexcept { return surplus_; }
  [[nodiscard]] Handler* handler() const noexcept { return handler_; }

  // For exchanges.
  [[nodiscard]] bool covers(std::string_view host) const noexcept {
    return transport_->covers(host);
  }
  // Its streams end on their own.
  [[nodiscard]] bool http2() const noexcept { return http2_; }
  // What follows the exchange's request on the connection is not to be trusted, or not to be read.
  void close_after_response();
  // Writes now instead of at the end of the turn: much content, whose slab is then free for the
  // next read while it is still in the cache. Returns whether `stream` has room for more.
  bool push(http::Stream& stream);
  void exchange_ended(Exchange& exchange);

  // No new request is to be expected; one that comes soon is still answered.
  void drain();
  // At once.
  void close();

 private:
  enum class Phase : std::uint8_t { handshake, idle, head, exchange, blocked, linger };

  // io::Transport::Owner
  void on_open() override;
  void on_bytes(base::Bytes in) override;
  void on_end() override;
  void on_writable() override;
  void on_closed(const Error& why) override;
  // io::Later
  void on_later() override;
  // http::Codec::Peer
  http::StreamEvents& on_stream(http::Stream& opened_by_peer) override;
  void on_output() override;
  void on_receive(bool on) override;

  void begin(bool http2);
  void flush();
  void update();
  void enter(Phase next);
  void on_timeout();
  bool watch_blocked();

  Worker& worker_;
  std::unique_ptr<http::Codec> codec_;  // null during the handshake
  std::unique_ptr<io::Transport>
      transport_;  // dies before the codec whose output it may be writing
  io::Timer timer_;
  ClientInfo info_;
  io::Address peer_;
  Handler* handler_;
  base::List<Exchange, ExchangeTag> exchanges_;
  Phase phase_ = Phase::handshake;
  bool surplus_;
  bool http2_ = false;
  bool moved_ = false;   // the client took bytes since the timer was armed
  bool resume_ = false;  // the codec may go on with input it kept
  bool draining_ = false;
  bool ended_ = false;     // the client sends no more
  bool finished_ = false;  // we sent FIN
  bool closed_ = false;    // on its way out
  std::uint32_t requests_ = 0;
  std::size_t unsent_ = 0;      // when it was last found blocked
  std::uint64_t lingered_ = 0;  // bytes
};

}  // namespace proxycore::proxy
