// json::Writer writes JSON to a string; json::Value is parsed JSON with getters that say what was
// expected ("field 'port': 70000 is over 65535").
//
// For log lines, records and messages of a few megabytes at most. What is written is always valid
// JSON in UTF-8, whatever bytes come in. Not here: what the fields mean.
// Source: RFC 8259. Thread: values, any thread.
#pragma once

#include <proxycore/result.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace proxycore::base::json {

// Appends `text` with quotes; control characters are escaped, bytes that are no UTF-8 become
// U+FFFD.
void append_quoted(std::string& out, std::string_view text);

// Appends to a string that the caller keeps. Commas come by themselves; that begin and end match,
// and that an object's values have keys, is the caller's job.
class Writer {
 public:
  explicit Writer(std::string& out) noexcept : out_(out) {}

  Writer& begin_object() { return open('{'); }
  Writer& end_object() { return close('}'); }
  Writer& begin_array() { return open('['); }
  Writer& end_array() { return close(']'); }
  Writer& key(std::string_view name);

  Writer& value(std::string_view text);
  Writer& value(const char* text) { return value(std::string_view{text}); }
  Writer& value(std::same_as<bool> auto on) { return raw(on ? "true" : "false"); }
  template <std::integral Integer>
  requires(!std::same_as<Integer, bool>) Writer& value(Integer number) {
    if constexpr (std::signed_integral<Integer>) {
      return number_value(std::int64_t{number});
    } else {
      return number_value(std::uint64_t{number});
    }
  }
  // NaN and infinities, which JSON does not have, become null.
  Writer& value(double number);
  Writer& null() { return raw("null"); }
  // `text` is JSON already.
  Writer& raw(std::string_view text);

  template <class Content>
  Writer& field(std::string_view name, const Content& content) {
    return key(name).value(content);
  }

 private:
  Writer& open(char bracket);
  Writer& close(char bracket);
  Writer& number_value(std::int64_t number);
  Writer& number_value(std::uint64_t number);
  void separate();

  std::string& out_;
  bool comma_ = false;  // whether the next element needs one before it
};

class Value {
 public:
  struct Member;
  enum class Kind : std::uint8_t { null, boolean, integer, number, text, array, object };

  Value() = default;

  [[nodiscard]] Kind kind() const noexcept { return static_cast<Kind>(held_.index()); }

  // The value itself. Errors: invalid ("expected a string, found 80").
  [[nodiscard]] Result<bool> boolean() const;
  [[nodiscard]] Result<std::int64_t> integer(
      std::int64_t min = std::numeric_limits<std::int64_t>::min(),
      std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  [[nodiscard]] Result<double> number() const;
  [[nodiscard]] Result<std::string_view> text() const;
  [[nodiscard]] Result<std::span<const Value>> array() const;
  // The members of an object, sorted by name.
  [[nodiscard]] Result<std::span<const Member>> object() const;

  // A field of an object; nullptr: no such field, or not an object.
  [[nodiscard]] const Value* find(std::string_view name) const noexcept;
  // The same, typed; the error names the field. A field that is not there is invalid as well.
  [[nodiscard]] Result<bool> boolean(std::string_view name) const;
  [[nodiscard]] Result<std::int64_t> integer(
      std::string_view name, std::int64_t min = std::numeric_limits<std::int64_t>::min(),
      std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  [[nodiscard]] Result<std::string_view> text(std::string_view name) const;
  [[nodiscard]] Result<std::span<const Value>> array(std::string_view name) const;

 private:
  friend class Parser;
  using Array = std::vector<Value>;
  using Object = std::vector<Member>;

  [[nodiscard]] Error unexpected(std::string_view expected) const;
  [[nodiscard]] Result<const Value*> required(std::string_view name) const;

  // In the order of Kind.
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> held_;
};

struct Value::Member {
  std::string name;
  Value value;
};

struct Bounds {
  std::size_t size = std::size_t{1} << 20;  // bytes of text
  std::size_t depth = 32;                   // arrays and objects inside each other
};

// Exactly one JSON value; integers beyond 64 bits signed become numbers.
// Errors: limit (too long, too deep), invalid (not JSON, not UTF-8, a name twice in one object).
Result<Value> parse(std::string_view text, const Bounds& bounds = {});

}  // namespace proxycore::base::json
