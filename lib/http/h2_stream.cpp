#include "http/h2_stream.h"

#include "http/framing.h"
#include "http/h2_callbacks.h"
#include "http/h2_head.h"
#include "http/h2_parts.h"

#include <utility>

#include <nghttp2/nghttp2.h>

namespace proxycore::http {

namespace {

// When a connection holds its share, each stream gets little, so that none starves.
constexpr std::size_t short_of_room = 16;

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
}  // namespace

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
  H2Lines& lines = codec.memory_.parts().lines;
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
  content.read_callback = H2Callbacks::read_content;
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

std::size_t H2Stream::share() const noexcept {
  const std::size_t most = codec_->limits_.high_water;
  return codec_->owed_ < H2Codec::shares * most ? most : most / short_of_room;
}

}  // namespace proxycore::http
