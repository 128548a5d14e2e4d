#include "http/fields.h"

#include "base/assert.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

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

// To compare several characters at once: a name's lower case, and which bits to set in what is
// compared with it (a letter's case, and nothing of a dash).
struct Pattern {
  std::array<char, 24> lower{};
  std::array<char, 24> mask{};
};
constexpr auto patterns = [] {
  std::array<Pattern, names.size()> all{};
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t at = 0; at < names[i].size(); ++at) {
      all[i].lower[at] = base::lower(names[i][at]);
      all[i].mask[at] = names[i][at] == '-' ? '\0' : ' ';
    }
  }
  return all;
}();

// Word by word; the last one overlaps its predecessor. Precondition: size >= sizeof(Word).
template <class Word>
bool matches(const char* name, std::size_t size, const Pattern& pattern) noexcept {
  for (std::size_t at = 0;; at += sizeof(Word)) {
    const bool last = at + sizeof(Word) >= size;
    if (last) at = size - sizeof(Word);
    Word here;
    Word mask;
    Word lower;
    std::memcpy(&here, name + at, sizeof(Word));
    std::memcpy(&mask, pattern.mask.data() + at, sizeof(Word));
    std::memcpy(&lower, pattern.lower.data() + at, sizeof(Word));
    if ((here | mask) != lower) return false;
    if (last) return true;
  }
}

constexpr auto table = [] {
  std::array<FieldId, slots> ids{};
  for (std::size_t i = 1; i < names.size(); ++i) {
    ids[slot_of(names[i], multiplier)] = static_cast<FieldId>(i);
  }
  return ids;
}();

constexpr std::size_t first_bytes = 1024;

// A recycled Fields keeps at most this much memory of an unusual message.
constexpr std::size_t kept_bytes = 64 << 10;
constexpr std::size_t kept_entries = 512;

}  // namespace

FieldId field_id(std::string_view name) noexcept {
  const std::size_t size = name.size();
  if (size < 2) return FieldId::other;
  const FieldId id = table[slot_of(name, multiplier)];
  const auto index = static_cast<std::size_t>(id);
  if (names[index].size() != size) return FieldId::other;
  const Pattern& pattern = patterns[index];
  const bool same = size >= 8   ? matches<std::uint64_t>(name.data(), size, pattern)
                    : size >= 4 ? matches<std::uint32_t>(name.data(), size, pattern)
                                : matches<std::uint16_t>(name.data(), size, pattern);
  return same ? id : FieldId::other;
}

std::string_view field_name(FieldId id) noexcept {
  PX_ASSERT(id != FieldId::other);
  return names[static_cast<std::size_t>(id)];
}

void Fields::add(FieldId id, std::string_view name, std::string_view value) {
  const std::size_t at = used_;
  used_ = at + name.size() + value.size() + around;
  std::string old;
  if (used_ > arena_.size()) {
    // `name` and `value` may lie in the arena (a field copied under another name): it lives until
    // both are in the new one.
    std::string grown(std::max(used_ * 2, first_bytes), '\0');
    std::copy_n(arena_.data(), at, grown.data());
    old = std::exchange(arena_, std::move(grown));
  }
  char* out = arena_.data() + at;
  out = std::copy(name.begin(), name.end(), out);
  *out++ = ':';
  *out++ = ' ';
  out = std::copy(value.begin(), value.end(), out);
  *out++ = '\r';
  *out = '\n';
  entries_.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(name.size()),
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
  present_ &= ~bit(id);
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
  if (arena_.size() > kept_bytes) std::string{}.swap(arena_);
  if (entries_.capacity() > kept_entries) {
    std::vector<Entry>{}.swap(entries_);
  } else {
    entries_.clear();
  }
  used_ = 0;
  live_ = 0;
  present_ = 0;
}

}  // namespace proxycore::http
