#include "server/config_values.h"

#include "base/text.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace proxycore::server {

namespace {

struct Unit {
  std::string_view suffix;
  std::uint64_t factor;
};
// The largest first.
constexpr Unit size_units[] = {{"PiB", 1ULL << 50U}, {"TiB", 1ULL << 40U}, {"GiB", 1ULL << 30U},
                               {"MiB", 1ULL << 20U}, {"KiB", 1ULL << 10U}, {"B", 1}};
constexpr Unit duration_units[] = {
    {"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};

std::optional<std::uint64_t> amount(std::string_view text, std::span<const Unit> units) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  for (const Unit& unit : units) {
    if (unit.suffix != text.substr(digits)) continue;
    const auto count = base::parse_decimal(text.substr(0, digits),
                                           std::numeric_limits<std::uint64_t>::max() / unit.factor);
    if (count) return *count * unit.factor;
  }
  return std::nullopt;
}

std::string with_unit(std::uint64_t value, std::span<const Unit> units) {
  if (value == 0) return "0";
  const auto& unit = *std::find_if(units.begin(), units.end(),
                                   [&](const Unit& u) { return value % u.factor == 0; });
  return fmt::format("{}{}", value / unit.factor, unit.suffix);
}

std::string found(const Given& given) {
  struct Words {
    std::string operator()(const Given::Other& other) { return std::string(other.what); }
    std::string operator()(bool value) { return value ? "true" : "false"; }
    std::string operator()(std::int64_t value) { return std::to_string(value); }
    std::string operator()(const std::string& value) { return base::shown(value); }
    std::string operator()(const std::vector<Given>& /*value*/) { return "an array"; }
  };
  return std::visit(Words{}, given.value);
}

Error wrong(const Rule& rule, const Given& given, std::string_view wanted) {
  return error_at(given.place, rule.name,
                  fmt::format("expected {}, found {}", wanted, found(given)));
}

// As TOML writes a text. Control characters do not occur: check_text() refuses them.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out += '"';
}

Result<void> check_text(const Rule& rule, const Given& given) {
  const std::string& text = *std::get_if<std::string>(&given.value);
  const bool control = std::any_of(text.begin(), text.end(),
                                   [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; });
  if (control) return wrong(rule, given, "a text without control characters");
  if (rule.check == nullptr) return {};
  auto checked = rule.check(text);
  if (!checked) return error_at(given.place, rule.name, checked.error().detail);
  return {};
}

// What Value<T> does, for each T.
template <class T>
struct How;

template <class T>
requires(std::is_integral_v<T>) struct How<T> {
  static std::string one(const Rule& rule, std::uint64_t value) {
    if (rule.form == Form::size) return with_unit(value, size_units);
    if (rule.form == Form::octal) return fmt::format("\"{:04o}\"", value);
    return std::to_string(value);
  }
  static std::string type(const Rule& rule) {
    return rule.form == Form::size ? "size" : rule.form == Form::octal ? "octal text" : "number";
  }
  static std::string range(const Rule& rule) {
    return fmt::format("{} to {}", one(rule, rule.least), one(rule, rule.most));
  }
  static std::string shown(const Rule& rule, T value) {
    return rule.form == Form::size && value != 0 ? quoted(one(rule, value)) : one(rule, value);
  }
  static Result<void> read(const Rule& rule, const Given& given, T& to) {
    const auto value = number(rule, given);
    if (value && *value >= rule.least && *value <= rule.most) {
      to = static_cast<T>(*value);
      return {};
    }
    const std::string_view like = value                      ? ""
                                  : rule.form == Form::size  ? " like 65536 or \"64KiB\""
                                  : rule.form == Form::octal ? " like \"0660\""
                                                             : "";
    return wrong(rule, given,
                 fmt::format("{} {} from {}{}", rule.form == Form::octal ? "an" : "a", type(rule),
                             range(rule), like));
  }

 private:
  static std::optional<std::uint64_t> number(const Rule& rule, const Given& given) {
    const auto* text = std::get_if<std::string>(&given.value);
    if (rule.form == Form::octal) {
      // An integer would be read as decimal by one and as octal by another.
      if (text == nullptr || text->empty() || text->size() > 5 ||
          text->find_first_not_of("01234567") != std::string::npos) {
        return std::nullopt;
      }
      return std::stoul(*text, nullptr, 8);
    }
    if (rule.form == Form::size && text != nullptr) return amount(*text, size_units);
    const auto* integer = std::get_if<std::int64_t>(&given.value);
    if (integer == nullptr || *integer < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*integer);
  }
};

template <>
struct How<Millis> {
  static std::string type(const Rule& /*rule*/) { return "duration"; }
  static std::string range(const Rule& rule) {
    return fmt::format("{} to {}", with_unit(rule.least, duration_units),
                       with_unit(rule.most, duration_units));
  }
  static std::string shown(const Rule& /*rule*/, Millis value) {
    if (value.count() == 0) return "0";
    return quoted(with_unit(static_cast<std::uint64_t>(value.count()), duration_units));
  }
  static Result<void> read(const Rule& rule, const Given& given, Millis& to) {
    std::optional<std::uint64_t> value;
    if (const auto* text = std::get_if<std::string>(&given.value)) {
      value = amount(*text, duration_units);
    } else if (const auto* integer = std::get_if<std::int64_t>(&given.value);
               integer != nullptr && *integer >= 0) {
      value = static_cast<std::uint64_t>(*integer);
    }
    if (value && *value >= rule.least && *value <= rule.most) {
      to = Millis{static_cast<std::int64_t>(*value)};
      return {};
    }
    return wrong(rule, given,
                 fmt::format("a duration from {}{}", range(rule),
                             value ? "" : " like \"30s\" or 500 (milliseconds)"));
  }
};

template <>
struct How<std::optional<Millis>> {
  static std::string type(const Rule& rule) { return How<Millis>::type(rule); }
  static std::string range(const Rule& rule) { return How<Millis>::range(rule); }
  static std::string shown(const Rule& rule, const std::optional<Millis>& value) {
    return value ? How<Millis>::shown(rule, *value) : "";
  }
  static Result<void> read(const Rule& rule, const Given& given, std::optional<Millis>& to) {
    Millis value{0};
    PX_CHECK(How<Millis>::read(rule, given, value));
    to = value;
    return {};
  }
};

template <>
struct How<bool> {
  static std::string type(const Rule& /*rule*/) { return "true or false"; }
  static std::string range(const Rule& /*rule*/) { return {}; }
  static std::string shown(const Rule& /*rule*/, bool value) { return value ? "true" : "false"; }
  static Result<void> read(const Rule& rule, const Given& given, bool& to) {
    const auto* value = std::get_if<bool>(&given.value);
    if (value == nullptr) return wrong(rule, given, type(rule));
    to = *value;
    return {};
  }
};

template <>
struct How<std::optional<bool>> {
  static std::string type(const Rule& rule) { return How<bool>::type(rule); }
  static std::string range(const Rule& /*rule*/) { return {}; }
  static std::string shown(const Rule& rule, const std::optional<bool>& value) {
    return value ? How<bool>::shown(rule, *value) : "";
  }
  static Result<void> read(const Rule& rule, const Given& given, std::optional<bool>& to) {
    bool value = false;
    PX_CHECK(How<bool>::read(rule, given, value));
    to = value;
    return {};
  }
};

template <>
struct How<std::string> {
  static std::string type(const Rule& rule) {
    return std::string(rule.what.empty() ? "text" : rule.what);
  }
  static std::string range(const Rule& /*rule*/) { return {}; }
  static std::string shown(const Rule& /*rule*/, const std::string& value) { return quoted(value); }
  static Result<void> read(const Rule& rule, const Given& given, std::string& to) {
    const auto* value = std::get_if<std::string>(&given.value);
    if (value == nullptr) return wrong(rule, given, "a text");
    PX_CHECK(check_text(rule, given));
    to = *value;
    return {};
  }
};

template <>
struct How<std::vector<std::string>> {
  static std::string type(const Rule& rule) { return fmt::format("array of {}", rule.what); }
  static std::string range(const Rule& /*rule*/) { return {}; }
  static std::string shown(const Rule& /*rule*/, const std::vector<std::string>& value) {
    std::string text = "[";
    for (const std::string& part : value) {
      if (text.size() > 1) text += ", ";
      text += quoted(part);
    }
    return text += ']';
  }
  static Result<void> read(const Rule& rule, const Given& given, std::vector<std::string>& to) {
    const auto* parts = std::get_if<std::vector<Given>>(&given.value);
    if (parts == nullptr) return wrong(rule, given, "an " + type(rule));
    std::vector<std::string> texts;
    texts.reserve(parts->size());
    for (const Given& part : *parts) {
      const auto* text = std::get_if<std::string>(&part.value);
      if (text == nullptr) return wrong(rule, part, "a text in the " + type(rule));
      PX_CHECK(check_text(rule, part));
      texts.push_back(*text);
    }
    to = std::move(texts);
    return {};
  }
};

template <class Enum>
struct Names;
template <>
struct Names<LogLevel> {
  static constexpr std::string_view all[] = {"debug", "info", "warning", "error"};
};
template <>
struct Names<LogFormat> {
  static constexpr std::string_view all[] = {"json", "combined"};
};

template <>
struct Names<TlsVersion> {
  static constexpr std::string_view all[] = {"1.2", "1.3"};
};

template <class Enum>
requires(std::is_enum_v<Enum>) struct How<Enum> {
  static constexpr std::span<const std::string_view> names = Names<Enum>::all;

  static std::string type(const Rule& /*rule*/) { return listed(names); }
  static std::string range(const Rule& /*rule*/) { return {}; }
  static std::string shown(const Rule& /*rule*/, Enum value) {
    return quoted(names[static_cast<std::size_t>(value)]);
  }
  static Result<void> read(const Rule& rule, const Given& given, Enum& to) {
    if (const auto* text = std::get_if<std::string>(&given.value)) {
      const auto at = std::find(names.begin(), names.end(), *text);
      if (at != names.end()) {
        to = static_cast<Enum>(at - names.begin());
        return {};
      }
    }
    return wrong(rule, given, type(rule));
  }
};

// A file says yes or no; only a record may say nothing.
template <>
struct How<TargetVerify> {
  static std::string type(const Rule& rule) { return How<bool>::type(rule); }
  static std::string range(const Rule& rule) { return How<bool>::range(rule); }
  static std::string shown(const Rule& rule, TargetVerify value) {
    return How<bool>::shown(rule, value == TargetVerify::yes);
  }
  static Result<void> read(const Rule& rule, const Given& given, TargetVerify& to) {
    bool verify = true;
    PX_CHECK(How<bool>::read(rule, given, verify));
    to = verify ? TargetVerify::yes : TargetVerify::no;
    return {};
  }
};

}  // namespace

std::string Place::text() const {
  return fmt::format("{}:{}", file, line);
}

Error error_at(const Place& place, std::string_view key, std::string_view text) {
  return {Errc::invalid, fmt::format("{}: {}: {}", place.text(), key, text)};
}

std::string listed(std::span<const std::string_view> names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

template <class T>
std::string Value<T>::type(const Rule& rule) {
  return How<T>::type(rule);
}
template <class T>
std::string Value<T>::range(const Rule& rule) {
  return How<T>::range(rule);
}
template <class T>
std::string Value<T>::shown(const Rule& rule, const T& value) {
  return How<T>::shown(rule, value);
}
template <class T>
Result<void> Value<T>::read(const Rule& rule, const Given& given, T& to) {
  return How<T>::read(rule, given, to);
}

template struct Value<bool>;
template struct Value<std::uint16_t>;
template struct Value<std::uint32_t>;
template struct Value<std::uint64_t>;
template struct Value<Millis>;
template struct Value<std::optional<Millis>>;
template struct Value<std::optional<bool>>;
template struct Value<std::string>;
template struct Value<std::vector<std::string>>;
template struct Value<LogLevel>;
template struct Value<LogFormat>;
template struct Value<TlsVersion>;
template struct Value<TargetVerify>;

}  // namespace proxycore::server
