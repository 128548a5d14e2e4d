// Stream, StreamEvents, Codec: the narrow waist between HTTP versions and everything above.
//
// Five verbs down, five events up, the same for both roles and both versions. A codec is sans-I/O:
// bytes go in by feed(), bytes come out in output(), and it knows neither sockets nor loops. The
// verbs never call back before they return; events come only out of feed(), end_of_input(),
// written(), abort() and drop_stalled().
// Source: RFC 9110 §6, §15.2; RFC 9112; RFC 9113 §8. Thread: its worker's.
#pragma once

#include "base/chain.h"
#include "http/head.h"
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace proxycore::http {

using base::Bytes;
using base::Chain;

enum class End : bool { no, yes };
enum class Flow : bool { ok, full };
enum class Role : std::uint8_t { server, client };  // server: reads requests

enum class After : std::uint8_t {
  keep,    // nothing
  finish,  // send FIN and go on receiving (a tunnel's half that ended)
  close,   // close the connection
  abort,   // reset the connection: its end would make a cut message look whole (RFC 9112 §8)
  linger,  // send FIN, and close once the peer has stopped sending: not all it sent was read, and a
           // reset would destroy our last words (RFC 9112 §9.6)
};

// What one message may hold. Beyond: a reset with 431, 414 or 413 (server), 502 (client).
struct Limits {
  std::uint32_t header_count = 100;      // fields; trailers are counted apart, same bound
  std::uint32_t header_size = 32768;     // bytes of start line and fields
  std::uint32_t target_size = 8192;      // bytes of a request target
  std::uint64_t body_size = 4ULL << 30;  // bytes of a request's content; responses are not bounded
  // Bytes of output that make send_body() answer Flow::full; on_sendable() comes at half. HTTP/2:
  // per stream, and its window; a connection has four times as much.
  std::size_t high_water = 256 << 10;
  // Bytes of pipelined input kept while an exchange is going on; then reading stops.
  std::size_t pipeline = 64 << 10;
};

// Why a stream ended before its time.
struct Reset {
  Errc code = Errc::protocol;
  // Server role: the status to answer if no head was sent yet (400, 408, 413, 414, 431, 501, 505).
  // 0: nothing can be answered any more, the peer is gone.
  std::uint16_t status = 0;
  std::string_view detail;  // static text for the log, with the RFC section: "two Host fields"
};

// One request and its response. Owned by its codec; dead after its end on both sides, or a reset.
class Stream {
 public:
  virtual ~Stream() = default;
  // Server: a response head (1xx may come first, each with End::no). Client: the request head.
  // The codec writes Content-Length, Transfer-Encoding and Connection itself from head.framing.
  // A 101 begins a tunnel: although both messages have ended, on_body and send_body go on with raw
  // bytes, and each direction ends once more.
  virtual Flow send_head(const Head& head, End end) = 0;
  virtual Flow send_body(Bytes part, End end) = 0;
  // Implies the end. Dropped where the framing has no place for them.
  virtual void send_trailers(const Fields& trailers) = 0;
  virtual void receive(bool on) = 0;  // a level: off withholds on_body until on
  // What send_body() would answer now, which writing output() may have changed.
  virtual Flow flow() = 0;
  // Ends it without an event. If the message cannot be completed on the wire, the connection
  // closes after what output() holds.
  virtual void reset(Errc why) = 0;
};

class StreamEvents {
 public:
  // `head` may be swapped with an old one, whose memory the codec then uses.
  virtual void on_head(Head& head, End end) = 0;
  // An empty part comes only with End::yes.
  virtual void on_body(Bytes part, End end) = 0;
  virtual void on_trailers(Fields& trailers) = 0;  // implies the end
  virtual void on_sendable() = 0;                  // after Flow::full, once output fell to half
  virtual void on_reset(const Reset& why) = 0;     // instead of the end; nothing follows

 protected:
  ~StreamEvents() = default;
};

class Codec {
 public:
  class Peer {  // the connection
   public:
    // Server role: a request head is complete, or broken: on_head or on_reset follows at once.
    virtual StreamEvents& on_stream(Stream& opened_by_peer) = 0;
    // output() became non-empty, or after_output() changed. On a later turn: write, call feed({}),
    // act on after_output().
    virtual void on_output() = 0;
    // The level of wanted input: false stops reading from the socket. True comes, also again, when
    // kept input may go on: feed({}) on a later turn.
    virtual void on_receive(bool on) = 0;

   protected:
    ~Peer() = default;
  };

  virtual ~Codec() = default;
  // Input that comes while an exchange is going on is kept (Limits::pipeline); feed({}) goes on
  // with it once the exchange has ended. HTTP/1: one call begins at most one exchange; a call from
  // within an event does nothing. After an error, input is ignored.
  virtual void feed(Bytes in) = 0;
  // The peer sends no more (FIN).
  virtual void end_of_input() = 0;
  // The connection died under us: every open stream gets on_reset, nothing can be sent.
  virtual void abort(const Reset& why) = 0;
  // Client role: nullptr while no further stream may be opened.
  virtual Stream* open(StreamEvents& events) = 0;
  virtual Chain& output() = 0;
  // The connection took bytes off output().
  virtual void written() = 0;
  // Server role: ends a begun head as if it were malformed; `why` says what is answered.
  virtual void refuse(const Reset& why) = 0;
  // No further streams: the next response head says Connection: close (h1), GOAWAY (h2). What
  // has been promised is kept: a response whose head has gone does not close the connection.
  // HTTP/2 still takes what the client may have sent before it knew, until this is called again.
  virtual void drain() = 0;
  // Something that was sent waits for the peer: output(), or content without a window.
  [[nodiscard]] virtual bool backlog() = 0;
  // Called now and then while there is a backlog: resets the streams whose window has not let
  // anything pass since the last call; the connection, if that was its own window.
  virtual void drop_stalled() = 0;
  // Nothing read or written so far ends the connection after the current exchange.
  [[nodiscard]] virtual bool persistent() const noexcept = 0;
  // Another exchange may follow on this connection now.
  [[nodiscard]] virtual bool reusable() const noexcept = 0;
  // What the connection has to do once output() is empty.
  [[nodiscard]] virtual After after_output() const noexcept = 0;
  // No stream open and no byte of a next one seen.
  [[nodiscard]] virtual bool idle() const noexcept = 0;
};

}  // namespace proxycore::http
