// Lookup: from a host name to a Route, through ordered tiers; what requests ask.
//
// The first tier that knows decides, and those before it are taught. Many requests for one name at
// a time ask once. When nobody knows and some tier failed, an answer of before is better than none.
// A tier answers now, or later through the Waiter; never both.
// Not here: the tiers themselves, one file each; which there are and in which order is the
// configuration's. Owned by a Worker. Thread: its worker's; TierCounters are read by any.
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "io/loop.h"
#include <proxycore/host.h>
#include <proxycore/host_trie.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace proxycore::lookup {

// From a tier: a route; null: it does not know; not_found: there is no such host, nobody else need
// be asked; any other error: it failed. From Lookup: never null.
using Answer = Result<std::shared_ptr<const Route>>;
inline Answer unknown() {
  return std::shared_ptr<const Route>();
}

// Names come from clients: seeded, so that nobody can choose some that collide.
struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const noexcept {
    return detail::hash(name, detail::process_seed());
  }
};

// Destroying it cancels.
class Waiter : public base::ListNode<> {
 public:
  virtual void on_answer(Answer answer) = 0;

 protected:
  ~Waiter() = default;
};

class Tier {
 public:
  virtual ~Tier() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;  // metric label
  // Whether it asks somebody else, so that answers come later.
  [[nodiscard]] virtual bool remote() const noexcept { return false; }
  // `host` is canonical (HostName::normalize) and lives for the call.
  virtual std::optional<Answer> find(std::string_view host, Waiter& later) = 0;
  // What a later tier answered: a route, or not_found.
  virtual void learn(std::string_view /*host*/, const Answer& /*answer*/) {}
  // An answer of before that may have changed since, or null.
  [[nodiscard]] virtual std::shared_ptr<const Route> last_known(std::string_view /*host*/) {
    return nullptr;
  }
  // Hosts of these canonical names or patterns have changed, come or gone.
  virtual void forget(std::span<const std::string> /*patterns*/) {}
  // Any may have.
  virtual void forget_all() {}
};

struct TierCounters {
  std::string name;         // set before the worker starts
  bool remote = false;      // likewise
  base::Counter hits;       // it decided, be it that there is no such host
  base::Counter misses;     // it did not know
  base::Counter failures;   // it could not tell
  base::Histogram latency;  // of remote tiers
};

struct LookupCounters {
  explicit LookupCounters(std::size_t count) : tiers(count) {}
  std::vector<TierCounters> tiers;  // in their order
  base::Counter last_known;         // answers of before, as nobody could tell
};

class Lookup {
 public:
  // Names that are being looked up at the same time.
  static constexpr std::size_t max_flights = 2'048;

  // At least one tier; `counters` has one of each.
  Lookup(io::Loop& loop, std::vector<std::unique_ptr<Tier>> tiers, LookupCounters& counters);
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup();

  // Errors, now or later: not_found (no such host), else those of the first tier that failed; busy
  // (max_flights).
  std::optional<Answer> find(std::string_view host, Waiter& later);
  // As Tier's. What is being looked up now is not taught, and who asks from now on asks anew.
  void forget(std::span<const std::string> patterns);
  void forget_all();
  [[nodiscard]] std::span<const std::unique_ptr<Tier>> tiers() const noexcept { return tiers_; }

 private:
  struct FlightTag;
  // A name on its way through the tiers, and who waits for it.
  struct Flight final : Waiter, base::ListNode<FlightTag> {
    explicit Flight(Lookup& owner) : lookup(owner) {}
    virtual ~Flight() = default;
    void on_answer(Answer answer) override { lookup.answered(*this, std::move(answer)); }

    Lookup& lookup;
    std::string name;             // empty until it has to wait
    std::size_t tier = 0;         // asked now
    std::int64_t asked = 0;       // nanoseconds; when it was
    std::optional<Error> failed;  // the first tier that did
    bool outdated = false;        // forgotten since it began: its answer is not taught
    base::List<Waiter> waiters;
  };

  Flight& take_flight();
  void give_back(Flight& flight);
  std::optional<Answer> go_on(Flight& flight, std::string_view host);
  std::optional<Answer> weigh(Flight& flight, std::string_view host, Answer answer);
  Answer give_up(const Flight& flight, std::string_view host);
  void teach(const Flight& flight, std::string_view host, const Answer& answer);
  void answered(Flight& flight, Answer answer);
  void outdate(Flight& flight);

  io::Loop& loop_;
  std::vector<std::unique_ptr<Tier>> tiers_;
  LookupCounters& counters_;
  std::vector<std::unique_ptr<Flight>> all_;  // flights
  base::List<Flight, FlightTag> free_;
  std::unordered_map<std::string_view, Flight*, NameHash> by_name_;  // keys view the flights' names
  std::size_t flying_ = 0;  // those that wait, outdated ones included
};

// Which names a change of hosts is about.
class Patterns {
 public:
  // Canonical (HostName::canonical_pattern); the texts must live as long.
  explicit Patterns(std::span<const std::string> patterns);
  // Those without wildcards.
  [[nodiscard]] std::span<const std::string_view> names() const noexcept { return names_; }
  // Whether there are others, so that every name has to be looked at.
  [[nodiscard]] bool wild() const noexcept { return wild_.size() != 0; }
  // Of those with wildcards: whether one matches `name`, or is `pattern`.
  [[nodiscard]] bool match(std::string_view name) const noexcept { return wild_.match(name); }
  [[nodiscard]] bool has(std::string_view pattern) const noexcept { return wild_.at(pattern); }

 private:
  std::vector<std::string_view> names_;
  HostTrie<char> wild_;
};

}  // namespace proxycore::lookup
