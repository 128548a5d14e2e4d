#include "store/backends.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

namespace proxycore {
namespace store {
namespace {

Result<void> check_key(std::string_view what, std::string_view key) {
  if (key.empty()) return Error{Errc::invalid, fmt::format("the {} is empty", what)};
  if (key.size() > Store::max_key) {
    return Error{Errc::limit,
                 fmt::format("the {} has {} bytes, over {}", what, key.size(), Store::max_key)};
  }
  return {};
}

Result<void> check_ttl(Ttl ttl) {
  if (!ttl || *ttl >= Seconds{1}) return {};
  return Error{Errc::invalid, fmt::format("a ttl of {} s is under 1 s", ttl->count())};
}

}  // namespace

Result<void> check_write(std::string_view key, const Record& record, Ttl ttl) {
  PX_CHECK(check_key("key", key));
  PX_CHECK(check_ttl(ttl));
  if (record.empty()) return Error{Errc::invalid, fmt::format("record '{}' has no field", key)};
  std::size_t size = 0;
  for (const auto& [field, value] : record) size += field.size() + value.size();
  if (size > Store::max_record) {
    return Error{Errc::limit,
                 fmt::format("record '{}' has {} bytes, over {}", key, size, Store::max_record)};
  }
  return {};
}

Result<void> check_lock(std::string_view name, Seconds ttl) {
  PX_CHECK(check_key("lock's name", name));
  return check_ttl(ttl);
}

std::int64_t end_of(Seconds ttl, std::int64_t now) {
  constexpr Seconds century = std::chrono::hours{24 * 365 * 100};
  return now + Millis{std::min(ttl, century)}.count();
}

std::optional<std::string> behind(std::string_view prefix) {
  std::string next{prefix};
  while (!next.empty() && static_cast<unsigned char>(next.back()) == 0xFF) next.pop_back();
  if (next.empty()) return std::nullopt;
  next.back() = static_cast<char>(static_cast<unsigned char>(next.back()) + 1);
  return next;
}

}  // namespace store

Result<std::unique_ptr<Store>> open_store(std::string_view url) {
  constexpr std::string_view sqlite = "sqlite:";
  if (url == "memory:") return open_memory();
  if (url.substr(0, sqlite.size()) == sqlite && url.size() > sqlite.size()) {
    return open_sqlite(std::string{url.substr(sqlite.size())});
  }
  if (redis::Url::has_scheme(url)) return open_redis(url);
  // The rest of an unknown url may hold a password.
  const std::string_view scheme = url.substr(0, std::min(url.find(':'), std::size_t{40}));
  return Error{Errc::invalid, fmt::format("store url: expected 'memory:', 'sqlite:PATH' or "
                                          "'redis://host:port/db', found '{}'",
                                          url == sqlite ? url : scheme)};
}

}  // namespace proxycore
