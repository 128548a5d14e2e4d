// Small pure functions on text: ASCII case, trimming, integers without locale, base64, dates.
//
// ASCII only: nothing here depends on a locale. Not here: host names (host.h), JSON (json.h).
// Source: RFC 9110 §5.6 (tokens, dates), RFC 3629, RFC 4648, RFC 3339. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace proxycore::base {

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

// RFC 9110 §5.6.2 tchar.
constexpr bool is_token_char(char c) noexcept {
  if (is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z')) return true;
  return std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos;
}
bool is_token(std::string_view text) noexcept;

// ASCII case-insensitive.
constexpr bool same(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

// Without leading and trailing spaces and tabs (RFC 9110 OWS).
constexpr std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The next member of a comma-separated list, trimmed; takes it and its comma off `rest`.
// Empty members are returned as empty. Quoted strings are not looked into.
constexpr std::string_view next_member(std::string_view& rest) noexcept {
  const std::size_t comma = rest.find(',');
  const std::string_view member = trim(rest.substr(0, comma));
  rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
  return member;
}
// Whether a comma-separated list has that member, ASCII case-insensitively.
constexpr bool has_member(std::string_view list, std::string_view member) noexcept {
  while (!list.empty()) {
    if (same(next_member(list), member)) return true;
  }
  return false;
}

// Whether a host part stands for an address: it is in brackets, or its last label is a number and
// so meant for IPv4 (RFC 3986 §3.2.2).
constexpr bool is_address(std::string_view host) noexcept {
  if (host.empty()) return false;
  const std::string_view last = host.substr(host.rfind('.') + 1);
  return host.front() == '[' ||
         (!last.empty() && last.find_first_not_of("0123456789") == std::string_view::npos);
}

// Decimal digits only, no sign, no blanks; nullopt when empty, malformed or over `max`.
std::optional<std::uint64_t> parse_decimal(std::string_view text,
                                           std::uint64_t max = UINT64_MAX) noexcept;

// Two lower-case digits a byte.
std::string hex(std::span<const unsigned char> bytes);
// Exactly into.size() bytes, digits of either case. false: it is something else; `into` is then
// unspecified.
bool parse_hex(std::string_view text, std::span<unsigned char> into) noexcept;

// RFC 4648 §4, with padding.
std::string base64(std::string_view bytes);
// RFC 4648 §5, without padding, as JOSE has it (RFC 7515 §2).
std::string base64url(std::string_view bytes);
// Either alphabet, padded or not, no blanks; nullopt: it is something else.
std::optional<std::string> parse_base64(std::string_view text);

// How many bytes the UTF-8 character at the front of `text` takes, 1..4; 0 when it is none: cut
// short, overlong, a surrogate or past U+10FFFF (RFC 3629 §4). Precondition: not empty.
std::size_t utf8_length(std::string_view text) noexcept;

// A text from outside as messages show it: in single quotes, cut after 80 bytes, control characters
// as '?'.
std::string shown(std::string_view text);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7).
std::string http_date(std::time_t seconds);
// Seconds since 1970 of that, or of the two older forms ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov
// 6 08:49:37 1994"); a year of two digits is at most 50 years after `now_s`. nullopt: it is none.
std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now_s) noexcept;
// "1994-11-06T08:49:37.123Z".
std::string iso_date(std::int64_t milliseconds);
// Seconds since 1970 of "1994-11-06T08:49:37Z", with a fraction (dropped) and an offset or without
// (RFC 3339 §5.6); nullopt: it is something else.
std::optional<std::int64_t> parse_iso_date(std::string_view text) noexcept;
// "06/Nov/1994:08:49:37 +0000", of the combined log format.
std::string log_date(std::time_t seconds);

}  // namespace proxycore::base
