// Schedule: names, and when each is due. The earliest comes first.
//
// A name that was taken is out of it until it is set again. Not here: what is done then (runner).
// Thread: its owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace proxycore::certs {

class Schedule {
 public:
  // In place of when it was due before. Milliseconds since 1970.
  void set(std::string_view name, std::int64_t at_ms);
  void erase(std::string_view name);
  // The earliest name that is due at `now_ms`; it is in here no more.
  std::optional<std::string> take(std::int64_t now_ms);
  [[nodiscard]] std::optional<std::int64_t> next_ms() const;
  [[nodiscard]] std::size_t size() const noexcept { return times_.size(); }

 private:
  std::map<std::string, std::int64_t, std::less<>> times_;
  std::set<std::pair<std::int64_t, std::string>> order_;
};

}  // namespace proxycore::certs
