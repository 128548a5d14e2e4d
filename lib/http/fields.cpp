#include "http/fields.h"

#include "base/assert.h"
#include "base/text.h"

#include <array>
#include <cstring>

namespace proxycore::http {

namespace {

// In the order of FieldId.
constexpr std::array<std::string_view, 27> names = {
    "",
    "Accept",
    "Authorization",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Date",
    "Expect",
    "Forwarded",
    "Host",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Referer",
    "Server",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "X-Request-Id",
};
static_assert(names[static_cast<std::size_t>(FieldId::x_request_id)] == "X-Request-Id");
static_assert(names[static_cast<std::size_t>(FieldId::host)] == "Host");
static_assert(names[static_cast<std::size_t>(FieldId::upgrade)] == "Upgrade");

// A perfect hash over length, first and last character: one probe, one comparison.
constexpr std::size_t slots = 128;

constexpr std::size_t slot_of(std::string_view name, std::size_t multiplier) noexcept {
  const auto letter = [](char c) { return static_cast<unsigned char>(c) | 0x20U; };
  return ((letter(name.front()) * multiplier + letter(name.back())) * multiplier + name.size()) %
         slots;
}

constexpr bool separates(std::size_t multiplier) noexcept {
  std::array<bool, slots> taken{};
  for (std::size_t i = 1; i < names.size(); ++i) {
    bool& slot = taken[slot_of(names[i], multiplier)];
    if (slot) return false;
    slot = true;
  }
  return true;
}

constexpr std::size_t find_multiplier() noexcept {
  std::size_t multiplier = 1;
  while (!separates(multiplier)) ++multiplier;
  return multiplier;
}
constexpr std::size_t multiplier = find_multiplier();

constexpr auto table = [] {
  std::array<FieldId, slots> ids{};
  for (std::size_t i = 1; i < names.size(); ++i) {
    ids[slot_of(names[i], multiplier)] = static_cast<FieldId>(i);
  }
  return ids;
}();

// A recycled Fields keeps at most this much memory of an unusual message.
constexpr std::size_t kept_bytes = 64 << 10;
constexpr std::size_t kept_entries = 512;

}  // namespace

FieldId field_id(std::string_view name) noexcept {
  if (name.empty()) return FieldId::other;
  const FieldId id = table[slot_of(name, multiplier)];
  return base::same(name, names[static_cast<std::size_t>(id)]) ? id : FieldId::other;
}

std::string_view field_name(FieldId id) noexcept {
  PX_ASSERT(id != FieldId::other);
  return names[static_cast<std::size_t>(id)];
}

void Fields::add(FieldId id, std::string_view name, std::string_view value) {
  const std::size_t at = arena_.size();
  const std::size_t size = at + name.size() + value.size();
  if (size > arena_.capacity()) {
    // `name` and `value` may lie in the arena (a field copied under another name): it stays whole
    // until both are in the new one.
    std::string grown;
    grown.reserve(size * 2);
    grown.append(arena_).append(name).append(value);
    arena_.swap(grown);
  } else {
    arena_.append(name).append(value);
  }
  entries_.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(at + name.size()),
                      static_cast<std::uint32_t>(value.size()), id, false});
  ++live_;
  present_ |= bit(id);
}

std::size_t Fields::remove(FieldId id) noexcept {
  if ((present_ & bit(id)) == 0) return 0;
  std::size_t removed = 0;
  for (Entry& entry : entries_) {
    if (entry.id != id || entry.removed) continue;
    entry.removed = true;
    ++removed;
  }
  live_ -= removed;
  if (id != FieldId::other) present_ &= ~bit(id);
  return removed;
}

std::size_t Fields::remove(std::string_view name) noexcept {
  const FieldId id = field_id(name);
  if (id != FieldId::other) return remove(id);
  std::size_t removed = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.id != id || entry.removed || !base::same(at(i).name, name)) continue;
    entry.removed = true;
    ++removed;
  }
  live_ -= removed;
  return removed;
}

std::optional<std::string_view> Fields::find(FieldId id) const noexcept {
  if ((present_ & bit(id)) == 0) return std::nullopt;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].id == id && !entries_[i].removed) return at(i).value;
  }
  return std::nullopt;
}

std::optional<std::string_view> Fields::find(std::string_view name) const noexcept {
  const FieldId id = field_id(name);
  if (id != FieldId::other) return find(id);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].id != id || entries_[i].removed) continue;
    if (const Field field = at(i); base::same(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::size_t Fields::count(FieldId id) const noexcept {
  if ((present_ & bit(id)) == 0) return 0;
  std::size_t count = 0;
  for (const Entry& entry : entries_) {
    if (entry.id == id && !entry.removed) ++count;
  }
  return count;
}

void Fields::clear() noexcept {
  if (arena_.capacity() > kept_bytes) {
    std::string{}.swap(arena_);
  } else {
    arena_.clear();
  }
  if (entries_.capacity() > kept_entries) {
    std::vector<Entry>{}.swap(entries_);
  } else {
    entries_.clear();
  }
  live_ = 0;
  present_ = 0;
}

void Fields::begin_field() {
  // Counts as removed until it is whole.
  const auto at = static_cast<std::uint32_t>(arena_.size());
  entries_.push_back({at, 0, at, 0, FieldId::other, true});
}

void Fields::extend_name(std::string_view piece) {
  arena_.append(piece);
  entries_.back().name_size += static_cast<std::uint32_t>(piece.size());
}

void Fields::extend_value(std::string_view piece) {
  arena_.append(piece);
  entries_.back().value_size += static_cast<std::uint32_t>(piece.size());
}

void Fields::commit_field() {
  Entry& entry = entries_.back();
  entry.value_at = entry.name_at + entry.name_size;
  const std::string_view value{arena_.data() + entry.value_at, entry.value_size};
  const std::string_view trimmed = base::trim(value);
  entry.value_at += static_cast<std::uint32_t>(trimmed.data() - value.data());
  entry.value_size = static_cast<std::uint32_t>(trimmed.size());
  entry.id = field_id({arena_.data() + entry.name_at, entry.name_size});
  entry.removed = false;
  ++live_;
  present_ |= bit(entry.id);
}

}  // namespace proxycore::http
