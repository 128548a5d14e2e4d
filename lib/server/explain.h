// Explanation: which tier answers for a name, and why: the page /explain?host=NAME.
//
// Asks the tiers one after the other as a request would, but teaches none of them, and adds the
// candidates of the table of hosts. Owned by AdminPages. Thread: the loop of the tiers.
#pragma once

#include "host/route_table.h"
#include "lookup/lookup.h"
#include <proxycore/handler.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace proxycore::server {

class Explanation final : lookup::Waiter {
 public:
  using Tiers = std::span<const std::unique_ptr<lookup::Tier>>;

  // `name` is canonical. `tiers` must outlive it, unless it is done.
  Explanation(std::string name, Tiers tiers, std::shared_ptr<const host::RouteTable> table,
              Responder responder);
  virtual ~Explanation() = default;
  Explanation(const Explanation&) = delete;
  Explanation& operator=(const Explanation&) = delete;

  // Asks the first tier; called once.
  void begin() { go_on(); }
  [[nodiscard]] bool done() const noexcept { return done_; }

 private:
  void go_on();
  // Whether the tiers behind need not be asked.
  bool take(const lookup::Answer& answer);
  void on_answer(lookup::Answer answer) override;
  void respond();

  const std::string name_;
  const Tiers tiers_;
  const std::shared_ptr<const host::RouteTable> table_;
  Responder responder_;
  std::size_t asked_ = 0;
  std::size_t decided_by_;
  std::string rows_;  // JSON, of the tiers asked
  std::shared_ptr<const Route> route_;
  bool done_ = false;
};

// The host asked for in a query ("host=a.example.com&x=y"), percent-decoded; empty: none.
std::string asked_host(std::string_view query);

}  // namespace proxycore::server
