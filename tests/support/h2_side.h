// h2 sides: one end of an HTTP/2 connection without a connection: a codec, what it told, and what
// it wrote. Thread: the test's.
#pragma once

#include "http/h2_codec.h"
#include "http/h2_memory.h"
#include "support/h2_frames.h"
#include "support/h2_log.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nghttp2/nghttp2.h>

namespace proxycore::test {

using namespace http;

// No time passes, so that a budget lasts exactly as long as it says.
inline H2Limits timeless() {
  H2Limits limits;
  limits.clock = []() noexcept { return std::int64_t{0}; };
  return limits;
}

// One side of a connection: a codec, what it told, and what it wrote.
struct Side {
  explicit Side(Role role, const Limits& with = {}, const H2Limits& with_h2 = timeless(),
                bool answers = true)
      : limits(with),
        h2_limits(with_h2),
        log(answers),
        codec(std::make_unique<H2Codec>(role, limits, h2_limits, memory, log)) {
    log.role_is_server = role == Role::server;
  }

  // The bytes lie at the end of their memory, so that a sanitizer sees a read past them.
  void feed(std::string_view bytes) {
    const auto copy = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.get());
    codec->feed(Bytes(copy.get(), bytes.size()));
    go_on();
  }
  // As the connection would: write all, feed again, while the codec asks for it.
  void go_on() {
    do {
      log.output_asked = false;
      codec->feed({});
      while (!codec->output().empty()) {
        out.feed(take());
        codec->written();
      }
    } while (log.output_asked && !codec->output().empty());
  }
  std::string take(std::size_t most = SIZE_MAX) {
    std::string all;
    Chain& chain = codec->output();
    while (!chain.empty() && all.size() < most) {
      const Bytes piece = chain.front();
      const std::size_t part = std::min(piece.size, most - all.size());
      all.append(piece.data, part);
      chain.consume(part);
    }
    return all;
  }
  // Past the handshake of settings.
  void greet() {
    feed(h2::preface() + h2::frame(h2::settings, h2::ack, 0));
    out.lines();
  }
  H2Log::Sink& sink(std::size_t index = 0) { return *log.sinks.at(index); }
  Stream& stream(std::size_t index = 0) { return *sink(index).stream; }

  Limits limits;
  H2Limits h2_limits;
  base::Slabs slabs;
  H2Counters counters;
  H2Memory memory{slabs, counters};
  H2Log log;
  std::unique_ptr<H2Codec> codec;
  h2::Reader out;
};

inline std::string post(const h2::Lines& more = {}) {
  return h2::request(1, "POST", "/a", more, h2::end_headers);
}
inline std::string content(std::string_view text, std::uint8_t flags = h2::end_stream) {
  return h2::frame(h2::data, flags, 1, text);
}
inline Head response(std::uint16_t status, Framing framing = Framing::chunked,
                     std::uint64_t length = 0) {
  Head head;
  head.status = status;
  head.framing = framing;
  head.content_length = length;
  return head;
}

inline Head request(std::string_view method, Framing framing = Framing::none,
                    std::uint64_t length = 0) {
  Head head;
  head.method = method;
  head.target = "/";
  head.authority = "a.test";
  head.framing = framing;
  head.content_length = length;
  return head;
}

inline Bytes bytes(std::string_view text) {
  return {text};
}

inline std::string some_bytes(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>('a' + (state >> 24) % 26);
  }
  return text;
}

// A server that answers nothing by itself, past its handshake.
struct Server : Side {
  explicit Server(const Limits& with = {}, const H2Limits& with_h2 = timeless())
      : Side(Role::server, with, with_h2, false) {
    greet();
  }
};

// The number of a client's stream.
constexpr std::uint32_t stream_of(std::size_t index) {
  return static_cast<std::uint32_t>(2 * index + 1);
}

}  // namespace proxycore::test
