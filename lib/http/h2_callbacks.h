// H2Callbacks: what nghttp2 calls while it reads and writes for an H2Codec.
//
// They turn frames into what the codec's own functions are about, and count what is of no use
// (h2_limits). Nothing here gives events but through them. Errors returned stop nghttp2; the codec
// finds the reason in its own state.
// Source: RFC 9113 §6, §10.5. Thread: the codec's.
#pragma once

#include "http/h2_codec.h"
#include "http/h2_stream.h"

#include <cstddef>
#include <cstdint>

#include <nghttp2/nghttp2.h>

namespace proxycore::http {

struct H2Callbacks {
  static H2Codec& codec(void* data);
  static H2Stream* stream(nghttp2_session* session, std::int32_t id);
  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head, void* data);
  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* data);
  static int on_header(nghttp2_session* session, const nghttp2_frame* frame,
                       const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                       std::size_t value_size, std::uint8_t flags, void* data);
  // nghttp2 would leave such a field out; the message is malformed (RFC 9113 §8.2.1).
  static int on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame,
                               const std::uint8_t* name, std::size_t name_size,
                               const std::uint8_t* value, std::size_t value_size,
                               std::uint8_t flags, void* data);
  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* data);
  static int on_content(nghttp2_session* session, std::uint8_t flags, std::int32_t id,
                        const std::uint8_t* at, std::size_t size, void* data);
  // Frames of unknown types come here only so that on_begin_frame() counts them.
  static int on_unknown(nghttp2_session* session, const nghttp2_frame_hd* head,
                        const std::uint8_t* at, std::size_t size, void* data);
  static int unpack_unknown(nghttp2_session* session, void** payload, const nghttp2_frame_hd* head,
                            void* data);
  static int on_close(nghttp2_session* session, std::int32_t id, std::uint32_t code, void* data);
  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* data);
  static int on_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int error,
                         void* data);
  static int on_error(nghttp2_session* session, const nghttp2_frame* frame, int error, void* data);
  // How much of a stream's content goes into the next frame.
  static ssize_t read_content(nghttp2_session* session, std::int32_t id, std::uint8_t* into,
                              std::size_t room, std::uint32_t* flags, nghttp2_data_source* source,
                              void* data);
  static int send_content(nghttp2_session* session, nghttp2_frame* frame, const std::uint8_t* head,
                          std::size_t size, nghttp2_data_source* source, void* data);
  static void install(nghttp2_session_callbacks* on);
};

}  // namespace proxycore::http
