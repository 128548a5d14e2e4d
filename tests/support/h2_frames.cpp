#include "support/h2_frames.h"

#include "support/event_log.h"

#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

namespace proxycore::test::h2 {

namespace {

constexpr std::string_view magic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t frame_head = 9;

void append(std::string& out, std::size_t number, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(number >> (8 * i) & 0xff);
}

std::uint32_t number(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
  return value;
}

// A string literal (RFC 7541 §5.2) without Huffman code.
void append_text(std::string& out, std::string_view text) {
  std::size_t left = text.size();
  if (left < 127) {
    out += static_cast<char>(left);
  } else {
    out += static_cast<char>(127);
    for (left -= 127; left >= 128; left /= 128) out += static_cast<char>(left % 128 + 128);
    out += static_cast<char>(left);
  }
  out += text;
}

const char* name_of(std::uint32_t code) {
  return nghttp2_http2_strerror(code);
}

}  // namespace

std::string u32(std::uint32_t number) {
  std::string out;
  append(out, number, 4);
  return out;
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  std::string out;
  append(out, payload.size(), 3);
  append(out, type, 1);
  append(out, flags, 1);
  append(out, stream, 4);
  return out.append(payload);
}

std::string block(const Lines& lines) {
  std::string out;
  for (const auto& [name, value] : lines) {
    out += '\0';
    append_text(out, name);
    append_text(out, value);
  }
  return out;
}

std::string preface() {
  return std::string{magic} + frame(settings, none, 0);
}

std::string setting(std::uint16_t id, std::uint32_t value) {
  std::string entry;
  append(entry, id, 2);
  return frame(settings, none, 0, entry + u32(value));
}

std::string window(std::uint32_t stream, std::uint32_t by) {
  return frame(window_update, none, stream, u32(by));
}

std::string reset(std::uint32_t stream, std::uint32_t code) {
  return frame(rst_stream, none, stream, u32(code));
}

std::string request(std::uint32_t stream, std::string_view method, std::string_view target,
                    const Lines& more, std::uint8_t flags) {
  Lines lines = {
      {":method", method}, {":scheme", "https"}, {":path", target}, {":authority", "a.test"}};
  lines.insert(lines.end(), more.begin(), more.end());
  return frame(headers, flags, stream, block(lines));
}

std::string get(std::uint32_t stream, std::string_view target, const Lines& more) {
  return request(stream, "GET", target, more);
}

std::string response(std::uint32_t stream, std::string_view status, const Lines& more,
                     std::uint8_t flags) {
  Lines lines = {{":status", status}};
  lines.insert(lines.end(), more.begin(), more.end());
  return frame(headers, flags, stream, block(lines));
}

std::string Reader::Message::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return "-";
}

Reader::Reader() {
  nghttp2_hd_inflate_new(&inflater_);
}

Reader::~Reader() {
  nghttp2_hd_inflate_del(inflater_);
}

void Reader::feed(std::string_view bytes) {
  in_.append(bytes);
  if (frames == 0 && in_.starts_with(magic)) in_.erase(0, magic.size());
  std::size_t at = 0;
  while (in_.size() - at >= frame_head) {
    const std::string_view head = std::string_view{in_}.substr(at, frame_head);
    const std::size_t size = number(head.substr(0, 3));
    if (in_.size() - at - frame_head < size) break;
    take(static_cast<std::uint8_t>(head[3]), static_cast<std::uint8_t>(head[4]),
         number(head.substr(5, 4)), std::string_view{in_}.substr(at + frame_head, size));
    at += frame_head + size;
  }
  in_.erase(0, at);
}

std::string Reader::lines() {
  content_of_ = 0;
  return std::exchange(lines_, {});
}

void Reader::line(const std::string& text) {
  content_of_ = 0;
  lines_ += text + "\n";
}

std::string Reader::fields(std::uint32_t stream, std::string_view block) {
  Message& message = messages[stream];
  std::string text;
  const auto* at = reinterpret_cast<const std::uint8_t*>(block.data());
  std::size_t left = block.size();
  while (true) {
    nghttp2_nv field{};
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
    REQUIRE(used >= 0);
    at += used;
    left -= static_cast<std::size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      const std::string name(reinterpret_cast<const char*>(field.name), field.namelen);
      const std::string value(reinterpret_cast<const char*>(field.value), field.valuelen);
      text += " " + name + "=" + value;
      if (name == ":status") {
        if (message.status.starts_with('1')) ++message.interim;
        message.status = value;
        message.fields.clear();
      } else {
        message.fields.emplace_back(name, value);
      }
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
  return text;
}

void Reader::take(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  ++frames;
  const bool ends = (type == data || type == headers) && (flags & end_stream) != 0;
  const std::string id = " " + std::to_string(stream);
  switch (type) {
    case data: {
      content += payload.size();
      messages[stream].body += payload;
      if (content_of_ == stream) {
        lines_.pop_back();
        lines_ += escape(payload);
      } else {
        lines_ += "DATA" + id + " " + escape(payload);
      }
      if (ends) lines_ += " end";
      lines_ += "\n";
      content_of_ = ends ? 0 : stream;
      break;
    }
    case headers:
      REQUIRE((flags & end_headers) != 0);
      line("HEADERS" + id + (ends ? " end" : "") + fields(stream, payload));
      break;
    case rst_stream:
      messages[stream].reset = true;
      messages[stream].code = number(payload);
      line("RST_STREAM" + id + " " + name_of(number(payload)));
      break;
    case settings: {
      std::string text = (flags & ack) != 0 ? "SETTINGS ack" : "SETTINGS";
      for (std::size_t at = 0; at < payload.size(); at += 6) {
        text += " " + std::to_string(number(payload.substr(at, 2))) + "=" +
                std::to_string(number(payload.substr(at + 2, 4)));
      }
      line(text);
      break;
    }
    case ping:
      line(std::string{"PING"} + ((flags & ack) != 0 ? " ack " : " ") + escape(payload));
      break;
    case goaway:
      went_away = true;
      goaway_last = number(payload.substr(0, 4));
      goaway_code = number(payload.substr(4, 4));
      line("GOAWAY last " + std::to_string(goaway_last) + " " + name_of(goaway_code));
      break;
    case window_update:
      line("WINDOW_UPDATE" + id + " " + std::to_string(number(payload)));
      break;
    default:
      line("frame " + std::to_string(type) + id);
  }
  if (ends) messages[stream].ended = true;
}

}  // namespace proxycore::test::h2
