#include "support/any_client.h"

#include "base/text.h"

#include <algorithm>
#include <cstdlib>

namespace proxycore::test {

AnyClient::AnyClient(ProxyRig& rig, bool http2) : rig_(rig) {
  if (http2) {
    h2_ = std::make_unique<H2Client>(rig);
  } else {
    h1_ = std::make_unique<Peer>(rig.client());
  }
}

void AnyClient::ask(const Ask& ask) {
  method_ = ask.method;
  const std::string size = std::to_string(ask.body.size());
  const bool content = !ask.body.empty();
  if (h1_) {
    std::string text(ask.method);
    text.append(" ").append(ask.target).append(" HTTP/1.1\r\nHost: ").append(ask.host);
    text.append("\r\n");
    for (const auto& [name, value] : ask.fields) {
      text.append(name).append(": ").append(value).append("\r\n");
    }
    if (content && ask.length) text.append("Content-Length: ").append(size).append("\r\n");
    if (content && !ask.length) text.append("Transfer-Encoding: chunked\r\n");
    h1_->send(text + "\r\n");
    if (content && !ask.length) {
      char digits[20];
      std::snprintf(digits, sizeof digits, "%zx\r\n", ask.body.size());
      h1_->send(std::string(digits) + std::string(ask.body) + "\r\n0\r\n\r\n");
    } else if (content) {
      h1_->send(ask.body);
    }
    return;
  }
  stream_ = stream_ == 0 ? 1 : stream_ + 2;
  h2::Lines lines = {{":method", ask.method},
                     {":scheme", "https"},
                     {":path", ask.target},
                     {":authority", ask.host}};
  std::vector<std::string> names;
  names.reserve(ask.fields.size());
  for (const auto& [name, value] : ask.fields) {
    std::string& lower = names.emplace_back(name);
    std::transform(lower.begin(), lower.end(), lower.begin(), base::lower);
    lines.emplace_back(lower, value);
  }
  if (content && ask.length) lines.emplace_back("content-length", size);
  const auto flags = content ? std::uint8_t{h2::end_headers} : h2::whole;
  h2_->send(h2::frame(h2::headers, flags, stream_, h2::block(lines)));
  for (std::size_t at = 0; at < ask.body.size(); at += 16384) {
    const std::string_view part = ask.body.substr(at, 16384);
    const bool last = at + part.size() == ask.body.size();
    h2_->send(h2::frame(h2::data, last ? h2::end_stream : h2::none, stream_, part));
  }
}

AnyAnswer AnyClient::answer_h1() {
  AnyAnswer answer;
  std::string head = h1_->head();
  while (status_of(head) / 100 == 1) {
    ++interim;
    head = h1_->head();
  }
  answer.status = status_of(head);
  std::string_view rest = std::string_view{head}.substr(head.find("\r\n") + 2);
  const auto take_fields = [&](std::string_view lines) {
    while (lines.size() > 2) {
      const std::string_view line = lines.substr(0, lines.find("\r\n"));
      lines.remove_prefix(line.size() + 2);
      std::string name(line.substr(0, line.find(':')));
      std::transform(name.begin(), name.end(), name.begin(), base::lower);
      answer.fields.emplace_back(name, line.substr(line.find(':') + 2));
    }
  };
  take_fields(rest);
  if (method_ == "HEAD" || answer.status == 204 || answer.status == 304) return answer;
  if (answer.field("content-length") != "-") {
    const std::size_t size = std::strtoul(answer.field("content-length").c_str(), nullptr, 10);
    rig_.until([&] {
      h1_->pump();
      return h1_->unread().size() >= size || h1_->ended();
    });
    answer.whole = h1_->unread().size() >= size;
    answer.body = h1_->take(std::min(size, h1_->unread().size()));
    return answer;
  }
  while (true) {
    const std::size_t size = std::strtoul(h1_->until("\r\n").c_str(), nullptr, 16);
    if (size == 0) break;
    answer.body += h1_->take(size);
    h1_->until("\r\n");
  }
  std::string line;
  while ((line = h1_->until("\r\n")) != "\r\n") take_fields(line + "\r\n");
  return answer;
}

AnyAnswer AnyClient::answer() {
  if (h1_) return answer_h1();
  const h2::Reader::Message& message = h2_->response(stream_);
  AnyAnswer answer;
  answer.status = std::atoi(message.status.c_str());
  answer.fields = message.fields;
  answer.body = message.body;
  answer.whole = message.ended;
  interim += static_cast<int>(message.interim);
  return answer;
}

}  // namespace proxycore::test
