#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace proxycore::base {

bool is_token(std::string_view text) noexcept {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!is_token_char(c)) return false;
  }
  return true;
}

std::optional<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t max) noexcept {
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, value);
  if (problem != std::errc{} || stopped != end || value > max) return std::nullopt;
  return value;
}

std::string hex(std::span<const unsigned char> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const unsigned char byte : bytes) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

bool parse_hex(std::string_view text, std::span<unsigned char> into) noexcept {
  if (text.size() != 2 * into.size()) return false;
  const auto digit = [](char c) {
    if (is_digit(c)) return c - '0';
    const char letter = lower(c);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
  };
  for (std::size_t i = 0; i < into.size(); ++i) {
    const int high = digit(text[2 * i]);
    const int low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    into[i] = static_cast<unsigned char>(high * 16 + low);
  }
  return true;
}

namespace {
constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

std::string encode_base64(std::string_view bytes, char digit_62, char digit_63) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  std::uint32_t held = 0;
  unsigned bits = 0;
  const auto put = [&](std::uint32_t value) {
    text += value < 62 ? base64_digits[value] : value == 62 ? digit_62 : digit_63;
  };
  for (const char byte : bytes) {
    held = held << 8U | static_cast<unsigned char>(byte);
    for (bits += 8; bits >= 6;) put(held >> (bits -= 6) & 63U);
  }
  if (bits > 0) put(held << (6 - bits) & 63U);
  return text;
}
}  // namespace

std::string base64(std::string_view bytes) {
  std::string text = encode_base64(bytes, '+', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

std::string base64url(std::string_view bytes) {
  return encode_base64(bytes, '-', '_');
}

std::optional<std::string> parse_base64(std::string_view text) {
  if (text.size() % 4 == 0) {
    for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t held = 0;
  unsigned bits = 0;
  for (const char c : text) {
    std::size_t value = base64_digits.find(c);
    if (c == '+' || c == '-') value = 62;
    if (c == '/' || c == '_') value = 63;
    if (value > 63) return std::nullopt;
    held = held << 6U | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(held >> bits & 0xFFU);
  }
  // What is left over is zero, or there would be two texts for the same bytes.
  if ((held & ((1U << bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const auto continues = [&](std::size_t at) {
    return at < text.size() && (byte(at) & 0xC0) == 0x80;
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool too_far = first == 0xF4 && byte(1) > 0x8F;
    return overlong || too_far ? 0 : 4;
  }
  return 0;
}

namespace {
constexpr std::array days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
}  // namespace

std::string shown(std::string_view text) {
  constexpr std::size_t most = 80;
  std::size_t end = std::min(text.size(), most);
  // Not within a UTF-8 character.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  std::string out = "'";
  for (const char c : text.substr(0, end)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return out.append(end < text.size() ? "...'" : "'");
}

std::string http_date(std::time_t seconds) {
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     days[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                     months[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

std::string log_date(std::time_t seconds) {
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:02}/{}/{}:{:02}:{:02}:{:02} +0000", utc.tm_mday,
                     months[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now_s) noexcept {
  // "Sun 06 Nov 1994 08:49:37 GMT", "Sun Nov 6 08:49:37 1994"
  std::array<std::string_view, 6> words{};
  std::size_t count = 0;
  constexpr std::string_view between = " ,-";
  for (std::size_t at = text.find_first_not_of(between); at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(between, at), text.size());
    if (count == words.size()) return std::nullopt;
    words[count++] = text.substr(at, end - at);
    at = text.find_first_not_of(between, end);
  }
  if (count == 5) words = {words[0], words[2], words[1], words[4], words[3], "GMT"};
  const auto month = std::find(months.begin(), months.end(), words[2]);
  const auto day = parse_decimal(words[1], 31);
  auto year = parse_decimal(words[3], 9999);
  const std::string_view time = words[4];
  if (count < 5 || words[5] != "GMT" || month == months.end() || !day || *day == 0 || !year ||
      time.size() != 8 || time[2] != ':' || time[5] != ':') {
    return std::nullopt;
  }
  const auto hour = parse_decimal(time.substr(0, 2), 23);
  const auto minute = parse_decimal(time.substr(3, 2), 59);
  const auto second = parse_decimal(time.substr(6, 2), 60);
  if (!hour || !minute || !second) return std::nullopt;
  if (words[3].size() == 2) {  // RFC 9110 §5.6.7
    const std::uint64_t this_year = 1970 + static_cast<std::uint64_t>(now_s) / 31'556'952;
    *year += this_year / 100 * 100;
    if (*year > this_year + 50) *year -= 100;
  }
  std::tm parts{};
  parts.tm_year = static_cast<int>(*year) - 1900;
  parts.tm_mon = static_cast<int>(month - months.begin());
  parts.tm_mday = static_cast<int>(*day);
  parts.tm_hour = static_cast<int>(*hour);
  parts.tm_min = static_cast<int>(*minute);
  parts.tm_sec = static_cast<int>(*second);
  return ::timegm(&parts);
}

std::string iso_date(std::int64_t milliseconds) {
  const std::int64_t part = ((milliseconds % 1000) + 1000) % 1000;
  const auto seconds = static_cast<std::time_t>((milliseconds - part) / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, part);
}

std::optional<std::int64_t> parse_iso_date(std::string_view text) noexcept {
  // Takes a number of `digits` digits and the character behind it.
  const auto take = [&](std::size_t digits, std::string_view then) -> std::optional<int> {
    if (text.size() < digits + (then.empty() ? 0 : 1)) return std::nullopt;
    const auto value = parse_decimal(text.substr(0, digits));
    if (!value || (!then.empty() && then.find(text[digits]) == std::string_view::npos)) {
      return std::nullopt;
    }
    text.remove_prefix(digits + (then.empty() ? 0 : 1));
    return static_cast<int>(*value);
  };
  const auto year = take(4, "-");
  const auto month = take(2, "-");
  const auto day = take(2, "Tt ");
  const auto hour = take(2, ":");
  const auto minute = take(2, ":");
  const auto second = take(2, "");
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 ||
      *second > 60) {
    return std::nullopt;
  }
  if (text.starts_with('.')) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789", 1), text.size());
    if (end == 1) return std::nullopt;
    text.remove_prefix(end);
  }
  int offset = 0;  // minutes
  if (text != "Z" && text != "z") {
    if (!text.starts_with('+') && !text.starts_with('-')) return std::nullopt;
    const int sign = text[0] == '-' ? -1 : 1;
    text.remove_prefix(1);
    const auto hours = take(2, ":");
    const auto minutes = take(2, "");
    if (!hours || !minutes || *hours > 23 || *minutes > 59 || !text.empty()) return std::nullopt;
    offset = sign * (*hours * 60 + *minutes);
  }
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return static_cast<std::int64_t>(::timegm(&parts)) - std::int64_t{offset} * 60;
}

}  // namespace proxycore::base
