#include "http/h2_codec.h"

#include "base/text.h"
#include "http/framing.h"
#include "http/h2_head.h"
#include "http/h2_heap.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include <nghttp2/nghttp2.h>

namespace proxycore::http {

namespace {

// A connection holds so many times a stream's share of content that waits; then each stream gets
// little, so that none starves.
constexpr std::size_t connection_shares = 4;
constexpr std::size_t short_of_room = 16;

// Framed but not yet taken by the connection: what a small response may have to wait for.
constexpr std::size_t framed_at_once = 128 << 10;

// Response heads may be longer than what nghttp2 writes by default.
constexpr std::size_t max_head_sent = 1 << 20;

// A window that opens by less makes us send more frame than content.
constexpr std::int32_t tiny_window = 16;

constexpr std::size_t frame_head = 9;

std::uint32_t code_of(Errc why, Role role) noexcept {
  switch (why) {
    case Errc::refused:
      return NGHTTP2_REFUSED_STREAM;
    case Errc::cancelled:
    case Errc::timeout:
      return NGHTTP2_CANCEL;
    default:
      return role == Role::server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL;
  }
}

Reset reset_of(std::uint32_t code) noexcept {
  switch (code) {
    case NGHTTP2_REFUSED_STREAM:
      return {Errc::refused, 0, "the peer refused the stream (REFUSED_STREAM)"};
    case NGHTTP2_CANCEL:
      return {Errc::closed, 0, "the peer cancelled the stream (CANCEL)"};
    case NGHTTP2_PROTOCOL_ERROR:
      return {Errc::protocol, 0, "the stream broke a rule of HTTP/2 (PROTOCOL_ERROR)"};
    case NGHTTP2_FLOW_CONTROL_ERROR:
      return {Errc::protocol, 0, "the stream overran its window (FLOW_CONTROL_ERROR)"};
    default:
      return {Errc::closed, 0, "the stream was reset"};
  }
}

}  // namespace

// One stream. nghttp2 forgets it once it is closed; it lives on until the side above has heard
// everything.
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
  friend struct H2Codec::Callbacks;

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
  [[nodiscard]] std::size_t share() const noexcept {
    const std::size_t most = codec_->limits_.high_water;
    return codec_->owed_ < connection_shares * most ? most : most / short_of_room;
  }

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

struct H2Memory::Parts {
  explicit Parts(base::Slabs& with);
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts();

  base::Slabs& slabs;
  H2Heap heap;
  nghttp2_mem mem;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* options = nullptr;
  std::vector<std::unique_ptr<H2Stream>> streams;  // all of them
  base::List<H2Stream, H2DueTag> free;
  std::vector<std::unique_ptr<H2Block>> blocks;
  H2Lines lines;
};

// --- what nghttp2 calls

struct H2Codec::Callbacks {
  static H2Codec& codec(void* data) { return *static_cast<H2Codec*>(data); }
  static H2Stream* stream(nghttp2_session* session, std::int32_t id) {
    return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head, void* data) {
    H2Codec& self = codec(data);
    if (self.closing_) return NGHTTP2_ERR_CALLBACK_FAILURE;
    const bool ack = (head->flags & NGHTTP2_FLAG_ACK) != 0;
    switch (head->type) {
      case NGHTTP2_DATA:
        if (head->length > 0 || (head->flags & NGHTTP2_FLAG_END_STREAM) != 0) return 0;
        return self.waste(Waste::frame);
      case NGHTTP2_HEADERS:
        self.continuations_ = 0;
        return 0;
      case NGHTTP2_CONTINUATION:
        if (++self.continuations_ > self.h2_limits_.continuations) {
          return self.abuse("too many CONTINUATION frames");
        }
        return head->length == 0 ? self.waste(Waste::frame) : 0;
      case NGHTTP2_RST_STREAM: {
        const H2Stream* const ended = stream(session, head->stream_id);
        if (ended == nullptr) return self.waste(Waste::control);
        const bool early = ended->state_ == H2Stream::Out::head;
        return self.waste(early ? Waste::request : Waste::frame);
      }
      case NGHTTP2_SETTINGS:
        if (!std::exchange(self.greeted_, true)) return 0;
        return self.waste(ack ? Waste::frame : Waste::control);
      case NGHTTP2_PING:
        return self.waste(ack ? Waste::frame : Waste::control);
      case NGHTTP2_WINDOW_UPDATE:
      case NGHTTP2_GOAWAY:
        return 0;
      default:
        return self.waste(Waste::frame);
    }
  }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
    H2Codec& self = codec(data);
    if (self.closing_) return NGHTTP2_ERR_CALLBACK_FAILURE;
    H2Block::Kind kind = H2Block::Kind::request;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
      const H2Stream* const of = stream(session, frame->hd.stream_id);
      const bool trailers = self.role_ == Role::server || (of != nullptr && of->head_read_);
      kind = trailers ? H2Block::Kind::trailers : H2Block::Kind::response;
    }
    auto& free = self.memory_.parts_->blocks;
    if (!self.block_) {
      if (free.empty()) {
        self.block_ = std::make_unique<H2Block>();
      } else {
        self.block_ = std::move(free.back());
        free.pop_back();
      }
    }
    self.block_->begin(kind);
    self.block_of_ = frame->hd.stream_id;
    return 0;
  }

  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/,
                       const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                       std::size_t value_size, std::uint8_t /*flags*/, void* data) {
    H2Codec& self = codec(data);
    if (!self.block_) return 0;
    const auto text = [](const std::uint8_t* at, std::size_t size) {
      return std::string_view{reinterpret_cast<const char*>(at), size};
    };
    self.block_->add(text(name, name_size), text(value, value_size), self.limits_);
    const std::size_t most =
        std::size_t{self.limits_.header_size} * self.h2_limits_.header_list_factor;
    return self.block_->size() > most ? self.abuse("header list is far too large") : 0;
  }

  // nghttp2 would leave such a field out; the message is malformed (RFC 9113 §8.2.1).
  static int on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame,
                               const std::uint8_t* /*name*/, std::size_t /*name_size*/,
                               const std::uint8_t* /*value*/, std::size_t /*value_size*/,
                               std::uint8_t /*flags*/, void* /*data*/) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
    H2Codec& self = codec(data);
    const End end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 ? End::yes : End::no;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        self.take_head(frame->hd.stream_id, end);
        break;
      case NGHTTP2_DATA:
        if (end == End::no && frame->hd.length > 0 && frame->hd.length == frame->data.padlen) {
          return self.waste(Waste::frame);
        }
        if (H2Stream* const of = stream(session, frame->hd.stream_id);
            of != nullptr && end == End::yes) {
          of->in_ended_ = true;
          if (of->kept_.empty() && !of->paused_) self.give_end(*of);
        }
        break;
      case NGHTTP2_WINDOW_UPDATE:
        if (frame->window_update.window_size_increment < tiny_window) {
          return self.waste(Waste::frame);
        }
        break;
      case NGHTTP2_GOAWAY:
        self.goaway_ = true;
        break;
      default:
        break;
    }
    return self.closing_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static int on_content(nghttp2_session* session, std::uint8_t /*flags*/, std::int32_t id,
                        const std::uint8_t* at, std::size_t size, void* data) {
    H2Codec& self = codec(data);
    const Bytes part(reinterpret_cast<const char*>(at), size, self.in_.slab);
    if (H2Stream* const of = stream(session, id); of != nullptr && !of->unread_) {
      self.take_content(*of, part);
    } else {
      nghttp2_session_consume_connection(session, size);
    }
    return self.closing_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  // Frames of unknown types come here only so that on_begin_frame() counts them.
  static int on_unknown(nghttp2_session* /*session*/, const nghttp2_frame_hd* /*head*/,
                        const std::uint8_t* /*at*/, std::size_t /*size*/, void* /*data*/) {
    return 0;
  }
  static int unpack_unknown(nghttp2_session* /*session*/, void** /*payload*/,
                            const nghttp2_frame_hd* /*head*/, void* /*data*/) {
    return NGHTTP2_ERR_CANCEL;
  }

  static int on_close(nghttp2_session* session, std::int32_t id, std::uint32_t code, void* data) {
    H2Codec& self = codec(data);
    if (self.block_of_ == id) self.give_back_block();
    H2Stream* const closed = stream(session, id);
    if (closed == nullptr) return 0;
    closed->closed_ = true;
    closed->code_ = code;
    closed->drop_output();
    self.due_.push_back(*closed);
    return 0;
  }

  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
    H2Codec& self = codec(data);
    H2Stream* const of = stream(session, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
      self.failed_ = true;
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
      // One that we did not want: nghttp2 found the stream to be in error.
      if (of != nullptr && of->reset_) return 0;
      const bool early = of == nullptr || of->state_ == H2Stream::Out::head;
      return self.waste(early ? Waste::request : Waste::frame);
    }
    const bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!ends || of == nullptr) return 0;
    of->out_ended_ = true;
    if (std::exchange(of->end_owed_, false)) --self.owed_;
    // The response is out, and the rest of the request is not wanted (RFC 9113 §8.1).
    if (of->unread_ && !of->in_ended_ && self.role_ == Role::server)
      of->break_off(NGHTTP2_NO_ERROR);
    return 0;
  }

  static int on_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error,
                         void* /*data*/) {
    if (frame->hd.type != NGHTTP2_HEADERS || error == NGHTTP2_ERR_STREAM_CLOSED ||
        error == NGHTTP2_ERR_STREAM_CLOSING || error == NGHTTP2_ERR_SESSION_CLOSING) {
      return 0;
    }
    if (H2Stream* const of = stream(session, frame->hd.stream_id)) {
      of->break_off(NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
  }

  static int on_error(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/, int error,
                      void* data) {
    H2Codec& self = codec(data);
    self.error_ = nghttp2_strerror(error);
    return 0;
  }

  // How much of a stream's content goes into the next frame.
  static ssize_t read_content(nghttp2_session* session, std::int32_t id, std::uint8_t* /*into*/,
                              std::size_t room, std::uint32_t* flags, nghttp2_data_source* source,
                              void* data) {
    auto& of = *static_cast<H2Stream*>(source->ptr);
    const std::size_t size = std::min(room, of.out_.size());
    if (size == 0 && !of.end_owed_) {
      of.deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!of.end_owed_ || size < of.out_.size()) return static_cast<ssize_t>(size);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (of.trailers_owed_) {
      H2Lines& lines = codec(data).memory_.parts_->lines;
      lines.trailers(of.trailers_);
      if (nghttp2_submit_trailer(session, id, lines.data(), lines.size()) == 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      }
    }
    return static_cast<ssize_t>(size);
  }

  static int send_content(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/,
                          const std::uint8_t* head, std::size_t size, nghttp2_data_source* source,
                          void* data) {
    H2Codec& self = codec(data);
    auto& of = *static_cast<H2Stream*>(source->ptr);
    if (of.out_.size() < size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // was reset meanwhile
    if (self.output_.size() >= framed_at_once) return NGHTTP2_ERR_WOULDBLOCK;
    self.output_.copy(reinterpret_cast<const char*>(head), frame_head);
    of.out_.move(size, self.output_);
    self.owed_ -= size;
    of.moved_ = true;
    return 0;
  }

  static void install(nghttp2_session_callbacks* on) {
    nghttp2_session_callbacks_set_on_begin_frame_callback(on, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(on, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(on, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(on, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, on_content);
    nghttp2_session_callbacks_set_on_stream_close_callback(on, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(on, on_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(on, on_not_sent);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(on, on_error);
    nghttp2_session_callbacks_set_send_data_callback(on, send_content);
    nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(on, on_unknown);
    nghttp2_session_callbacks_set_unpack_extension_callback(on, unpack_unknown);
  }
};

// --- the worker's part

H2Memory::Parts::Parts(base::Slabs& with) : slabs(with) {
  mem.mem_user_data = &heap;
  mem.malloc = [](std::size_t size, void* from) { return static_cast<H2Heap*>(from)->take(size); };
  mem.free = [](void* block, void* to) { static_cast<H2Heap*>(to)->give_back(block); };
  mem.calloc = [](std::size_t count, std::size_t size, void* from) {
    void* const block = static_cast<H2Heap*>(from)->take(count * size);
    std::memset(block, 0, count * size);
    return block;
  };
  mem.realloc = [](void* block, std::size_t size, void* from) {
    return static_cast<H2Heap*>(from)->resize(block, size);
  };
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_closed_streams(options, 1);
  for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; ++type) {
    nghttp2_option_set_user_recv_extension_type(options, static_cast<std::uint8_t>(type));
  }
  nghttp2_option_set_max_send_header_block_length(options, max_head_sent);
#ifdef PROXYCORE_NGHTTP2_COUNTS_CONTINUATIONS
  // Where nghttp2 has a limit of its own, it counts every read of a piece of a frame's head.
  nghttp2_option_set_max_continuations(options, 1000);
#endif
}

H2Memory::Parts::~Parts() {
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(options);
}

H2Memory::H2Memory(base::Slabs& slabs, H2Counters& counters)
    : counters_(counters), parts_(std::make_unique<Parts>(slabs)) {
  H2Codec::Callbacks::install(parts_->callbacks);
}

H2Memory::~H2Memory() = default;

std::size_t H2Memory::used() const noexcept {
  return parts_->heap.used();
}

// --- the connection

// While a Turn lasts, verbs need not ask for another one. Outputs and events follow at its end.
class H2Codec::Turn {
 public:
  explicit Turn(H2Codec& codec) : codec_(codec), was_empty_(codec.output_.empty()) {
    codec_.busy_ = true;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    do {
      codec_.pump();
      codec_.settle();
    } while (codec_.touched_ && !codec_.closing_ && codec_.output_.size() < framed_at_once);
    codec_.busy_ = false;
    if (was_empty_ && !codec_.output_.empty()) codec_.peer_.on_output();
  }

 private:
  H2Codec& codec_;
  bool was_empty_;
};

H2Codec::H2Codec(Role role, const Limits& limits, const H2Limits& h2_limits, H2Memory& memory,
                 Peer& peer)
    : limits_(limits),
      h2_limits_(h2_limits),
      memory_(memory),
      peer_(peer),
      output_(memory.parts_->slabs),
      budget_(h2_limits),
      role_(role) {
  H2Memory::Parts& parts = *memory_.parts_;
  const bool server = role == Role::server;
  const auto create = server ? &nghttp2_session_server_new3 : &nghttp2_session_client_new3;
  create(&session_, parts.callbacks, this, parts.options, &parts.mem);

  const auto window = static_cast<std::uint32_t>(limits.high_water);
  const std::array<nghttp2_settings_entry, 4> settings = {{
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_size},
      server ? nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2_limits.streams}
             : nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(window * connection_shares));
  memory_.counters_.connections.add();
}

H2Codec::~H2Codec() {
  while (!open_.empty()) release(open_.front());
  give_back_block();
  nghttp2_session_del(session_);
}

void H2Codec::feed(Bytes in) {
  if (busy_ || closing_) return;
  const Turn turn(*this);
  if (in.empty()) return;
  in_ = in;
  const ssize_t used =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(in.data), in.size);
  in_ = {};
  if (closing_) return;
  if (used < 0) {
    // What nghttp2 gives up on without a GOAWAY of its own are floods, and what is not HTTP/2.
    if (used == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
      return fail(NGHTTP2_PROTOCOL_ERROR, "not the preface of HTTP/2 (RFC 9113 §3.4)");
    }
    if (!abusive_) static_cast<void>(abuse(nghttp2_strerror(static_cast<int>(used))));
    return;
  }
  if (nghttp2_session_get_outbound_queue_size(session_) > h2_limits_.queued_frames) {
    static_cast<void>(abuse("too many answers wait to be read"));
  }
}

void H2Codec::end_of_input() {
  if (closing_ || eof_) return;
  eof_ = true;
  const Turn turn(*this);
  // Requests that are complete are still answered.
  open_.for_each([&](H2Stream& stream) {
    if (stream.in_ended_ || stream.closed_ || closing_) return;
    give_up(stream, NGHTTP2_CANCEL, {Errc::closed, 0, "the connection closed within the message"});
  });
}

void H2Codec::abort(const Reset& why) {
  closing_ = true;
  output_.clear();
  open_.for_each([&](H2Stream& stream) {
    stream.closed_ = true;
    stream.drop_output();
    if (StreamEvents* const events = std::exchange(stream.events_, nullptr)) events->on_reset(why);
  });
}

// --- input

void H2Codec::take_head(std::int32_t id, End end) {
  if (!block_) return;
  if (block_->kind() == H2Block::Kind::request) {
    take_request(id, end);
  } else if (H2Stream* const stream = Callbacks::stream(session_, id);
             stream != nullptr && !stream->unread_) {
    if (end == End::yes) stream->in_ended_ = true;
    if (block_->kind() == H2Block::Kind::response) {
      take_response(*stream, end);
    } else if (const framing::Fault fault = block_->settle_trailers()) {
      refuse_stream(*stream, *fault);
    } else {
      framing::drop_forbidden_trailers(block_->trailers);
      swap(stream->came_, block_->trailers);
      stream->trailers_came_ = !stream->came_.empty();
      if (stream->kept_.empty() && !stream->paused_) give_end(*stream);
    }
  }
  give_back_block();
}

void H2Codec::take_request(std::int32_t id, End end) {
  const framing::Fault fault = block_->settle_request(limits_, end);
  H2Stream& stream = add_stream(id);
  nghttp2_session_set_stream_user_data(session_, id, &stream);
  memory_.counters_.streams.add();
  prioritise(id, block_->head.fields);
  stream.to_head_ = block_->head.method == "HEAD";
  stream.in_ended_ = stream.in_done_ = end == End::yes;
  if (draining_ && ++streams_in_drain_ > h2_limits_.streams_in_drain) drain();
  stream.events_ = &peer_.on_stream(stream);
  if (fault) {
    refuse_stream(stream, *fault);
  } else {
    stream.events_->on_head(block_->head, end);
  }
}

void H2Codec::take_response(H2Stream& stream, End end) {
  if (const framing::Fault fault = block_->settle_response(stream.to_head_, end)) {
    refuse_stream(stream, *fault);
    return;
  }
  if (!block_->head.informational()) {
    stream.head_read_ = true;
    stream.in_done_ = end == End::yes;
  }
  stream.events_->on_head(block_->head, end);
  stream.settle_ends();
}

// `priority` (RFC 9218 §4) says what is urgent; among equals all go on side by side.
void H2Codec::prioritise(std::int32_t id, const Fields& fields) {
  nghttp2_extpri priority{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
  std::string_view rest = fields.find("priority").value_or("");
  while (!rest.empty()) {
    const std::string_view member = base::next_member(rest);
    if (member.size() != 3 || !member.starts_with("u=")) continue;
    if (member[2] >= '0' && member[2] <= '7') {
      priority.urgency = static_cast<std::uint32_t>(member[2] - '0');
    }
  }
  nghttp2_session_change_extpri_stream_priority(session_, id, &priority, 1);
}

void H2Codec::take_content(H2Stream& stream, Bytes part) {
  stream.received_ += part.size;
  if (role_ == Role::server && stream.received_ > limits_.body_size) {
    consume(0, part.size);
    refuse_stream(stream, {Errc::limit, 413, "content is over the limit"});
    return;
  }
  if (stream.paused_ || !stream.kept_.empty()) {
    stream.kept_.append(part);
    return;
  }
  stream.events_->on_body(part, End::no);
  if (!closing_) consume(stream.id_, part.size);
}

void H2Codec::consume(std::int32_t id, std::size_t size) {
  if (id == 0) {
    nghttp2_session_consume_connection(session_, size);
  } else {
    nghttp2_session_consume(session_, id, size);
  }
}

// The peer's message is not acceptable; a response may follow while none has begun.
void H2Codec::refuse_stream(H2Stream& stream, Reset why) {
  const bool answerable = role_ == Role::server && stream.state_ == H2Stream::Out::head;
  StreamEvents* const events = std::exchange(stream.events_, nullptr);
  stream.drop_input();
  if (!answerable) {
    if (role_ == Role::server) why.status = 0;
    stream.break_off(NGHTTP2_PROTOCOL_ERROR);
  }
  if (events != nullptr) events->on_reset(why);
}

int H2Codec::waste(Waste what) {
  if (budget_.spend(what)) return 0;
  switch (what) {
    case Waste::request:
      return abuse("too many requests were reset");
    case Waste::control:
      return abuse("too many PING or SETTINGS frames");
    case Waste::frame:
      break;
  }
  return abuse("too many frames that change nothing");
}

// What nghttp2 is to be told in a callback.
int H2Codec::abuse(std::string_view what) {
  error_ = what;
  abusive_ = true;
  return NGHTTP2_ERR_CALLBACK_FAILURE;
}

// --- output

void H2Codec::touch() {
  if (touched_) return;
  touched_ = true;
  if (!busy_) peer_.on_output();
}

Chain& H2Codec::output() {
  if (touched_ && !busy_ && !closing_) {
    busy_ = true;
    pump();
    busy_ = false;
    // Events wait for the next feed().
    if (!due_.empty() || abusive_) peer_.on_output();
  }
  return output_;
}

void H2Codec::pump() {
  touched_ = false;
  while (!closing_ && !abusive_ && output_.size() < framed_at_once) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
    if (size < 0 && !abusive_) static_cast<void>(abuse("nothing can be written any more"));
    if (size <= 0) return;
    output_.copy(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  }
}

void H2Codec::written() {
  if (busy_ || closing_) return;
  const Turn turn(*this);
}

// Events that could not be given when their reason came up, and the end of the connection.
void H2Codec::settle() {
  while (!due_.empty() && !closing_) settle(due_.pop_front());
  if (full_ > 0 && !closing_) tell_sendable();
  if (closing_) return;
  if (abusive_) {
    fail(NGHTTP2_ENHANCE_YOUR_CALM, error_);
  } else if (failed_) {
    memory_.counters_.errors.add();
    shut();
  } else if (open_.empty()) {
    const bool done =
        nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
    if (done || eof_) shut();
  }
}

void H2Codec::settle(H2Stream& stream) {
  while (stream.events_ != nullptr && !stream.paused_ && !stream.kept_.empty()) {
    const Bytes piece = stream.kept_.front();
    const base::SlabRef hold(piece.slab);
    stream.kept_.consume(piece.size);
    stream.events_->on_body(piece, End::no);
    if (closing_) return;
    consume(stream.id_, piece.size);
    touched_ = true;
  }
  if (stream.events_ != nullptr && !stream.paused_ && stream.in_ended_ && !stream.in_done_) {
    give_end(stream);
  }
  if (!stream.closed_ || closing_) return;
  // Complete on the wire, but not for the side above.
  if (stream.events_ != nullptr && stream.complete()) return;
  StreamEvents* const events = std::exchange(stream.events_, nullptr);
  const Reset why = reset_of(stream.code_);
  release(stream);
  if (events != nullptr) events->on_reset(why);
}

// The peer's message has ended, and all its content was told.
void H2Codec::give_end(H2Stream& stream) {
  if (stream.events_ == nullptr || stream.in_done_) return;
  stream.in_done_ = true;
  StreamEvents& events = *stream.events_;
  if (stream.trailers_came_) {
    events.on_trailers(stream.came_);
  } else {
    events.on_body({}, End::yes);
  }
  stream.settle_ends();
}

void H2Codec::tell_sendable() {
  open_.for_each([this](H2Stream& stream) {
    if (!stream.full_ || closing_ || stream.out_.size() > stream.share() / 2) return;
    stream.full_ = false;
    --full_;
    if (stream.events_ != nullptr) stream.events_->on_sendable();
  });
}

void H2Codec::drop_stalled() {
  if (busy_ || closing_) return;
  const Turn turn(*this);
  bool moved = false;
  bool stalled = false;
  open_.for_each([&](H2Stream& stream) {
    if (stream.owed() > 0) (stream.moved_ ? moved : stalled) = true;
  });
  if (!moved && stalled && nghttp2_session_get_remote_window_size(session_) <= 0) {
    static_cast<void>(abuse("the client's window stays closed"));
    return;
  }
  open_.for_each([&](H2Stream& stream) {
    if (stream.owed() == 0 || std::exchange(stream.moved_, false) || closing_) return;
    // It may only have had to wait for others.
    if (nghttp2_session_get_stream_remote_window_size(session_, stream.id_) > 0) return;
    give_up(stream, NGHTTP2_CANCEL, {Errc::timeout, 0, "the stream's window stays closed"});
  });
}

void H2Codec::give_up(H2Stream& stream, std::uint32_t code, const Reset& why) {
  StreamEvents* const events = std::exchange(stream.events_, nullptr);
  stream.drop_input();
  stream.break_off(code);
  if (events != nullptr) events->on_reset(why);
}

// --- streams

Stream* H2Codec::open(StreamEvents& events) {
  if (role_ != Role::client || !reusable()) return nullptr;
  H2Stream& stream = add_stream(0);
  stream.events_ = &events;
  return &stream;
}

H2Stream& H2Codec::add_stream(std::int32_t id) {
  H2Memory::Parts& parts = *memory_.parts_;
  H2Stream& stream = parts.free.empty()
                         ? *parts.streams.emplace_back(std::make_unique<H2Stream>(parts.slabs))
                         : parts.free.pop_front();
  stream.begin(*this, id);
  open_.push_back(stream);
  ++streams_;
  return stream;
}

void H2Codec::release(H2Stream& stream) {
  static_cast<base::ListNode<H2OpenTag>&>(stream).unlink();
  stream.drop_output();
  if (!stream.kept_.empty() && !closing_) consume(0, stream.kept_.size());
  stream.kept_.clear();
  if (std::exchange(stream.full_, false)) --full_;
  --streams_;
  memory_.parts_->free.push_front(stream);
}

void H2Codec::give_back_block() {
  block_of_ = 0;
  if (block_) memory_.parts_->blocks.push_back(std::move(block_));
}

void H2Stream::begin(H2Codec& codec, std::int32_t id) {
  codec_ = &codec;
  events_ = nullptr;
  id_ = id;
  code_ = 0;
  state_ = Out::head;
  to_head_ = head_read_ = in_ended_ = in_done_ = out_ended_ = end_owed_ = trailers_owed_ = false;
  trailers_came_ = paused_ = deferred_ = full_ = reset_ = unread_ = closed_ = false;
  moved_ = true;
  left_ = received_ = 0;
  trailers_.clear();
  came_.clear();
}

Flow H2Stream::send_head(const Head& head, End end) {
  if (state_ != Out::head) return Flow::ok;
  if (closed_) {
    // It is about to be told.
    state_ = Out::nothing;
    if (end == End::yes) finish_output();
    return Flow::ok;
  }
  H2Codec& codec = *codec_;
  H2Lines& lines = codec.memory_.parts_->lines;
  nghttp2_session* const session = codec.session_;
  if (!head.is_request() && head.informational()) {
    // HTTP/2 has no 101 (RFC 9113 §8.6).
    if (head.status == 101) {
      break_off(NGHTTP2_INTERNAL_ERROR);
      return Flow::ok;
    }
    lines.response(head, true);
    nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, id_, nullptr, lines.data(), lines.size(),
                           nullptr);
    codec.touch();
    return flow();
  }
  nghttp2_data_provider content{};
  content.source.ptr = this;
  content.read_callback = H2Codec::Callbacks::read_content;
  bool none = end == End::yes;
  if (head.is_request()) {
    to_head_ = head.method == "HEAD";
    lines.request(head);
    id_ = nghttp2_submit_request(session, nullptr, lines.data(), lines.size(),
                                 none ? nullptr : &content, this);
  } else {
    const bool bodiless = framing::bodiless(head.status, to_head_);
    none = none || bodiless;
    lines.response(head, bodiless);
    nghttp2_submit_response(session, id_, lines.data(), lines.size(), none ? nullptr : &content);
  }
  codec.touch();
  if (none) {
    state_ = Out::nothing;
  } else if (head.framing == Framing::length) {
    state_ = Out::length;
    left_ = head.content_length;
  } else {
    state_ = Out::content;
  }
  if (end == End::yes) finish_output();
  return flow();
}

Flow H2Stream::send_body(Bytes part, End end) {
  switch (state_) {
    case Out::length:
      if (part.size > left_) {
        break_off(NGHTTP2_INTERNAL_ERROR);
        part = {};
      }
      left_ -= part.size;
      break;
    case Out::content:
      break;
    case Out::nothing:
      part = {};
      break;
    case Out::head:
    case Out::done:
      return Flow::ok;
  }
  if (!part.empty() && !closed_) {
    out_.append(part);
    codec_->owed_ += part.size;
    resume();
  }
  if (end == End::yes) finish_output();
  return flow();
}

void H2Stream::send_trailers(const Fields& trailers) {
  if (state_ == Out::content) {
    trailers_.clear();
    for (const Fields::Field field : trailers) trailers_.add(field.name, field.value);
    trailers_owed_ = !trailers_.empty();
  }
  send_body({}, End::yes);
}

void H2Stream::finish_output() {
  if (state_ == Out::length && left_ > 0) break_off(NGHTTP2_INTERNAL_ERROR);
  if (state_ != Out::nothing && !closed_) {
    end_owed_ = true;
    ++codec_->owed_;
    resume();
  }
  state_ = Out::done;
  settle_ends();
}

// nghttp2 asks again for content that it found none of.
void H2Stream::resume() {
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(codec_->session_, id_);
  }
  codec_->touch();
}

// Once both messages have ended, the side above has nothing to do with it any more.
void H2Stream::settle_ends() {
  if (!in_done_ || state_ != Out::done) return;
  events_ = nullptr;
  if (!closed_) return;
  become_due();
  codec_->touch();
}

Flow H2Stream::flow() {
  if (events_ == nullptr || out_.size() < share()) return Flow::ok;
  if (!full_) ++codec_->full_;
  full_ = true;
  return Flow::full;
}

void H2Stream::receive(bool on) {
  paused_ = !on;
  if (paused_ || (kept_.empty() && (!in_ended_ || in_done_))) return;
  become_due();
  if (!codec_->busy_) codec_->peer_.on_receive(true);
}

void H2Stream::reset(Errc why) {
  events_ = nullptr;
  drop_input();
  if (closed_ || id_ == 0) {
    closed_ = true;
    become_due();
  } else if (state_ != Out::done || codec_->role_ == Role::client) {
    break_off(code_of(why, codec_->role_));
  } else if (out_ended_ && !in_ended_) {
    break_off(NGHTTP2_NO_ERROR);
  }
  codec_->touch();
}

// The side above hears of it when the reset is written, unless it has ended its part before.
void H2Stream::break_off(std::uint32_t code) {
  drop_output();
  if (state_ != Out::done) state_ = Out::nothing;
  if (closed_ || reset_) return;
  reset_ = true;
  nghttp2_submit_rst_stream(codec_->session_, NGHTTP2_FLAG_NONE, id_, code);
  codec_->touch();
}

void H2Stream::drop_output() {
  codec_->owed_ -= owed();
  out_.clear();
  end_owed_ = false;
}

void H2Stream::drop_input() {
  unread_ = in_done_ = true;
  if (!kept_.empty()) {
    codec_->consume(0, kept_.size());
    codec_->touch();
  }
  kept_.clear();
}

// --- the end

// The connection ends with our last word, which nghttp2 is not asked for: it may have much to say
// before.
void H2Codec::fail(std::uint32_t code, std::string_view why) {
  if (closing_) return;
  (abusive_ ? memory_.counters_.abuse : memory_.counters_.errors).add();
  std::array<char, frame_head + 8> frame{};
  const auto put = [&](std::size_t at, std::uint32_t number) {
    for (std::size_t i = 0; i < 4; ++i) frame[at + i] = static_cast<char>(number >> (24 - 8 * i));
  };
  frame[2] = 8;
  frame[3] = NGHTTP2_GOAWAY;
  put(frame_head, static_cast<std::uint32_t>(nghttp2_session_get_last_proc_stream_id(session_)));
  put(frame_head + 4, code);
  output_.copy(frame.data(), frame.size());
  error_ = why;
  shut();
}

void H2Codec::shut() {
  closing_ = true;
  while (!open_.empty()) {
    H2Stream& stream = open_.front();
    StreamEvents* const events = std::exchange(stream.events_, nullptr);
    release(stream);
    const std::string_view why = error_.empty() ? "the connection was closed" : error_;
    if (events != nullptr) events->on_reset({Errc::protocol, 0, why});
  }
  give_back_block();
  peer_.on_output();
}

void H2Codec::refuse(const Reset& why) {
  if (busy_ || closing_) return;
  const Turn turn(*this);
  fail(NGHTTP2_PROTOCOL_ERROR, why.detail);
}

void H2Codec::drain() {
  if (closing_ || last_) return;
  if (!draining_) {
    draining_ = true;
    if (role_ == Role::server) nghttp2_submit_shutdown_notice(session_);
  } else if (role_ == Role::server) {
    last_ = true;
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                          nullptr, 0);
  }
  touch();
}

bool H2Codec::persistent() const noexcept {
  return !closing_ && !draining_ && !goaway_ && !eof_;
}

bool H2Codec::reusable() const noexcept {
  if (!persistent()) return false;
  if (role_ == Role::server) return idle();
  return streams_ < nghttp2_session_get_remote_settings(session_,
                                                        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
         streams_ < h2_limits_.streams;
}

bool H2Codec::idle() const noexcept {
  return open_.empty() && !block_ && (greeted_ || role_ == Role::client);
}

After H2Codec::after_output() const noexcept {
  if (!closing_) return After::keep;
  // The client may be sending: a reset for what nobody reads would destroy our last words.
  return role_ == Role::server && !eof_ ? After::linger : After::close;
}

}  // namespace proxycore::http
