// Resolver: host names to addresses, for one loop; answers are cached for their use only.
//
// getaddrinfo(3) on libuv's thread pool, so that /etc/hosts and nsswitch.conf are honoured. One
// query per name at a time. A name that failed or was slow last time waits in a lane of its own
// with one query at a time, so that dead names cannot occupy the pool that healthy ones need.
// getaddrinfo tells no TTL: answers are used for `ttl`, then refreshed while the old one is served
// for up to ten times as long; failures are remembered for `failure_ttl`.
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

  static constexpr std::size_t max_names = 10'000;   // cached; the least recently used go
  static constexpr std::size_t normal_queries = 3;   // at the same time
  static constexpr std::size_t suspect_queries = 1;  // of names that failed or were slow
  static constexpr std::int64_t slow = 1'000;        // milliseconds

  Resolver(Loop& loop, Millis ttl, Millis failure_ttl, Query query = system_query());
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver();

  // Now from the cache, or later through `later`; never both.
  std::optional<Addresses> find(std::string_view name, Waiter& later);
  static Query system_query();

 private:
  struct Name {
    std::string name;
    Addresses answer = Error{Errc::busy, "not looked up yet"};
    std::int64_t expires = 0;      // milliseconds of the loop's clock; 0: never answered
    std::int64_t stale_until = 0;  // a good answer is served until then while it is refreshed
    std::int64_t used = 0;
    std::int64_t asked = 0;
    bool querying = false;
    bool queued = false;
    bool suspect = false;
    base::List<Waiter> waiters;
  };
  struct Lane {
    std::vector<std::string> queue;
    std::size_t running = 0;
  };
  struct Alive {  // tells answers that come late whether we still exist
    Resolver* resolver;
  };

  void ask(Name& name);
  void run(Lane& lane, std::size_t at_once);
  void answered(const std::string& name, bool was_suspect, Addresses answer);
  void evict();

  Loop& loop_;
  const std::int64_t ttl_;
  const std::int64_t failure_ttl_;
  Query query_;
  std::unordered_map<std::string, std::unique_ptr<Name>> names_;
  Lane normal_;
  Lane suspect_;
  std::shared_ptr<Alive> alive_;
};

}  // namespace proxycore::io
