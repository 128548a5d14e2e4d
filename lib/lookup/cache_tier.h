// CacheTier: what later tiers answered lately, also that there is no such host. Bounded.
//
// Names that were used once make room before those used again, so that a flood of names that come
// once (under a wildcard, say) does not push out the busy ones. What is too old, or may have
// changed, is no answer any more, but the best there is when nobody else can tell: last_known().
// Thread: its worker's.
#pragma once

#include "base/list.h"
#include "io/loop.h"
#include "lookup/lookup.h"
#include <proxycore/deadline.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace proxycore::lookup {

class CacheTier final : public Tier {
 public:
  struct Limits {
    std::size_t entries;  // at least 1
    Millis ttl;           // of routes
    Millis negative_ttl;  // of "no such host"
  };

  CacheTier(io::Loop& loop, const Limits& limits) : loop_(loop), limits_(limits) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "cache"; }
  std::optional<Answer> find(std::string_view host, Waiter& later) override;
  void learn(std::string_view host, const Answer& answer) override;
  [[nodiscard]] std::shared_ptr<const Route> last_known(std::string_view host) override;
  // Names that a pattern matches, and those it had answered.
  void forget(std::span<const std::string> patterns) override;
  void forget_all() override { ++epoch_; }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry : base::ListNode<> {  // in again_ or once_
    std::string name;
    std::shared_ptr<const Route> route;  // null: no such host
    std::int64_t expires = 0;            // milliseconds of the loop's clock
    std::uint64_t epoch = 0;
    bool again = false;
  };

  void use(Entry& entry);
  Entry& add(std::string_view host);

  io::Loop& loop_;
  const Limits limits_;
  // Keys view the names.
  std::unordered_map<std::string_view, std::unique_ptr<Entry>, NameHash> entries_;
  base::List<Entry> again_;  // used more than once; the last used first, as in once_
  base::List<Entry> once_;
  std::size_t again_count_ = 0;
  std::uint64_t epoch_ = 0;  // answers of another one are forgotten
};

}  // namespace proxycore::lookup
