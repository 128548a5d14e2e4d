#include "http/h2_codec.h"

#include "base/text.h"
#include "http/framing.h"
#include "http/h2_callbacks.h"
#include "http/h2_head.h"
#include "http/h2_parts.h"
#include "http/h2_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nghttp2/nghttp2.h>

namespace proxycore::http {

namespace {

constexpr std::size_t frame_head = 9;

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
      output_(memory.parts().slabs),
      budget_(h2_limits),
      role_(role) {
  H2Parts& parts = memory_.parts();
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
                                        static_cast<std::int32_t>(window * shares));
  memory_.counters().connections.add();
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
  } else if (H2Stream* const stream = H2Callbacks::stream(session_, id);
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
  memory_.counters().streams.add();
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
    memory_.counters().errors.add();
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
  H2Parts& parts = memory_.parts();
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
  memory_.parts().free.push_front(stream);
}

void H2Codec::give_back_block() {
  block_of_ = 0;
  if (block_) memory_.parts().blocks.push_back(std::move(block_));
}

// --- the end

// The connection ends with our last word, which nghttp2 is not asked for: it may have much to say
// before.
void H2Codec::fail(std::uint32_t code, std::string_view why) {
  if (closing_) return;
  (abusive_ ? memory_.counters().abuse : memory_.counters().errors).add();
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
