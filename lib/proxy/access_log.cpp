#include "proxy/access_log.h"

#include "base/json.h"
#include "base/text.h"
#include "proxy/exchange.h"

#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace proxycore::proxy {

namespace {

constexpr std::size_t batch = std::size_t{64} * 1024;
constexpr Millis longest_wait{100};
// What a client can make a line grow to; longer texts are cut.
constexpr std::size_t longest_text = 2048;

std::string_view cut(std::string_view text) {
  return text.substr(0, longest_text);
}

std::string_view version_text(http::Version version) {
  switch (version) {
    case http::Version::http10:
      return "HTTP/1.0";
    case http::Version::http11:
      return "HTTP/1.1";
    case http::Version::http2:
      return "HTTP/2";
  }
  return "-";
}

// Inside the quotes of the combined format: nothing that could end them or the line.
void append_escaped(std::string& out, std::string_view text) {
  for (const char c : cut(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '"' || c == '\\') {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    } else {
      out.push_back(c);
    }
  }
}

}  // namespace

AccessLog::AccessLog(io::Loop& loop, base::LineWriter* writer, LogFormat format)
    : loop_(loop),
      writer_(writer),
      format_(format),
      timer_(loop.timers(), *this, [](AccessLog& self) { self.flush(); }) {}

void AccessLog::flush() {
  if (buffer_.empty()) return;
  timer_.cancel();
  std::string full;
  full.swap(buffer_);
  writer_->write(std::move(full));
}

void AccessLog::record(const Exchange& exchange) {
  if (writer_ == nullptr) return;
  if (buffer_.empty()) {
    buffer_.reserve(batch + 4096);
    timer_.arm(longest_wait);
  }
  if (format_ == LogFormat::json) {
    json(exchange);
  } else {
    combined(exchange);
  }
  if (buffer_.size() >= batch) flush();
}

void AccessLog::json(const Exchange& exchange) {
  const http::Head& request = exchange.request_;
  const std::int64_t now = loop_.wall();
  if (now / 1000 != second_) {
    second_ = now / 1000;
    date_ = base::iso_date(second_ * 1000);
    date_.resize(date_.size() - 4);  // without "000Z"
  }
  auto out = std::back_inserter(buffer_);
  fmt::format_to(out, R"({{"time":"{}{:03}Z","id":"{}","client":"{}","method":)", date_, now % 1000,
                 exchange.id_text_, exchange.client_address_);
  using base::json::append_quoted;
  append_quoted(buffer_, cut(request.method));
  buffer_.append(R"(,"host":)");
  append_quoted(buffer_, cut(exchange.asked_.empty() ? request.authority : exchange.asked_));
  buffer_.append(R"(,"target":)");
  append_quoted(buffer_, cut(request.target));
  fmt::format_to(out,
                 R"(,"protocol":"{}","status":{},"bytes_in":{},"bytes_out":{},"seconds":{:.6f})",
                 version_text(request.version), exchange.status_, exchange.bytes_in_,
                 exchange.bytes_out_, static_cast<double>(loop_.nanos() - exchange.began_) / 1e9);
  if (exchange.route_) {
    buffer_.append(R"(,"route":)");
    append_quoted(buffer_, exchange.route_->pattern);
    if (exchange.target_ < exchange.route_->targets.size()) {
      const Target& target = exchange.route_->targets[exchange.target_];
      const bool ipv6 = target.name.find(':') != std::string::npos;
      fmt::format_to(out, R"(,"origin":"{}{}{}:{}")", ipv6 ? "[" : "", target.name, ipv6 ? "]" : "",
                     target.port);
    }
    if (exchange.first_byte_ != 0) {
      fmt::format_to(out, R"(,"origin_seconds":{:.6f})",
                     static_cast<double>(exchange.first_byte_ - exchange.sent_) / 1e9);
    }
    if (exchange.attempts_ > 1) {
      fmt::format_to(out, R"(,"attempts":{})", exchange.attempts_);
    }
  }
  const auto optional = [&](std::string_view key, http::FieldId id) {
    if (const auto value = request.fields.find(id)) {
      buffer_.append(key);
      append_quoted(buffer_, cut(*value));
    }
  };
  optional(R"(,"referer":)", http::FieldId::referer);
  optional(R"(,"user_agent":)", http::FieldId::user_agent);
  if (!exchange.problem_.empty()) {
    buffer_.append(R"(,"problem":)");
    append_quoted(buffer_, exchange.problem_);
  }
  buffer_.append("}\n");
}

void AccessLog::combined(const Exchange& exchange) {
  const http::Head& request = exchange.request_;
  const std::int64_t now = loop_.wall();
  if (now / 1000 != second_) {
    second_ = now / 1000;
    date_ = base::log_date(second_);
  }
  fmt::format_to(std::back_inserter(buffer_), "{} - - [{}] \"",
                 exchange.client_address_.empty() ? "-" : exchange.client_address_, date_);
  append_escaped(buffer_, request.method.empty() ? "-" : request.method);
  buffer_.push_back(' ');
  append_escaped(buffer_, request.target);
  fmt::format_to(std::back_inserter(buffer_), " {}\" {} {} \"", version_text(request.version),
                 exchange.status_, exchange.bytes_out_);
  append_escaped(buffer_, request.fields.find(http::FieldId::referer).value_or("-"));
  buffer_.append("\" \"");
  append_escaped(buffer_, request.fields.find(http::FieldId::user_agent).value_or("-"));
  buffer_.append("\"\n");
}

}  // namespace proxycore::proxy
