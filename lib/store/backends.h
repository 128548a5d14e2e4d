// What the stores share: their clock, the checks before a write, and how they are made with another
// clock than the machine's (tests do, to let records expire without waiting).
//
// Thread: functions, any.
#pragma once

#include "base/clock.h"
#include "redis/url.h"
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::store {

// Milliseconds since 1970. Wall time, because what expires must do so across processes and
// restarts; a clock that is set back lets a record or a lock live longer, which is why leases carry
// fencing tokens.
using Clock = std::function<std::int64_t()>;

std::unique_ptr<Store> make_memory(Clock clock);
// Errors: as open_sqlite.
Result<std::unique_ptr<Store>> make_sqlite(const std::string& path, Clock clock);
struct RedisOptions {
  Clock clock = base::now_ms;  // records end by the server's clock, not by this one
  Seconds poll{30};            // how often a prefix is told where the server tells nothing
};
std::unique_ptr<Store> make_redis(const redis::Url& url, const RedisOptions& options);

// Errors: invalid, limit: as Store::put.
Result<void> check_write(std::string_view key, const Record& record, Ttl ttl);
// Errors: invalid, limit: as Store::lock.
Result<void> check_lock(std::string_view name, Seconds ttl);
// When something that begins to live now ends, in the clock's milliseconds.
std::int64_t end_of(Seconds ttl, std::int64_t now);
// The first text behind all that start with `prefix`; nullopt: there is none.
std::optional<std::string> behind(std::string_view prefix);

}  // namespace proxycore::store
