// H2Codec: HTTP/2 on one connection, in either role: bytes in, events and bytes out.
//
// nghttp2 does framing, HPACK, flow control and the rules of single messages. Content goes out in
// the slabs it came in, in turns of one frame per stream, and only as much as the connection takes:
// what is not yet framed waits with its stream, so that a small response does not queue behind a
// large one. A window opens as the side above takes what came.
// Not here: single streams (h2_stream), what nghttp2 calls (h2_callbacks), pseudo-header fields
// (h2_head), what counts as abuse (h2_limits), time.
// Source: RFC 9113, RFC 9218. Owner: the connection. Thread: its worker's.
#pragma once

#include "base/chain.h"
#include "base/list.h"
#include "http/codec.h"
#include "http/h2_limits.h"
#include "http/head.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

struct nghttp2_session;

namespace proxycore::http {

class H2Block;
class H2Memory;
class H2Stream;
struct H2OpenTag;
struct H2DueTag;

class H2Codec final : public Codec {
 public:
  // Everything by reference outlives the codec. output() holds our settings from the beginning.
  H2Codec(Role role, const Limits& limits, const H2Limits& h2_limits, H2Memory& memory, Peer& peer);
  H2Codec(const H2Codec&) = delete;
  H2Codec& operator=(const H2Codec&) = delete;
  ~H2Codec() override;

  void feed(Bytes in) override;
  void end_of_input() override;
  void abort(const Reset& why) override;
  Stream* open(StreamEvents& events) override;
  Chain& output() override;
  void written() override;
  void refuse(const Reset& why) override;
  void drain() override;
  [[nodiscard]] bool backlog() override { return owed_ > 0 || !output().empty(); }
  void drop_stalled() override;
  [[nodiscard]] bool persistent() const noexcept override;
  [[nodiscard]] bool reusable() const noexcept override;
  [[nodiscard]] After after_output() const noexcept override;
  [[nodiscard]] bool idle() const noexcept override;

 private:
  friend class H2Stream;
  friend struct H2Callbacks;

  // A connection holds so many times the content of one stream.
  static constexpr std::size_t shares = 4;
  // Framed but not yet taken by the connection: what a small response may have to wait for.
  static constexpr std::size_t framed_at_once = 128 << 10;

  // Events are given in between; at the end everything that can be written is in output().
  class Turn;

  // Input.
  void take_head(std::int32_t id, End end);
  void take_request(std::int32_t id, End end);
  void take_response(H2Stream& stream, End end);
  void take_content(H2Stream& stream, Bytes part);
  void refuse_stream(H2Stream& stream, Reset why);
  void give_up(H2Stream& stream, std::uint32_t code, const Reset& why);
  void prioritise(std::int32_t id, const Fields& fields);
  void consume(std::int32_t id, std::size_t size);
  [[nodiscard]] int waste(Waste what);
  [[nodiscard]] int abuse(std::string_view what);

  // Output.
  void touch();
  void pump();
  void settle();
  void settle(H2Stream& stream);
  void give_end(H2Stream& stream);
  void tell_sendable();

  H2Stream& add_stream(std::int32_t id);
  void release(H2Stream& stream);
  void give_back_block();
  void fail(std::uint32_t code, std::string_view why);
  void shut();

  const Limits& limits_;
  const H2Limits& h2_limits_;
  H2Memory& memory_;
  Peer& peer_;
  nghttp2_session* session_ = nullptr;
  Chain output_;
  H2Budget budget_;
  Bytes in_;                              // being read
  std::unique_ptr<H2Block> block_;        // the header block being read
  base::List<H2Stream, H2OpenTag> open_;  // all streams
  base::List<H2Stream, H2DueTag> due_;    // those with something to tell, or to be released
  std::size_t owed_ = 0;                  // content not framed yet, of all streams
  std::string_view error_;                // what was wrong last
  std::int32_t block_of_ = 0;             // the stream of block_
  std::uint32_t streams_ = 0;             // in open_
  std::uint32_t full_ = 0;                // streams that were told Flow::full
  std::uint32_t streams_in_drain_ = 0;    // since the first GOAWAY
  std::uint32_t continuations_ = 0;       // of the header block being read
  Role role_;
  bool busy_ = false;      // in a Turn
  bool touched_ = true;    // nghttp2 may have something to write
  bool greeted_ = false;   // the peer's first SETTINGS came
  bool abusive_ = false;   // the peer went over a limit of ours
  bool failed_ = false;    // nghttp2 has ended the connection for an error
  bool draining_ = false;  // the first GOAWAY is on its way
  bool last_ = false;      // the one that names the last stream, too
  bool goaway_ = false;    // the peer sent one
  bool closing_ = false;   // nothing follows what output() holds
  bool eof_ = false;
};

}  // namespace proxycore::http
