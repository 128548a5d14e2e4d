#include "http/h2_callbacks.h"

#include "http/h2_codec.h"
#include "http/h2_head.h"
#include "http/h2_parts.h"
#include "http/h2_stream.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace proxycore::http {

namespace {

// A window that opens by less makes us send more frame than content.
constexpr std::int32_t tiny_window = 16;

constexpr std::size_t frame_head = 9;

}  // namespace

H2Codec& H2Callbacks::codec(void* data) {
  return *static_cast<H2Codec*>(data);
}

H2Stream* H2Callbacks::stream(nghttp2_session* session, std::int32_t id) {
  return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(session, id));
}

int H2Callbacks::on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head,
                                void* data) {
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

int H2Callbacks::on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame,
                                  void* data) {
  H2Codec& self = codec(data);
  if (self.closing_) return NGHTTP2_ERR_CALLBACK_FAILURE;
  H2Block::Kind kind = H2Block::Kind::request;
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    const H2Stream* const of = stream(session, frame->hd.stream_id);
    const bool trailers = self.role_ == Role::server || (of != nullptr && of->head_read_);
    kind = trailers ? H2Block::Kind::trailers : H2Block::Kind::response;
  }
  auto& free = self.memory_.parts().blocks;
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

int H2Callbacks::on_header(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/,
                           const std::uint8_t* name, std::size_t name_size,
                           const std::uint8_t* value, std::size_t value_size,
                           std::uint8_t /*flags*/, void* data) {
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

int H2Callbacks::on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame,
                                   const std::uint8_t* /*name*/, std::size_t /*name_size*/,
                                   const std::uint8_t* /*value*/, std::size_t /*value_size*/,
                                   std::uint8_t /*flags*/, void* /*data*/) {
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                            NGHTTP2_PROTOCOL_ERROR);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int H2Callbacks::on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
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

int H2Callbacks::on_content(nghttp2_session* session, std::uint8_t /*flags*/, std::int32_t id,
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

int H2Callbacks::on_unknown(nghttp2_session* /*session*/, const nghttp2_frame_hd* /*head*/,
                            const std::uint8_t* /*at*/, std::size_t /*size*/, void* /*data*/) {
  return 0;
}

int H2Callbacks::unpack_unknown(nghttp2_session* /*session*/, void** /*payload*/,
                                const nghttp2_frame_hd* /*head*/, void* /*data*/) {
  return NGHTTP2_ERR_CANCEL;
}

int H2Callbacks::on_close(nghttp2_session* session, std::int32_t id, std::uint32_t code,
                          void* data) {
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

int H2Callbacks::on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
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
  if (of->unread_ && !of->in_ended_ && self.role_ == Role::server) of->break_off(NGHTTP2_NO_ERROR);
  return 0;
}

int H2Callbacks::on_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error,
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

int H2Callbacks::on_error(nghttp2_session* /*session*/, const nghttp2_frame* /*frame*/, int error,
                          void* data) {
  H2Codec& self = codec(data);
  self.error_ = nghttp2_strerror(error);
  return 0;
}

ssize_t H2Callbacks::read_content(nghttp2_session* session, std::int32_t id, std::uint8_t* /*into*/,
                                  std::size_t room, std::uint32_t* flags,
                                  nghttp2_data_source* source, void* data) {
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
    H2Lines& lines = codec(data).memory_.parts().lines;
    lines.trailers(of.trailers_);
    if (nghttp2_submit_trailer(session, id, lines.data(), lines.size()) == 0) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
  }
  return static_cast<ssize_t>(size);
}

int H2Callbacks::send_content(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/,
                              const std::uint8_t* head, std::size_t size,
                              nghttp2_data_source* source, void* data) {
  H2Codec& self = codec(data);
  auto& of = *static_cast<H2Stream*>(source->ptr);
  if (of.out_.size() < size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // was reset meanwhile
  if (self.output_.size() >= H2Codec::framed_at_once) return NGHTTP2_ERR_WOULDBLOCK;
  self.output_.copy(reinterpret_cast<const char*>(head), frame_head);
  of.out_.move(size, self.output_);
  self.owed_ -= size;
  of.moved_ = true;
  return 0;
}

void H2Callbacks::install(nghttp2_session_callbacks* on) {
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

}  // namespace proxycore::http
