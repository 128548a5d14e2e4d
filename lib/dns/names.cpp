#include "dns/names.h"

#include "dns/message.h"

#include <optional>

namespace proxycore::dns {

namespace {

// What quoted strings hold, joined; nullopt: these are none.
std::optional<std::string> unquoted(std::string_view text) {
  if (text.empty() || text.front() != '"') return std::nullopt;
  std::string value;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      inside = !inside;
    } else if (inside && text[i] == '\\' && i + 1 < text.size()) {
      value += text[++i];
    } else if (inside) {
      value += text[i];
    } else if (text[i] != ' ') {
      return std::nullopt;
    }
  }
  if (inside) return std::nullopt;
  return value;
}

}  // namespace

const Zone* zone_for(std::span<const Zone> zones, std::string_view name) noexcept {
  const Zone* longest = nullptr;
  for (const Zone& zone : zones) {
    if (zone.name.empty() || !is_within(name, zone.name)) continue;
    if (longest == nullptr || zone.name.size() > longest->name.size()) longest = &zone;
  }
  return longest;
}

std::string relative_name(std::string_view zone, std::string_view name) {
  if (name.size() <= zone.size()) return std::string{apex};
  return std::string{name.substr(0, name.size() - zone.size() - 1)};
}

std::string whole_name(std::string_view zone, std::string_view relative) {
  if (relative == apex) return std::string{zone};
  std::string name{relative};
  return name.append(1, '.').append(zone);
}

std::string quoted(std::string_view value) {
  std::string text{'"'};
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  text += '"';
  return text;
}

bool is_value(std::string_view text, std::string_view value) {
  return text == value || unquoted(text) == value;
}

}  // namespace proxycore::dns
