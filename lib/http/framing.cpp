#include "http/framing.h"

#include "base/text.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>

namespace proxycore::http::framing {

namespace {

using base::is_digit;
using base::same;

constexpr std::size_t max_method = 32;

Reset refuse(std::string_view why, std::uint16_t status = 400) {
  return {Errc::protocol, status, why};
}

constexpr bool is_hex(char c) noexcept {
  return is_digit(c) || (base::lower(c) >= 'a' && base::lower(c) <= 'f');
}

// Printable ASCII but '#'. Beyond RFC 3986 this lets through "<>\^`{|}, which browsers send and
// nginx and haproxy pass on; like haproxy, not raw bytes from 0x80 on nor a fragment.
constexpr bool is_target(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

// HTTP-name "/" DIGIT "." DIGIT (RFC 9112 §2.3); false: not that.
bool read_version(std::string_view text, int& major, int& minor) noexcept {
  if (text.size() != 8 || text.substr(0, 5) != "HTTP/" || !is_digit(text[5]) || text[6] != '.' ||
      !is_digit(text[7])) {
    return false;
  }
  major = text[5] - '0';
  minor = text[7] - '0';
  return true;
}

// unreserved / sub-delims (RFC 3986 §2.2, §2.3); percent-encoding is the caller's.
constexpr auto reg_name_chars = [] {
  std::array<bool, 256> allowed{};
  for (unsigned char c = '0'; c <= '9'; ++c) allowed[c] = true;
  for (unsigned char c = 'a'; c <= 'z'; ++c) allowed[c] = true;
  for (unsigned char c = 'A'; c <= 'Z'; ++c) allowed[c] = true;
  for (const char c : {'-', '.', '_', '~', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '='})
    allowed[static_cast<unsigned char>(c)] = true;
  return allowed;
}();

bool is_reg_name(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (reg_name_chars[static_cast<unsigned char>(text[i])]) continue;
    if (text[i] != '%' || text.size() - i < 3 || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) {
      return false;
    }
    i += 2;
  }
  return !text.empty();
}

bool is_ipv6(std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.size() >= terminated.size()) return false;
  std::copy(text.begin(), text.end(), terminated.begin());
  in6_addr address{};
  return ::inet_pton(AF_INET6, terminated.data(), &address) == 1;
}

// Splits at the colon before the port; a host in brackets keeps them.
bool split_authority(std::string_view text, std::string_view& host,
                     std::string_view& port) noexcept {
  std::size_t host_end = text.find(':');
  if (!text.empty() && text.front() == '[') {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return false;
    host_end = bracket + 1;
    if (host_end < text.size() && text[host_end] != ':') return false;
  }
  host = text.substr(0, host_end);
  port = host.size() < text.size() ? text.substr(host.size() + 1) : std::string_view{};
  return true;
}

// The length of "http://" or "https://" at the beginning; 0: neither.
std::size_t scheme_size(std::string_view target) noexcept {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (same(target.substr(0, scheme.size()), scheme)) return scheme.size();
  }
  return 0;
}

// Takes the four forms apart (RFC 9112 §3.2). `by_host`: the Host field names the authority.
Fault settle_target(Head& head, bool& by_host) {
  by_host = false;
  if (head.method == "CONNECT") {
    std::string_view host;
    std::string_view port;
    if (!is_authority(head.target) || !split_authority(head.target, host, port) || port.empty()) {
      return refuse("CONNECT without host:port (RFC 9112 §3.2.3)");
    }
    head.authority = head.target;
    return std::nullopt;
  }
  if (head.target.front() == '/') {
    by_host = true;
    return std::nullopt;
  }
  if (head.target == "*") {
    if (head.method != "OPTIONS") return refuse("target * of another method than OPTIONS");
    by_host = true;
    return std::nullopt;
  }
  const std::size_t scheme = scheme_size(head.target);
  if (scheme == 0) return refuse("request target of no known form (RFC 9112 §3.2)");
  const std::string_view rest = std::string_view{head.target}.substr(scheme);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  if (!is_authority(authority)) return refuse("absolute-form without a valid authority");
  head.authority = authority;
  const std::size_t path = scheme + authority.size();
  if (path == head.target.size()) {
    head.target = head.method == "OPTIONS" ? "*" : "/";  // RFC 9112 §3.2.4
  } else if (head.target[path] == '?') {
    head.target.replace(0, path, "/");
  } else {
    head.target.erase(0, path);
  }
  return std::nullopt;
}

enum class Coding : std::uint8_t { chunked, others_before, not_last, malformed };

// The Transfer-Encoding lines as one list (RFC 9110 §5.3).
Coding transfer_coding(const Fields& fields) noexcept {
  std::size_t codings = 0;
  std::size_t chunked = 0;
  bool last_is_chunked = false;
  for (const Fields::Field field : fields) {
    if (field.id != FieldId::transfer_encoding) continue;
    std::string_view rest = field.value;
    do {
      const bool more = rest.find(',') != std::string_view::npos;
      const std::string_view coding = base::next_member(rest);
      if (coding.empty() || (more && rest.empty())) return Coding::malformed;
      ++codings;
      last_is_chunked = same(coding, "chunked");
      if (last_is_chunked) ++chunked;
    } while (!rest.empty());
  }
  if (!last_is_chunked) return Coding::not_last;
  if (chunked > 1) return Coding::malformed;
  return codings == 1 ? Coding::chunked : Coding::others_before;
}

// What both kinds of message say about their length (RFC 9112 §6.1-§6.3).
struct Length {
  bool chunked = false;
  std::optional<std::uint64_t> bytes = {};
};

Fault read_length(const Head& head, Length& length) {
  if (head.fields.has(FieldId::transfer_encoding)) {
    if (head.version == Version::http10) {
      return refuse("Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)");
    }
    if (head.fields.has(FieldId::content_length)) {
      return refuse("Transfer-Encoding with Content-Length (RFC 9112 §6.3)");
    }
    switch (transfer_coding(head.fields)) {
      case Coding::chunked:
        break;
      case Coding::others_before:
        return refuse("a transfer coding besides chunked (RFC 9112 §6.1)", 501);
      case Coding::not_last:
        return refuse("chunked is not the last transfer coding (RFC 9112 §6.3)");
      case Coding::malformed:
        return refuse("malformed Transfer-Encoding (RFC 9112 §6.1)");
    }
    length.chunked = true;
    return std::nullopt;
  }
  const auto text = head.fields.find(FieldId::content_length);
  if (!text) return std::nullopt;
  if (head.fields.count(FieldId::content_length) > 1) {
    return refuse("more than one Content-Length (RFC 9112 §6.3)");
  }
  // Below 2^63, as no implementation sends more and many read it as signed.
  length.bytes = base::parse_decimal(*text, INT64_MAX);
  if (!length.bytes) return refuse("Content-Length is not a number (RFC 9110 §8.6)");
  return std::nullopt;
}

bool has_option(const Fields& fields, std::string_view option) noexcept {
  if (!fields.has(FieldId::connection)) return false;
  for (const Fields::Field field : fields) {
    if (field.id == FieldId::connection && base::has_member(field.value, option)) return true;
  }
  return false;
}

bool asks_upgrade(const Head& head) noexcept {
  return head.fields.has(FieldId::upgrade) && has_option(head.fields, "upgrade");
}

}  // namespace

Fault check_method(std::string_view method) {
  if (!base::is_token(method)) return refuse("method is not a token (RFC 9110 §9.1)");
  if (method.size() > max_method) return refuse("method is too long (RFC 9112 §3)", 501);
  return std::nullopt;
}

Fault check_target(std::string_view target, const Limits& limits) {
  if (target.size() > limits.target_size) {
    return Reset{Errc::limit, 414, "request target is too long"};
  }
  if (target.empty() || !is_target(target)) {
    return refuse("forbidden character in the request target (RFC 9112 §3.2)");
  }
  return std::nullopt;
}

Fault read_request_line(std::string_view line, const Limits& limits, Head& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == last) return refuse("request line is not method, target, version (RFC 9112 §3)");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (Fault fault = check_method(method)) return fault;
  head.method = method;
  int major = 0;
  int minor = 0;
  if (!read_version(line.substr(last + 1), major, minor)) {
    return refuse("malformed HTTP version (RFC 9112 §2.3)");
  }
  if (major != 1) return refuse("HTTP version is not 1.x (RFC 9110 §15.6.6)", 505);
  head.version = minor == 0 ? Version::http10 : Version::http11;
  if (Fault fault = check_target(target, limits)) return fault;
  head.target = target;
  return std::nullopt;
}

Fault read_status_line(std::string_view line, Head& head) {
  int major = 0;
  int minor = 0;
  if (!read_version(line.substr(0, 8), major, minor) || major != 1) {
    return refuse("status line does not begin with HTTP/1.x (RFC 9112 §4)", 502);
  }
  head.version = minor == 0 ? Version::http10 : Version::http11;
  line.remove_prefix(8);
  // The space before an empty reason is often forgotten.
  if (line.size() < 4 || line[0] != ' ' || (line.size() > 4 && line[4] != ' ')) {
    return refuse("malformed status line (RFC 9112 §4)", 502);
  }
  const auto status = base::parse_decimal(line.substr(1, 3));
  if (!status || *status < 100) return refuse("status is not 100 to 999 (RFC 9110 §15)", 502);
  head.status = static_cast<std::uint16_t>(*status);
  const std::string_view reason = line.size() > 5 ? line.substr(5) : std::string_view{};
  const auto forbidden = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < ' ' && byte != '\t') || byte == 0x7f;
  };
  if (std::any_of(reason.begin(), reason.end(), forbidden)) {
    return refuse("control character in the reason (RFC 9112 §4)", 502);
  }
  head.reason = reason;
  return std::nullopt;
}

Fault settle_request(Head& head, const Limits& limits) {
  const auto host = head.fields.find(FieldId::host);
  if (!host && head.version != Version::http10) return refuse("no Host field (RFC 9112 §3.2)");
  if (head.fields.count(FieldId::host) > 1) {
    return refuse("more than one Host field (RFC 9112 §3.2)");
  }
  bool by_host = false;
  if (Fault fault = settle_target(head, by_host)) return fault;
  // With the absolute form, Host is not used; it may be empty, but not be nonsense.
  if (host && !is_authority(*host) && (by_host || !host->empty())) {
    return refuse("Host is not host[:port] (RFC 9110 §7.2)");
  }
  if (by_host && host) head.authority = *host;

  Length length;
  if (Fault fault = read_length(head, length)) return fault;
  if (length.chunked) {
    head.framing = Framing::chunked;
  } else if (length.bytes && *length.bytes > 0) {
    if (*length.bytes > limits.body_size) {
      return Reset{Errc::limit, 413, "Content-Length is over the limit"};
    }
    head.framing = Framing::length;
    head.content_length = *length.bytes;
  }
  head.upgrade = head.version == Version::http11 && asks_upgrade(head);
  return std::nullopt;
}

Fault settle_response(Head& head, bool to_head) {
  Length length;
  if (Fault fault = read_length(head, length)) {
    fault->status = 502;
    return fault;
  }
  if (bodiless(head.status, to_head)) {
    // The length that GET would have had is passed on; 1xx and 204 have none (RFC 9110 §8.6).
    if (length.bytes && head.status >= 200 && head.status != 204) {
      head.framing = Framing::length;
      head.content_length = *length.bytes;
    }
  } else if (length.chunked) {
    head.framing = Framing::chunked;
  } else if (length.bytes) {
    head.framing = Framing::length;
    head.content_length = *length.bytes;
  } else {
    head.framing = Framing::until_close;
  }
  head.upgrade = head.status == 101;
  return std::nullopt;
}

bool persistent(const Head& head) noexcept {
  if (has_option(head.fields, "close")) return false;
  if (head.version == Version::http10 && !has_option(head.fields, "keep-alive")) return false;
  // An origin that announces content where there is none may send it after all: its bytes would
  // be taken for the next response.
  if (head.status == 204) {
    const auto length = head.fields.find(FieldId::content_length);
    return !head.fields.has(FieldId::transfer_encoding) && (!length || *length == "0");
  }
  return true;
}

Framing on_wire(const Head& head, Version peer, bool to_head) noexcept {
  if (head.is_request()) {
    return head.framing == Framing::until_close ? Framing::chunked : head.framing;
  }
  if (bodiless(head.status, to_head)) return Framing::none;
  switch (head.framing) {
    case Framing::none:
    case Framing::length:
      return Framing::length;
    case Framing::chunked:
    case Framing::until_close:
      break;
  }
  return peer == Version::http10 ? Framing::until_close : Framing::chunked;
}

void drop_forbidden_trailers(Fields& trailers) {
  for (const FieldId id : {FieldId::authorization,
                           FieldId::connection,
                           FieldId::content_length,
                           FieldId::content_type,
                           FieldId::date,
                           FieldId::expect,
                           FieldId::forwarded,
                           FieldId::host,
                           FieldId::keep_alive,
                           FieldId::proxy_authenticate,
                           FieldId::proxy_authorization,
                           FieldId::proxy_connection,
                           FieldId::te,
                           FieldId::trailer,
                           FieldId::transfer_encoding,
                           FieldId::upgrade,
                           FieldId::via,
                           FieldId::x_forwarded_for,
                           FieldId::x_forwarded_host,
                           FieldId::x_forwarded_proto,
                           FieldId::x_real_ip}) {
    trailers.remove(id);
  }
  for (const std::string_view name :
       {"Age", "Cache-Control", "Content-Encoding", "Content-Range", "Cookie", "Expires",
        "Location", "Max-Forwards", "Pragma", "Range", "Retry-After", "Set-Cookie", "Vary",
        "WWW-Authenticate"}) {
    trailers.remove(name);
  }
}

bool is_authority(std::string_view text) noexcept {
  std::string_view host;
  std::string_view port;
  if (!split_authority(text, host, port)) return false;
  if (!port.empty() && !base::parse_decimal(port, 65535)) return false;
  if (!host.empty() && host.front() == '[') return is_ipv6(host.substr(1, host.size() - 2));
  return is_reg_name(host);
}

}  // namespace proxycore::http::framing
