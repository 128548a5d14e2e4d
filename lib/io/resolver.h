// Resolver: host names to addresses, for one loop; answers are cached for their use only.
//
// getaddrinfo(3), so that /etc/hosts and nsswitch.conf are honoured, on a thread per query: a
// server of names that hangs holds up neither other loops nor the end of this one. One query per
// name at a time. A name that failed or was slow last time waits in a lane of its own with one
// query at a time, so that dead names leave room for healthy ones. getaddrinfo tells no TTL:
// answers are used for `ttl`, then refreshed while the old one is served for up to ten times as
// long; failures are remembered for `failure_ttl`.
// Thread: its loop's.
#pragma once

#include "base/list.h"
#include "io/address.h"
#include "io/loop.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace proxycore::io {

using Addresses = Result<std::vector<Address>>;  // never empty; port 0

// getaddrinfo(3), which blocks for as long as it likes. Errors: not_found, busy, io. Thread: any.
Addresses look_up(const std::string& name);

class Resolver {
 public:
  // Unlinks itself when destroyed: that cancels.
  class Waiter : public base::ListNode<> {
   public:
    virtual void on_resolved(const Addresses& answer) = 0;

   protected:
    ~Waiter() = default;
  };
  // Looks `name` up and calls `done` on a later turn of `loop`, once. Tests give their own.
  using Query = std::function<void(Loop& loop, const std::string& name,
                                   base::UniqueFunction<void(Addresses)> done)>;

  static constexpr std::size_t max_names = 10'000;   // the least recently used go
  static constexpr std::size_t normal_queries = 3;   // at the same time
  static constexpr std::size_t suspect_queries = 1;  // of names that failed or were slow
  static constexpr std::int64_t slow = 1'000;        // milliseconds

  Resolver(Loop& loop, Millis ttl, Millis failure_ttl, Query query = system_query());
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver();

  // Now from the cache, or later through `later`; never both. Errors, now or later: not_found, io,
  // busy (the name's server is, or max_names are being looked up).
  std::optional<Addresses> find(std::string_view name, Waiter& later);
  static Query system_query();

 private:
  enum class State { resting, queued, querying };
  struct Name : base::ListNode<> {  // resting: in resting_; queued: in its lane
    std::string name;
    Addresses answer = Error{Errc::busy, "not looked up yet"};
    std::int64_t expires = 0;      // milliseconds of the loop's clock; 0: never answered
    std::int64_t stale_until = 0;  // a good answer is served until then while it is refreshed
    std::int64_t asked = 0;
    State state = State::resting;
    bool suspect = false;
    base::List<Waiter> waiters;
  };
  struct Lane {
    std::size_t at_once;
    std::size_t running = 0;
    base::List<Name> queue = {};
  };
  struct Alive {  // tells answers that come late whether we still exist
    Resolver* resolver;
  };

  Name* entry(std::string_view name);
  void ask(Name& name);
  void run(Lane& lane);
  void rest(Name& name);
  void answered(Name& name, Lane& lane, Addresses answer);
  [[nodiscard]] bool serves_stale(const Name& name) const;

  Loop& loop_;
  const std::int64_t ttl_;
  const std::int64_t failure_ttl_;
  Query query_;
  std::unordered_map<std::string_view, std::unique_ptr<Name>> names_;  // keys view the names
  base::List<Name> resting_;                                           // the last used last
  Lane normal_{normal_queries};
  Lane suspect_{suspect_queries};
  std::shared_ptr<Alive> alive_;
};

}  // namespace proxycore::io
