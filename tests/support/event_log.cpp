#include "support/event_log.h"

#include <proxycore/result.h>

#include <utility>

namespace proxycore::test {

using http::End;

void EventLog::line(std::string_view text) {
  if (in_body_) lines_ += '\n';
  in_body_ = false;
  lines_.append(text).append("\n");
}

http::StreamEvents& EventLog::on_stream(http::Stream& opened_by_peer) {
  stream_ = &opened_by_peer;
  return *this;
}

void EventLog::on_head(http::Head& head, End end) {
  static constexpr const char* framings[] = {"none", "length", "chunked", "until close"};
  std::string text;
  if (head.is_request()) {
    text = head.method + " " + head.target + " at '" + head.authority + "'";
  } else {
    text = std::to_string(head.status) + " '" + escape(head.reason) + "'";
  }
  text += head.version == http::Version::http10 ? " 1.0" : " 1.1";
  text.append(" content ").append(framings[static_cast<int>(head.framing)]);
  if (head.framing == http::Framing::length) text += " " + std::to_string(head.content_length);
  if (head.upgrade) text += " upgrade";
  line(text);
  for (const http::Fields::Field field : head.fields) {
    line("  " + std::string{field.name} + ": " + escape(field.value));
  }
  upgrade_ = head.upgrade;
  if (end == End::yes) ended();
}

void EventLog::on_body(base::Bytes part, End end) {
  if (!part.empty()) {
    if (!in_body_) lines_ += "body ";
    in_body_ = true;
    lines_ += escape(part.text());
  } else if (end == End::no) {
    line("empty part");
  }
  if (end == End::yes) ended();
}

void EventLog::on_trailers(http::Fields& trailers) {
  for (const http::Fields::Field field : trailers) {
    line("trailer " + std::string{field.name} + ": " + escape(field.value));
  }
  ended();
}

void EventLog::ended() {
  line("end");
  due_ = upgrade_ && status_ == 101 ? 101 : status_ == 101 ? 200 : status_;
}

void EventLog::on_reset(const http::Reset& why) {
  line("reset " + std::string{name_of(why.code)} + " " + std::to_string(why.status) + ": " +
       std::string{why.detail});
  due_ = 0;
  if (why.status == 0 || stream_ == nullptr) return;
  http::Head head;
  head.status = why.status;
  stream_->send_head(head, End::yes);
}

void EventLog::answer() {
  while (due_ != 0 && stream_ != nullptr) {
    http::Head head;
    head.status = due_;
    due_ = 0;
    if (head.status == 101) {
      upgrade_ = false;
      head.upgrade = true;
      head.fields.add("Upgrade", "test");
      stream_->send_head(head, End::no);
    } else {
      head.framing = http::Framing::length;
      head.content_length = 2;
      stream_->send_head(head, End::no);
      stream_->send_body(std::string_view{"ok"}, End::yes);
    }
    codec_->feed({});
  }
}

const std::string& EventLog::output() {
  http::Chain& chain = codec_->output();
  while (!chain.empty()) {
    const base::Bytes piece = chain.front();
    output_.append(piece.text());
    chain.consume(piece.size);
  }
  codec_->written();
  if (std::exchange(in_body_, false)) lines_ += '\n';
  return output_;
}

std::string escape(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\r') {
      text += "\\r";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\\') {
      text += "\\\\";
    } else if (byte < ' ' || byte >= 0x7f) {
      text.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    } else {
      text += c;
    }
  }
  return text;
}

std::string unescape(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') continue;
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'r':
        bytes += '\r';
        break;
      case 'n':
        bytes += '\n';
        break;
      case 't':
        bytes += '\t';
        break;
      case 'x':
        bytes += static_cast<char>(std::stoi(std::string{text.substr(i + 1, 2)}, nullptr, 16));
        i += 2;
        break;
      default:
        bytes += text[i];
    }
  }
  return bytes;
}

}  // namespace proxycore::test
