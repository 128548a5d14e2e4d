// Sessions: log-ins as they stand in the store, and the tokens that stand for them.
//
// A token is 128 random bits in the form of a UUID; the store has its SHA-256 alone, under
// proxy_AuthToken_, for as long as the session lasts. Rows of older software have the token itself
// as their key and no end; they are accepted while that is configured. Reads come from memory for
// ten seconds; a watch on the store drops what changed, so that a log-out counts at once here and
// in every other process. Not here: whether the user still exists (accounts.h).
// Owner: Accounts. Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace proxycore::auth {

struct Session {
  std::string id;  // of the record: the token's digest
  std::string user;
  std::int64_t ends_ms = 0;  // since 1970; 0: never, as those of older software
};

// What the pages send with unsafe methods besides the cookie; made of the token, so that whoever
// cannot read that cannot make it.
std::string csrf_of(std::string_view token);

class Sessions {
 public:
  using Clock = std::function<std::int64_t()>;  // milliseconds since 1970

  static constexpr Millis fresh{10'000};            // for how long memory is believed
  static constexpr std::size_t max_known = 10'000;  // in memory

  // The store outlives it; ttl: at least a second.
  Sessions(Store& store, Millis ttl, bool legacy, Clock now_ms);

  // A new session; returns the token, which is nowhere else. Errors: those of Store::create.
  Result<std::string> begin(std::string_view user, const Deadline& by);
  // Errors: denied (no such session, or it is over), those of Store::get.
  Result<Session> resolve(std::string_view token, const Deadline& by);
  // false: there was none.
  Result<bool> end(std::string_view token, const Deadline& by);
  // All of that user but the one with the id `keep`; how many there were.
  Result<std::size_t> end_all(std::string_view user, std::string_view keep, const Deadline& by);

 private:
  struct Known {
    Session session;
    Deadline::Clock::time_point read_at;
  };

  void forget(std::string_view id);
  void forget_all();

  Store& store_;
  const Seconds ttl_;
  const bool legacy_;
  const Clock now_ms_;
  std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;  // by the token's digest
  std::uint64_t changes_ = 0;                     // what was read before the last one is not kept
  std::unique_ptr<Watch> watch_;                  // last: it ends first
};

}  // namespace proxycore::auth
