#include "host/record_fields.h"

#include "base/json.h"
#include "base/text.h"

#include <charconv>
#include <cmath>
#include <utility>

namespace proxycore::host::fields {

namespace json = base::json;

Error field_error(std::string_view name, std::string_view why) {
  return {Errc::invalid, std::string("field '").append(name).append("': ").append(why)};
}

const std::string* find(const Record& record, std::string_view name) {
  const auto at = record.find(name);
  return at != record.end() ? &at->second : nullptr;
}

Result<void> require(const Record& record, std::span<const std::string_view> names) {
  std::string missing;
  for (const std::string_view name : names) {
    if (find(record, name) != nullptr) continue;
    missing.append(missing.empty() ? "'" : ", '").append(name).append("'");
  }
  if (missing.empty()) return {};
  return Error{Errc::invalid, "missing: field " + missing};
}

bool boolean(const Record& record, std::string_view name, bool otherwise) {
  const std::string* held = find(record, name);
  return held != nullptr ? *held != "false" : otherwise;
}

std::string text(const Record& record, std::string_view name) {
  const std::string* held = find(record, name);
  return held != nullptr ? *held : std::string();
}

std::string user(const Record& record, std::string_view name) {
  const std::string* held = find(record, name);
  return held != nullptr && *held != nobody ? *held : std::string();
}

Result<std::optional<std::int64_t>> whole(const Record& record, std::string_view name,
                                          std::int64_t min, std::int64_t max) {
  const std::string* held = find(record, name);
  if (held == nullptr) return std::optional<std::int64_t>{};
  const std::string_view text = base::trim(*held);
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || end != text.data() + text.size() || !std::isfinite(number)) {
    return field_error(name, "expected a number, found " + base::shown(text));
  }
  const auto refuse = [&](std::string_view why, std::int64_t bound) {
    return field_error(name, std::string(text).append(why).append(std::to_string(bound)));
  };
  if (number < static_cast<double>(min)) return refuse(" is under ", min);
  if (number > static_cast<double>(max)) return refuse(" is over ", max);
  if (number != std::floor(number)) {
    return field_error(name, std::string(text).append(" is no whole number"));
  }
  return std::optional<std::int64_t>(static_cast<std::int64_t>(number));
}

std::optional<std::int64_t> time_stamp(const Record& record, std::string_view name) {
  return whole(record, name, 0, max_time).value_or(std::optional<std::int64_t>{});
}

Result<std::vector<std::string>> texts(const Record& record, std::string_view name) {
  const std::string* held = find(record, name);
  if (held == nullptr || held->empty()) return std::vector<std::string>{};
  auto parsed = json::parse(*held);
  if (!parsed) return field_error(name, parsed.error().detail);
  const auto items = parsed->array();
  if (!items) return field_error(name, items.error().detail);
  std::vector<std::string> list;
  for (const json::Value& item : *items) {
    const auto entry = item.text();
    if (!entry) return field_error(name, entry.error().detail);
    list.emplace_back(*entry);
  }
  return list;
}

std::string spelled(bool value) {
  return value ? "true" : "false";
}

std::string spelled(std::span<const std::string> list) {
  std::string text;
  json::Writer writer(text);
  writer.begin_array();
  for (const std::string& entry : list) writer.value(entry);
  writer.end_array();
  return text;
}

}  // namespace proxycore::host::fields
