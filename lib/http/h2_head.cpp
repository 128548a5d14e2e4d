#include "http/h2_head.h"

#include "base/text.h"

#include <charconv>

namespace proxycore::http {

namespace {

// What every field of a header list counts besides its bytes (RFC 9113 §6.5.2).
constexpr std::size_t field_overhead = 32;

constexpr std::uint32_t bit(FieldId id) noexcept {
  return std::uint32_t{1} << static_cast<unsigned>(id);
}
// What belongs to an HTTP/1.1 connection, or is written from the head (RFC 9113 §8.2.2).
constexpr std::uint32_t not_ours = bit(FieldId::connection) | bit(FieldId::content_length) |
                                   bit(FieldId::keep_alive) | bit(FieldId::proxy_connection) |
                                   bit(FieldId::transfer_encoding) | bit(FieldId::upgrade);

Reset refuse(std::string_view why, std::uint16_t status = 400) {
  return {Errc::protocol, status, why};
}

}  // namespace

void H2Block::begin(Kind kind) {
  kind_ = kind;
  head.clear();
  head.version = Version::http2;
  trailers.clear();
  size_ = 0;
  count_ = 0;
  over_ = false;
  scheme_.clear();
  cookies_.clear();
}

void H2Block::add(std::string_view name, std::string_view value, const Limits& limits) {
  size_ += name.size() + value.size() + field_overhead;
  if (size_ > limits.header_size) over_ = true;
  if (over_) return;
  if (name.front() == ':') {
    add_pseudo(name, value);
    return;
  }
  if (kind_ == Kind::trailers) {
    over_ = ++count_ > limits.header_count;
    if (!over_) trailers.add(name, value);
    return;
  }
  if (kind_ == Kind::request && name == "cookie") {
    if (!cookies_.empty()) cookies_.append("; ");
    cookies_.append(value);
    return;
  }
  over_ = ++count_ > limits.header_count;
  if (!over_) head.fields.add(name, value);
}

void H2Block::add_pseudo(std::string_view name, std::string_view value) {
  if (name == ":method") {
    head.method = value;
  } else if (name == ":path") {
    head.target = value;
  } else if (name == ":authority") {
    head.authority = value;
  } else if (name == ":scheme") {
    scheme_ = value;
  } else if (name == ":status") {
    head.status = static_cast<std::uint16_t>(base::parse_decimal(value, 999).value_or(0));
  }
}

framing::Fault H2Block::settle_request(const Limits& limits, End end) {
  if (over_) return Reset{Errc::limit, 431, "header list is too large"};
  if (auto fault = framing::check_method(head.method)) return fault;

  const auto host = head.fields.find(FieldId::host);
  if (head.authority.empty() && host) {
    head.authority = *host;
  } else if (host && !base::same(*host, head.authority)) {
    // Which of the two another recipient goes by is not ours to guess (RFC 9113 §8.3.1).
    return refuse(":authority and Host differ (RFC 9113 §8.3.1)");
  }
  if (!framing::is_authority(head.authority)) {
    return refuse(":authority is not host[:port] (RFC 9113 §8.3.1)");
  }
  head.fields.remove(FieldId::host);

  if (head.method == "CONNECT") {
    head.target = head.authority;
  } else {
    if (scheme_ != "https" && scheme_ != "http") return refuse(":scheme is not http or https");
    if (auto fault = framing::check_target(head.target, limits)) return fault;
    const bool asterisk = head.target == "*" && head.method == "OPTIONS";
    if (head.target.front() != '/' && !asterisk) {
      return refuse(":path does not begin with / (RFC 9113 §8.3.1)");
    }
  }
  if (!cookies_.empty()) head.fields.add("cookie", cookies_);
  if (auto fault = read_content_length(end)) return fault;
  if (head.framing == Framing::length && head.content_length > limits.body_size) {
    return Reset{Errc::limit, 413, "content-length is over the limit"};
  }
  return std::nullopt;
}

framing::Fault H2Block::read_content_length(End end) {
  const auto text = head.fields.find(FieldId::content_length);
  if (!text) {
    head.framing = end == End::yes ? Framing::none : Framing::chunked;
    return std::nullopt;
  }
  const auto length = base::parse_decimal(*text, INT64_MAX);
  if (!length || head.fields.count(FieldId::content_length) > 1) {
    return refuse("content-length is not one number (RFC 9110 §8.6)");
  }
  head.content_length = *length;
  head.framing = end == End::yes && *length == 0 ? Framing::none : Framing::length;
  return std::nullopt;
}

framing::Fault H2Block::settle_response(bool to_head, End end) {
  if (over_) return Reset{Errc::limit, 502, "header list is too large"};
  if (head.status < 100) return refuse(":status is not 100 to 999 (RFC 9110 §15)", 502);
  if (head.informational()) return std::nullopt;
  if (auto fault = read_content_length(end)) {
    fault->status = 502;
    return fault;
  }
  if (head.status == 204) {
    head.framing = Framing::none;
  } else if (framing::bodiless(head.status, to_head)) {
    if (head.framing == Framing::chunked) head.framing = Framing::none;
  } else if (head.framing == Framing::none) {
    head.framing = Framing::length;
  }
  return std::nullopt;
}

framing::Fault H2Block::settle_trailers() const {
  if (over_) return Reset{Errc::limit, 431, "trailers are too large"};
  return std::nullopt;
}

void H2Lines::add(std::string_view name, std::string_view value, std::uint8_t flags) {
  // nghttp2 copies both, and the name in lower case; it writes to neither.
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  lines_.push_back({bytes(name), bytes(value), name.size(), value.size(), flags});
}

void H2Lines::add_length(std::uint64_t length) {
  const auto end = std::to_chars(length_.data(), length_.data() + length_.size(), length).ptr;
  add("content-length", {length_.data(), static_cast<std::size_t>(end - length_.data())});
}

void H2Lines::add_fields(const Fields& fields, std::uint32_t skipped) {
  for (const Fields::Field field : fields) {
    if ((bit(field.id) & skipped) != 0) continue;
    // Never the same again: in the table of the encoder it would only push out what is.
    const bool unique = field.id == FieldId::x_request_id;
    add(field.name, field.value, unique ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);
  }
}

void H2Lines::request(const Head& head) {
  lines_.clear();
  add(":method", head.method);
  if (head.method != "CONNECT") {
    add(":scheme", "https");
    add(":path", head.target);
  }
  add(":authority", head.authority);
  add_fields(head.fields, not_ours | bit(FieldId::host) | bit(FieldId::te));
  if (base::has_member(head.fields.find(FieldId::te).value_or(""), "trailers")) {
    add("te", "trailers");
  }
  if (head.framing == Framing::length) add_length(head.content_length);
}

void H2Lines::response(const Head& head, bool bodiless) {
  lines_.clear();
  std::to_chars(status_.data(), status_.data() + status_.size(), head.status);
  add(":status", {status_.data(), status_.size()});
  add_fields(head.fields, not_ours | bit(FieldId::te));
  if (head.framing == Framing::length && !head.informational() && head.status != 204) {
    add_length(head.content_length);
  } else if (head.framing == Framing::none && !bodiless) {
    add_length(0);
  }
}

void H2Lines::trailers(const Fields& fields) {
  lines_.clear();
  add_fields(fields, not_ours | bit(FieldId::te) | bit(FieldId::host));
}

}  // namespace proxycore::http
