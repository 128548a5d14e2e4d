// config_values: how each type of value is read from a configuration file, checked, shown as it
// would stand in one, and described.
//
// Nothing here knows TOML: a file's values arrive as Given. Which keys there are is config_keys.
// Thread: any.
#pragma once

#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace proxycore::server {

struct Place {
  std::string_view file = {};
  std::uint32_t line = 0;

  [[nodiscard]] std::string text() const;  // "proxycore.toml:7"
};

// A value as a file gives it, free of the parser's types.
struct Given {
  struct Other {            // what no key takes
    std::string_view what;  // "a table"
  };
  std::variant<Other, bool, std::int64_t, std::string, std::vector<Given>> value;
  Place place = {};
};

enum class Form : std::uint8_t { plain, size, octal };  // of a number

struct Rule {
  std::string_view name;    // "timeouts.client_header", "host.targetPort"
  Form form = Form::plain;  // of numbers
  std::uint64_t least = 0;  // of numbers, sizes and durations (milliseconds), inclusive
  std::uint64_t most = 0;
  std::string_view what = {};  // a text, or the texts of an array: "file", "addresses"
  // Of a text, or of each text of an array. Its error says what was expected and found.
  Result<void> (*check)(std::string_view text) = nullptr;
  bool required = false;
  std::string_view standard = {};  // what stands for an absent optional value, as Markdown
  std::string_view meaning = {};   // Markdown
};

// T: bool, std::optional<bool>, an unsigned integer of 16, 32 or 64 bits, Millis,
// std::optional<Millis>, std::string, std::vector<std::string>, LogLevel, LogFormat, TlsVersion,
// TargetVerify.
template <class T>
struct Value {
  static std::string type(const Rule& rule);   // "array of addresses"
  static std::string range(const Rule& rule);  // "1 to 65535", or empty
  // As it would stand in the file; empty for an absent one.
  static std::string shown(const Rule& rule, const T& value);
  // Stores the value in `to`; on an error `to` keeps what it has.
  // Errors: invalid ("file:7: listen.http: expected an array of addresses, found 8080").
  static Result<void> read(const Rule& rule, const Given& given, T& to);
};

// "a, b or c"
std::string listed(std::span<const std::string_view> names);

// "file:7: listen.http: text"
Error error_at(const Place& place, std::string_view key, std::string_view text);

}  // namespace proxycore::server
