#include "http/h1_write.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <utility>

namespace proxycore::http {

namespace {

struct Reason {
  std::uint16_t status;
  std::string_view text;
};
constexpr auto reasons = std::to_array<Reason>({
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
});

// Room for everything in a head that is neither start line nor field.
constexpr std::size_t framing_room = 256;

// One piece of memory for a head; larger ones (rare) are put together apart.
constexpr std::size_t reserve_up_to = 16 << 10;

constexpr std::uint32_t bit(FieldId id) noexcept {
  return std::uint32_t{1} << static_cast<unsigned>(id);
}
// Written from what the head and the codec say (RFC 9112 §6, §9).
constexpr std::uint32_t own_fields = bit(FieldId::connection) | bit(FieldId::content_length) |
                                     bit(FieldId::keep_alive) | bit(FieldId::proxy_connection) |
                                     bit(FieldId::transfer_encoding);

// Writes into memory that is known to be large enough.
class Writer {
 public:
  explicit Writer(char* at) noexcept : at_(at) {}

  Writer& text(std::string_view part) noexcept {
    std::memcpy(at_, part.data(), part.size());
    at_ += part.size();
    return *this;
  }
  Writer& number(std::uint64_t value, int base = 10) noexcept {
    at_ = std::to_chars(at_, at_ + 20, value, base).ptr;
    return *this;
  }
  [[nodiscard]] char* at() const noexcept { return at_; }

 private:
  char* at_;
};

// The options that this message needs (RFC 9110 §7.6.1).
void write_connection(Writer& out, const Head& head, const Wire& wire) noexcept {
  const bool upgrade = head.upgrade || head.status == 426;
  const bool te = head.is_request() && head.fields.has(FieldId::te);
  std::string_view keep = "";
  if (!wire.persistent && head.status != 101) keep = "close";
  if (wire.persistent && wire.http10) keep = "keep-alive";
  if (keep.empty() && !upgrade && !te) return;
  out.text("Connection: ").text(keep);
  std::string_view comma = keep.empty() ? "" : ", ";
  if (upgrade) out.text(std::exchange(comma, ", ")).text("upgrade");
  if (te) out.text(comma).text("TE");
  out.text("\r\n");
}

}  // namespace

std::string_view reason_of(std::uint16_t status) noexcept {
  const auto* found = std::lower_bound(
      reasons.begin(), reasons.end(), status,
      [](const Reason& reason, std::uint16_t wanted) { return reason.status < wanted; });
  return found == reasons.end() || found->status != status ? "" : found->text;
}

void append_head(base::Chain& chain, const Head& head, const Wire& wire) {
  const bool request = head.is_request();
  const std::string_view reason =
      head.reason.empty() ? reason_of(head.status) : std::string_view{head.reason};
  const std::size_t room = head.fields.bytes() + framing_room + head.method.size() +
                           head.target.size() + head.authority.size() + reason.size();
  std::string apart;
  if (room > reserve_up_to) apart.resize(room);
  char* const begin = apart.empty() ? chain.reserve(room) : apart.data();
  Writer out(begin);

  if (request) {
    out.text(head.method).text(" ").text(head.target).text(" HTTP/1.1\r\nHost: ");
    out.text(head.authority).text("\r\n");
  } else {
    out.text("HTTP/1.1 ").number(head.status).text(" ").text(reason).text("\r\n");
  }
  std::uint32_t skipped = own_fields;
  if (request) skipped |= bit(FieldId::host);
  if (!head.upgrade && head.status != 426) skipped |= bit(FieldId::upgrade);
  for (const Fields::Field field : head.fields) {
    if ((bit(field.id) & skipped) == 0) out.text(Fields::line(field));
  }

  if (!head.informational()) {
    switch (wire.framing) {
      case Framing::length:
        out.text("Content-Length: ").number(length_of(head)).text("\r\n");
        break;
      case Framing::chunked:
        out.text("Transfer-Encoding: chunked\r\n");
        break;
      case Framing::until_close:
        break;
      case Framing::none:
        // What GET would have, in the answer to HEAD and in a 304; and that a method which
        // usually has content has none (RFC 9110 §8.6).
        if (head.framing == Framing::length && head.status != 204) {
          out.text("Content-Length: ").number(head.content_length).text("\r\n");
        } else if (head.method == "POST" || head.method == "PUT" || head.method == "PATCH") {
          out.text("Content-Length: 0\r\n");
        }
        break;
    }
  }
  if (!head.informational() || head.status == 101) {
    write_connection(out, head, wire);
  }
  out.text("\r\n");

  const auto size = static_cast<std::size_t>(out.at() - begin);
  if (apart.empty()) {
    chain.commit(size);
  } else {
    chain.copy(begin, size);
  }
}

void append_chunk(base::Chain& out, const base::Bytes& part) {
  if (part.empty()) return;
  char* const begin = out.reserve(24);
  const char* const end = Writer(begin).number(part.size, 16).text("\r\n").at();
  out.commit(static_cast<std::size_t>(end - begin));
  out.append(part);
  out.append("\r\n");
}

void append_last_chunk(base::Chain& out, const Fields& trailers) {
  out.append("0\r\n");
  for (const Fields::Field field : trailers) {
    out.append(Fields::line(field));
  }
  out.append("\r\n");
}

}  // namespace proxycore::http
