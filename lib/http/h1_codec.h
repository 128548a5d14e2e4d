// H1Codec: HTTP/1.1 (and 1.0) on one connection, in either role: bytes in, events and bytes out.
//
// One exchange at a time; pipelined input waits. A parser is borrowed from the worker's H1Parsers
// while a message is being read, so that an idle connection holds no parser, head or buffer.
// Content of known or unlimited length is passed on in the slab it came in. Whatever could make
// the two sides disagree about where a message ends closes the connection.
// Not here: hop-by-hop fields (proxy/rewrite), what makes a message ambiguous (framing), fields and
// chunks (h1_parser). Source: RFC 9112. Owner: the connection. Thread: its worker's.
#pragma once

#include "base/chain.h"
#include "http/codec.h"
#include "http/head.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace proxycore::http {

class H1Parser;

// A worker's free parsers; outlives its codecs.
class H1Parsers {
 public:
  H1Parsers();
  ~H1Parsers();
  std::unique_ptr<H1Parser> take();
  void give_back(std::unique_ptr<H1Parser> parser);

 private:
  std::vector<std::unique_ptr<H1Parser>> free_;
};

class H1Codec final : public Codec, private Stream {
 public:
  // Everything by reference outlives the codec.
  H1Codec(Role role, const Limits& limits, base::Slabs& slabs, H1Parsers& parsers, Peer& peer);
  H1Codec(const H1Codec&) = delete;
  H1Codec& operator=(const H1Codec&) = delete;
  ~H1Codec() override;

  void feed(Bytes in) override;
  void end_of_input() override;
  void abort(const Reset& why) override;
  Stream* open(StreamEvents& events) override;
  Chain& output() override { return output_; }
  void written() override;
  void refuse(const Reset& why) override;
  void drain() override;
  [[nodiscard]] bool backlog() override { return !output_.empty(); }
  void drop_stalled() override {}
  [[nodiscard]] bool persistent() const noexcept override;
  [[nodiscard]] bool reusable() const noexcept override;
  [[nodiscard]] After after_output() const noexcept override;
  [[nodiscard]] bool idle() const noexcept override;

 private:
  // What the peer's bytes are.
  enum class In : std::uint8_t {
    idle,  // no byte of a message seen; client role: waiting for a response head
    line,
    fields,
    length,
    until_close,
    chunked,
    tunnel,
    done,    // the message is complete, the exchange is not: more input waits
    ignore,  // nothing is read any more
  };
  // What we may write.
  enum class Out : std::uint8_t {
    idle,
    head,
    length,
    until_close,
    chunked,
    nothing,  // a message without content: what comes is dropped
    tunnel,
    done,
  };

  Flow send_head(const Head& head, End end) override;
  Flow send_body(Bytes part, End end) override;
  void send_trailers(const Fields& trailers) override;
  void receive(bool on) override;
  void reset(Errc why) override;
  [[nodiscard]] Flow flow() noexcept override;

  // Input: each takes what it understands and returns how many bytes that was.
  std::size_t consume(Bytes in);
  std::size_t read_idle(Bytes in);
  std::size_t read_line(Bytes in);
  std::size_t read_fields(Bytes in);
  std::size_t read_content(Bytes in);
  std::size_t read_chunks(Bytes in);
  [[nodiscard]] bool may_read() const noexcept;
  void begin_exchange();
  void take_response();
  void begin_content(Framing framing) noexcept;
  void content_read() noexcept;
  void finish_input();

  // Output.
  void write_head(const Head& head, Framing wire);
  void begin_output(Framing wire, const Head& head) noexcept;
  void finish_output();

  // The exchange.
  void settle();
  void fail(Reset why);
  void shut();
  void close_off() noexcept;
  void tell_receive();
  void resume();
  void drop_input() noexcept;

  const Limits& limits_;
  H1Parsers& parsers_;
  Peer& peer_;
  StreamEvents* events_ = nullptr;  // null once nothing follows
  std::unique_ptr<H1Parser> parser_;
  Chain output_;
  Chain kept_;                  // input that waits
  std::uint64_t in_left_ = 0;   // with In::length
  std::uint64_t out_left_ = 0;  // with Out::length
  Role role_;
  In in_ = In::idle;
  Out out_ = Out::idle;
  std::uint8_t blank_ = 0;  // bytes of empty lines before a request
  bool open_ : 1 = false;   // a stream exists
  bool persistent_ : 1 = true;
  bool draining_ : 1 = false;
  bool closing_ : 1 = false;
  bool cut_ : 1 = false;       // closing within content that ends with the connection
  bool unread_ : 1 = false;    // not all input will be read
  bool paused_ : 1 = false;    // by the stream's receive()
  bool receiving_ : 1 = true;  // what the peer was told
  bool was_full_ : 1 = false;  // on_sendable is due
  bool last_ : 1 = false;      // the client has said that it sends no further request
  bool eof_ : 1 = false;
  bool feeding_ : 1 = false;
  bool ended_ : 1 = false;    // an exchange ended in this feed(): the next one waits for another
  bool to_head_ : 1 = false;  // the request is a HEAD
  bool http10_ : 1 = false;   // the client speaks HTTP/1.0
  bool upgrade_ : 1 = false;  // the request asked for an upgrade
};

static_assert(sizeof(H1Codec) <= 200, "held by every idle connection");

}  // namespace proxycore::http
