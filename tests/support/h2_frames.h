// h2_frames: HTTP/2 written frame by frame, and what the other side sent as readable text.
//
// The writer uses no HPACK table and no Huffman code, so that a test's bytes are what they look
// like; the reader decodes with nghttp2. Thread: the test's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct nghttp2_hd_inflater;

namespace proxycore::test::h2 {

enum Type : std::uint8_t {
  data,
  headers,
  priority,
  rst_stream,
  settings,
  push_promise,
  ping,
  goaway,
  window_update,
  continuation,
};
enum Flag : std::uint8_t { none = 0, ack = 1, end_stream = 1, end_headers = 4, padded = 8 };
constexpr std::uint8_t whole = end_stream | end_headers;

using Lines = std::vector<std::pair<std::string_view, std::string_view>>;

std::string u32(std::uint32_t number);
std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload = {});
// A header block: literals without indexing (RFC 7541 §6.2.2).
std::string block(const Lines& lines);
// The client's preface and an empty SETTINGS frame.
std::string preface();
// SETTINGS with one entry.
std::string setting(std::uint16_t id, std::uint32_t value);
std::string window(std::uint32_t stream, std::uint32_t by);
std::string reset(std::uint32_t stream, std::uint32_t code);
// HEADERS of "GET https://a.test/" with further fields.
std::string get(std::uint32_t stream, std::string_view target = "/", const Lines& more = {});
std::string request(std::uint32_t stream, std::string_view method, std::string_view target,
                    const Lines& more = {}, std::uint8_t flags = whole);
std::string response(std::uint32_t stream, std::string_view status, const Lines& more = {},
                     std::uint8_t flags = whole);

// Reads frames as they come.
class Reader {
 public:
  struct Message {
    std::string status;
    std::vector<std::pair<std::string, std::string>> fields;  // and trailers
    std::string body;
    std::size_t interim = 0;  // responses before the final one
    bool ended = false;
    bool reset = false;
    std::uint32_t code = 0;  // of the reset

    [[nodiscard]] std::string field(std::string_view name) const;  // "-" if there is none
  };

  Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader();

  void feed(std::string_view bytes);
  // What came since the last call, a line per frame: "HEADERS 1 end :status=200", "GOAWAY last 1
  // NO_ERROR". Frames of content that follow each other are one line.
  std::string lines();

  std::map<std::uint32_t, Message> messages;  // by stream
  std::size_t frames = 0;                     // so far
  std::size_t content = 0;                    // bytes of DATA so far
  bool went_away = false;                     // GOAWAY came
  std::uint32_t goaway_code = 0;
  std::uint32_t goaway_last = 0;

 private:
  void take(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload);
  std::string fields(std::uint32_t stream, std::string_view block);
  void line(const std::string& text);

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string in_;
  std::string lines_;
  std::uint32_t content_of_ = 0;  // the stream of the last line, if that is content
};

}  // namespace proxycore::test::h2
