// H2Stream: one stream of an H2Codec: what the side above does with a request and its response.
//
// nghttp2 forgets a stream once it is closed; this one lives on until the side above has heard
// everything. What is sent waits here until its frame's turn; what comes while the stream does not
// receive waits here, too, and keeps its window closed.
// Source: RFC 9113 §5, §8.1. Owned by H2Parts, lent to a codec. Thread: its worker's.
#pragma once

#include "base/chain.h"
#include "base/list.h"
#include "http/codec.h"
#include "http/h2_codec.h"

#include <cstddef>
#include <cstdint>

namespace proxycore::http {

class H2Stream final : public Stream,
                       public base::ListNode<H2OpenTag>,
                       public base::ListNode<H2DueTag> {
 public:
  explicit H2Stream(base::Slabs& slabs) : out_(slabs), kept_(slabs) {}
  ~H2Stream() override = default;

  Flow send_head(const Head& head, End end) override;
  Flow send_body(Bytes part, End end) override;
  void send_trailers(const Fields& trailers) override;
  void receive(bool on) override;
  void reset(Errc why) override;
  Flow flow() override;

 private:
  friend class H2Codec;
  friend struct H2Callbacks;

  enum class Out : std::uint8_t {
    head,
    length,   // content of `left_` more bytes
    content,  // of unknown length
    nothing,  // a message without content: what comes is dropped
    done,
  };

  void begin(H2Codec& codec, std::int32_t id);
  void finish_output();
  void break_off(std::uint32_t code);
  void drop_output();
  void drop_input();
  void resume();
  void settle_ends();
  void become_due() { codec_->due_.push_back(*this); }
  // Content, and an end, that are still to be framed.
  [[nodiscard]] std::size_t owed() const noexcept { return out_.size() + (end_owed_ ? 1 : 0); }
  [[nodiscard]] bool complete() const noexcept { return in_ended_ && out_ended_; }
  // How much may wait here before the side above is told that it is full.
  [[nodiscard]] std::size_t share() const noexcept;

  H2Codec* codec_ = nullptr;
  StreamEvents* events_ = nullptr;  // null once nothing follows
  std::int32_t id_ = 0;             // 0: a request that was not sent yet
  std::uint32_t code_ = 0;          // why it was closed
  Out state_ = Out::head;
  bool to_head_ = false;        // the request is a HEAD
  bool head_read_ = false;      // client role: the final response head came
  bool in_ended_ = false;       // END_STREAM came
  bool in_done_ = false;        // and was told, or will not be
  bool out_ended_ = false;      // END_STREAM was written
  bool end_owed_ = false;       // END_STREAM waits for what is in out_
  bool trailers_owed_ = false;  // and trailers_ with it
  bool trailers_came_ = false;
  bool paused_ = false;
  bool deferred_ = false;  // nghttp2 asked for content when there was none
  bool full_ = false;      // on_sendable is due
  bool moved_ = false;     // content was framed since drop_stalled()
  bool reset_ = false;     // by us, on purpose
  bool unread_ = false;    // what comes is dropped; server: it ends with our response
  bool closed_ = false;    // nghttp2 has forgotten it
  std::uint64_t left_ = 0;
  std::uint64_t received_ = 0;
  Chain out_;        // content to be framed
  Chain kept_;       // content that came while paused
  Fields trailers_;  // to be sent
  Fields came_;      // trailers that came
};

}  // namespace proxycore::http
