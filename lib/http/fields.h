// Fields: the header or trailer fields of one message, in order, in one arena.
//
// Names keep their case as received; comparison ignores ASCII case. Names that the proxy acts on
// are interned as FieldId when a field is added, so that later look-ups compare one byte. A field
// lies in the arena as the line that HTTP/1 writes, so that writing it is one copy. Clearing keeps
// the memory, so a recycled Fields allocates nothing.
// Source: RFC 9110 §5. Not here: what may be in a name or value (framing.h). Thread: its owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::http {

enum class FieldId : std::uint8_t {
  other,
  accept,
  authorization,
  connection,
  content_length,
  content_type,
  date,
  expect,
  forwarded,
  host,
  keep_alive,
  proxy_authenticate,
  proxy_authorization,
  proxy_connection,
  referer,
  server,
  te,
  trailer,
  transfer_encoding,
  upgrade,
  user_agent,
  via,
  x_forwarded_for,
  x_forwarded_host,
  x_forwarded_proto,
  x_real_ip,
  x_request_id,
};

// The id of a name, ASCII case-insensitively; `other` when it is not one of the above.
FieldId field_id(std::string_view name) noexcept;
// The canonical spelling: "Content-Length". Precondition: id != other.
std::string_view field_name(FieldId id) noexcept;

class Fields {
 public:
  struct Field {
    FieldId id;
    std::string_view name;
    std::string_view value;
  };

  void add(std::string_view name, std::string_view value) { add(field_id(name), name, value); }
  void add(FieldId id, std::string_view value) { add(id, field_name(id), value); }
  // Replaces every field of that id by one.
  void set(FieldId id, std::string_view value) {
    remove(id);
    add(id, value);
  }
  // Returns how many there were.
  std::size_t remove(FieldId id) noexcept;
  std::size_t remove(std::string_view name) noexcept;

  // The first one's value.
  [[nodiscard]] std::optional<std::string_view> find(FieldId id) const noexcept;
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
  // Precondition: id != other.
  [[nodiscard]] bool has(FieldId id) const noexcept { return (present_ & bit(id)) != 0; }
  [[nodiscard]] std::size_t count(FieldId id) const noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return live_; }
  [[nodiscard]] bool empty() const noexcept { return live_ == 0; }
  // Bytes of all lines ever added since clear(): at least what line() gives for all fields.
  [[nodiscard]] std::size_t bytes() const noexcept { return used_; }
  // Forgets the fields, keeps the memory, up to a bound.
  void clear() noexcept;

  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Field;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Field;

    Iterator() = default;
    Field operator*() const noexcept { return fields_->at(at_); }
    Iterator& operator++() noexcept {
      ++at_;
      skip();
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.at_ == b.at_; }

   private:
    friend class Fields;
    Iterator(const Fields* fields, std::size_t at) : fields_(fields), at_(at) { skip(); }
    void skip() noexcept {
      while (at_ < fields_->entries_.size() && fields_->entries_[at_].removed) ++at_;
    }
    const Fields* fields_ = nullptr;
    std::size_t at_ = 0;
  };
  // Iterators and views are good until the next add, set or clear.
  [[nodiscard]] Iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] Iterator end() const noexcept { return {this, entries_.size()}; }

  friend void swap(Fields& a, Fields& b) noexcept {
    a.arena_.swap(b.arena_);
    a.entries_.swap(b.entries_);
    std::swap(a.used_, b.used_);
    std::swap(a.live_, b.live_);
    std::swap(a.present_, b.present_);
  }

  // A field that an iterator gave, as HTTP/1 writes it: "Name: value\r\n". That is how it lies
  // here.
  [[nodiscard]] static std::string_view line(const Field& field) noexcept {
    return {field.name.data(), field.name.size() + field.value.size() + around};
  }

 private:
  static constexpr std::size_t colon = 2;   // ": "
  static constexpr std::size_t around = 4;  // ": " and CRLF

  struct Entry {
    std::uint32_t at;  // of the line, in the arena
    std::uint32_t name_size;
    std::uint32_t value_size;
    FieldId id;
    bool removed;
  };

  void add(FieldId id, std::string_view name, std::string_view value);
  static constexpr std::uint32_t bit(FieldId id) noexcept {
    return std::uint32_t{1} << static_cast<unsigned>(id);
  }
  [[nodiscard]] Field at(std::size_t index) const noexcept {
    const Entry& entry = entries_[index];
    const char* line = arena_.data() + entry.at;
    return {entry.id, {line, entry.name_size}, {line + entry.name_size + colon, entry.value_size}};
  }

  std::string arena_;  // as memory: `used_` bytes of it count
  std::vector<Entry> entries_;
  std::size_t used_ = 0;
  std::size_t live_ = 0;
  std::uint32_t present_ = 0;  // a bit per id that is there: most look-ups end here
};

}  // namespace proxycore::http
