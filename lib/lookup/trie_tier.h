// TrieTier: answers from the worker's view of the in-process RouteTable.
//
// Thread: its worker's; tables are delivered by View::set.
#pragma once

#include "base/snapshot.h"
#include "host/route_table.h"
#include "lookup/lookup.h"

namespace proxycore::lookup {

class TrieTier final : public Tier {
 public:
  explicit TrieTier(const base::View<host::RouteTable>& routes) : routes_(routes) {}
  [[nodiscard]] std::string_view name() const noexcept override { return "trie"; }
  std::optional<Answer> find(std::string_view host, Waiter& later) override;

 private:
  const base::View<host::RouteTable>& routes_;
};

}  // namespace proxycore::lookup
