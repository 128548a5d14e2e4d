#include "lookup/socket_protocol.h"

#include "base/json.h"
#include "base/text.h"

#include <algorithm>
#include <utility>

namespace proxycore::lookup {

namespace json = base::json;

namespace {

constexpr std::string_view blanks = " \t\r\n";
constexpr std::string_view error_field = "error";

constexpr bool is_word_char(char c) noexcept {
  const char low = base::lower(c);
  return base::is_digit(c) || (low >= 'a' && low <= 'z') || c == '-' || c == '+' || c == '.';
}

// A value as a record has it. Services send texts; a number or a boolean is as good.
Result<std::string> stored(const json::Value& value) {
  using Kind = json::Value::Kind;
  std::string text;
  json::Writer writer(text);
  switch (value.kind()) {
    case Kind::boolean:
      writer.value(*value.boolean());
      return text;
    case Kind::integer:
      writer.value(*value.integer());
      return text;
    case Kind::number:
      writer.value(*value.number());
      return text;
    default: {
      PX_TRY(const std::string_view held, value.text());
      return std::string(held);
    }
  }
}

}  // namespace

// --- the stream

void JsonStream::feed(std::string_view bytes) {
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  buffer_.append(bytes);
}

void JsonStream::clear() noexcept {
  buffer_.clear();
  begin_ = scanned_ = depth_ = 0;
  kind_ = Kind::none;
  in_string_ = escaped_ = ended_ = false;
}

// Goes on to the end of the present value; false: it is not there yet.
bool JsonStream::scan() {
  if (kind_ == Kind::word) {
    while (scanned_ < buffer_.size() && is_word_char(buffer_[scanned_])) ++scanned_;
    return scanned_ < buffer_.size() || ended_;
  }
  while (scanned_ < buffer_.size()) {
    const char c = buffer_[scanned_++];
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
        if (kind_ == Kind::string) return true;
      }
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      return true;
    }
  }
  return false;
}

Result<std::optional<std::string_view>> JsonStream::next() {
  if (kind_ == Kind::none) {
    begin_ = std::min(buffer_.find_first_not_of(blanks, begin_), buffer_.size());
    scanned_ = begin_;
    if (begin_ == buffer_.size()) return std::optional<std::string_view>{};
    const char c = buffer_[begin_];
    if (c == '{' || c == '[') {
      kind_ = Kind::bracket;
    } else if (c == '"') {
      kind_ = Kind::string;
    } else if (is_word_char(c)) {
      kind_ = Kind::word;
    } else {
      return Error{Errc::invalid, "expected JSON, found " + base::shown(buffer_.substr(begin_, 1))};
    }
  }
  const bool whole = scan();
  if (scanned_ - begin_ > most_) {
    return Error{Errc::limit, "over " + std::to_string(most_) + " bytes"};
  }
  if (!whole) return std::optional<std::string_view>{};
  const std::string_view value = std::string_view(buffer_).substr(begin_, scanned_ - begin_);
  begin_ = scanned_;
  kind_ = Kind::none;
  return std::optional<std::string_view>{value};
}

// --- the messages

Result<LookupRequest> LookupRequest::parse(std::string_view text) {
  PX_TRY(const json::Value request, json::parse(text));
  if (request.kind() == json::Value::Kind::null) return LookupRequest{.wants_reply = false};
  const auto domain = request.text("domain");
  return LookupRequest{.domain = std::string(domain.value_or(std::string_view{}))};
}

void append_request(std::string& out, std::string_view host) {
  json::Writer(out).begin_object().field("domain", host).end_object();
  out += '\n';
}

Result<Record> LookupReply::parse(std::string_view text) {
  PX_TRY(const json::Value reply, json::parse(text, {.size = most}));
  PX_TRY(const auto members, reply.object());
  Record record;
  for (const json::Value::Member& member : members) {
    auto value = stored(member.value);
    if (!value) return std::move(value).error().within("field " + base::shown(member.name));
    record.emplace(member.name, *std::move(value));
  }
  const auto failure = record.find(error_field);
  if (failure != record.end() && !record.contains("ip")) {
    return Error{Errc::busy, "it says " + base::shown(failure->second)};
  }
  return record;
}

void append_reply(std::string& out, const Record& record) {
  json::Writer writer(out);
  writer.begin_object();
  for (const auto& [name, value] : record) writer.field(name, value);
  writer.end_object();
  out += '\n';
}

void append_miss(std::string& out) {
  out += "{}\n";
}

void append_error(std::string& out, std::string_view why) {
  json::Writer(out).begin_object().field(error_field, why).end_object();
  out += '\n';
}

}  // namespace proxycore::lookup
