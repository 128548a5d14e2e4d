// Every key of the configuration file, once: its name, how it is read and checked, how its value is
// shown, what it means.
//
// The tables drive the loader (config_load), changed_keys() and config_reference(), so that they
// cannot drift apart. Nothing here knows TOML: a file's values arrive as Given.
// Thread: any; the tables never change.
#pragma once

#include <proxycore/config.h>
#include <proxycore/result.h>

#include <cstdint>
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

// Of: what has the value, Config or Host.
template <class Of>
struct Key {
  Rule rule;
  // Checks the value and stores it. Errors: invalid ("file:7: listen.http: expected ...").
  Result<void> (*read)(const Rule& rule, const Given& given, Of& to);
  std::string (*shown)(const Rule& rule, const Of& from);  // as it would stand in the file
  std::string (*type)(const Rule& rule);                   // "array of addresses"
  std::string (*range)(const Rule& rule);                  // "1 to 65535", or empty
};

// In the order of the reference; the keys of one table stand together.
std::span<const Key<Config>> config_keys() noexcept;
std::span<const Key<Host>> host_keys() noexcept;
// "store", "listen", ... without "host".
std::span<const std::string_view> table_names() noexcept;

// "file:7: listen.http: text"
Error error_at(const Place& place, std::string_view key, std::string_view text);
// "file:7: listen.htp: unknown, did you mean listen.http?", or "..., expected a, b or c" where none
// of the known names is near.
Error unknown_at(const Place& place, std::string_view name, std::span<const std::string_view> known,
                 std::span<const std::string_view> expected);

}  // namespace proxycore::server
