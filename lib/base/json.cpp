#include "base/json.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <simdjson.h>

namespace proxycore::base::json {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

// What goes through as it is: printable ASCII but '"' and '\'.
constexpr std::array<bool, 256> plain = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = 0x20; c < 0x80; ++c) table[c] = c != '"' && c != '\\';
  return table;
}();

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
  }
}

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto* const end = std::find_if(
        text.begin(), text.end(), [](char c) { return !plain[static_cast<unsigned char>(c)]; });
    const auto run = static_cast<std::size_t>(end - text.begin());
    out.append(text.data(), run);
    text.remove_prefix(run);
    if (text.empty()) break;
    std::size_t length = 1;
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      append_escaped(out, text.front());
    } else if (const std::size_t character = utf8_length(text); character != 0) {
      length = character;
      out.append(text.data(), length);
    } else {
      out += replacement;
    }
    text.remove_prefix(length);
  }
  out += '"';
}

Writer& Writer::key(std::string_view name) {
  separate();
  append_quoted(out_, name);
  out_ += ':';
  comma_ = false;
  return *this;
}

Writer& Writer::value(std::string_view text) {
  separate();
  append_quoted(out_, text);
  return *this;
}

Writer& Writer::value(double number) {
  if (!std::isfinite(number)) return null();
  // Without a fraction it would be read as the integer, which has no sign.
  if (number == 0 && std::signbit(number)) return raw("-0.0");
  return raw(fmt::format("{}", number));
}

Writer& Writer::raw(std::string_view text) {
  separate();
  out_ += text;
  return *this;
}

Writer& Writer::open(char bracket) {
  separate();
  out_ += bracket;
  comma_ = false;
  return *this;
}

Writer& Writer::close(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

Writer& Writer::number_value(std::int64_t number) {
  const fmt::format_int digits{number};
  return raw({digits.data(), digits.size()});
}

Writer& Writer::number_value(std::uint64_t number) {
  const fmt::format_int digits{number};
  return raw({digits.data(), digits.size()});
}

void Writer::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

// The kind, and for scalars the value: what an error says was found.
Error Value::unexpected(std::string_view expected) const {
  constexpr std::size_t shown = 40;  // bytes of a text
  std::string found;
  switch (kind()) {
    case Kind::null:
      found = "null";
      break;
    case Kind::boolean:
      found = std::get<bool>(held_) ? "true" : "false";
      break;
    case Kind::integer:
      found = fmt::format("{}", std::get<std::int64_t>(held_));
      break;
    case Kind::number:
      found = fmt::format("{}", std::get<double>(held_));
      break;
    case Kind::text: {
      const std::string_view text = std::get<std::string>(held_);
      append_quoted(found, text.substr(0, shown));
      if (text.size() > shown) found += "...";
      break;
    }
    case Kind::array:
      found = "an array";
      break;
    case Kind::object:
      found = "an object";
      break;
  }
  return {Errc::invalid, fmt::format("expected {}, found {}", expected, found)};
}

Result<bool> Value::boolean() const {
  if (const auto* held = std::get_if<bool>(&held_)) return *held;
  return unexpected("true or false");
}

Result<std::int64_t> Value::integer(std::int64_t min, std::int64_t max) const {
  const auto* held = std::get_if<std::int64_t>(&held_);
  if (held == nullptr) return unexpected("an integer");
  if (*held < min) return Error{Errc::invalid, fmt::format("{} is under {}", *held, min)};
  if (*held > max) return Error{Errc::invalid, fmt::format("{} is over {}", *held, max)};
  return *held;
}

Result<double> Value::number() const {
  if (const auto* held = std::get_if<double>(&held_)) return *held;
  if (const auto* held = std::get_if<std::int64_t>(&held_)) return static_cast<double>(*held);
  return unexpected("a number");
}

Result<std::string_view> Value::text() const {
  if (const auto* held = std::get_if<std::string>(&held_)) return std::string_view{*held};
  return unexpected("a string");
}

Result<std::span<const Value>> Value::array() const {
  if (const auto* held = std::get_if<Array>(&held_)) return std::span<const Value>{*held};
  return unexpected("an array");
}

Result<std::span<const Value::Member>> Value::object() const {
  if (const auto* held = std::get_if<Object>(&held_)) return std::span<const Member>{*held};
  return unexpected("an object");
}

const Value* Value::find(std::string_view name) const noexcept {
  const auto* object = std::get_if<Object>(&held_);
  if (object == nullptr) return nullptr;
  const auto at = std::lower_bound(
      object->begin(), object->end(), name,
      [](const Member& member, std::string_view wanted) { return member.name < wanted; });
  return at != object->end() && at->name == name ? &at->value : nullptr;
}

Result<const Value*> Value::required(std::string_view name) const {
  if (kind() != Kind::object) return unexpected("an object");
  if (const Value* found = find(name)) return found;
  return Error{Errc::invalid, fmt::format("field '{}': missing", name)};
}

namespace {

template <class T>
Result<T> named(std::string_view name, Result<T> result) {
  if (!result) return std::move(result).error().within(fmt::format("field '{}'", name));
  return result;
}

}  // namespace

Result<bool> Value::boolean(std::string_view name) const {
  PX_TRY(const Value* field, required(name));
  return named(name, field->boolean());
}

Result<std::int64_t> Value::integer(std::string_view name, std::int64_t min,
                                    std::int64_t max) const {
  PX_TRY(const Value* field, required(name));
  return named(name, field->integer(min, max));
}

Result<std::string_view> Value::text(std::string_view name) const {
  PX_TRY(const Value* field, required(name));
  return named(name, field->text());
}

Result<std::span<const Value>> Value::array(std::string_view name) const {
  PX_TRY(const Value* field, required(name));
  return named(name, field->array());
}

// Copies simdjson's tape into Values. Recursion is bounded by the depth given to simdjson.
class Parser {
 public:
  static Result<Value> convert(const simdjson::dom::element& element) {
    using Type = simdjson::dom::element_type;
    Value value;
    switch (element.type()) {
      case Type::NULL_VALUE:
        break;
      case Type::BOOL:
        value.held_ = element.get_bool().value_unsafe();
        break;
      case Type::INT64:
        value.held_ = std::int64_t{element.get_int64().value_unsafe()};
        break;
      case Type::UINT64:
        value.held_ = static_cast<double>(element.get_uint64().value_unsafe());
        break;
      case Type::DOUBLE:
        value.held_ = element.get_double().value_unsafe();
        break;
      case Type::STRING:
        value.held_ = std::string{element.get_string().value_unsafe()};
        break;
      case Type::ARRAY: {
        const simdjson::dom::array array = element.get_array().value_unsafe();
        Value::Array items;
        for (const auto item : array) {
          PX_TRY(Value converted, convert(item));
          items.push_back(std::move(converted));
        }
        value.held_ = std::move(items);
        break;
      }
      case Type::OBJECT: {
        const simdjson::dom::object object = element.get_object().value_unsafe();
        Value::Object members;
        for (const auto& member : object) {
          PX_TRY(Value converted, convert(member.value));
          members.push_back({std::string{member.key}, std::move(converted)});
        }
        PX_CHECK(sort(members));
        value.held_ = std::move(members);
        break;
      }
    }
    return value;
  }

 private:
  // A name that comes twice would be read differently by different readers (RFC 8259 §4).
  static Result<void> sort(Value::Object& members) {
    std::sort(members.begin(), members.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(members.begin(), members.end(),
                           [](const auto& a, const auto& b) { return a.name == b.name; });
    if (twice == members.end()) return {};
    std::string quoted;
    append_quoted(quoted, twice->name);
    return Error{Errc::invalid, fmt::format("json: {} appears twice in one object", quoted)};
  }
};

Result<Value> parse(std::string_view text, const Bounds& bounds) {
  if (text.size() > bounds.size) {
    return Error{Errc::limit, fmt::format("json: {} bytes are over {}", text.size(), bounds.size)};
  }
  simdjson::dom::parser parser;
  if (parser.allocate(std::max(text.size(), std::size_t{64}), bounds.depth) != simdjson::SUCCESS) {
    return Error{Errc::limit, "json: no memory"};
  }
  simdjson::dom::element root;
  const simdjson::error_code problem = parser.parse(text.data(), text.size()).get(root);
  if (problem == simdjson::DEPTH_ERROR) {
    return Error{Errc::limit, fmt::format("json: nested deeper than {}", bounds.depth)};
  }
  if (problem != simdjson::SUCCESS) {
    return Error{Errc::invalid, fmt::format("json: {}", simdjson::error_message(problem))};
  }
  return Parser::convert(root);
}

}  // namespace proxycore::base::json
