// TrieTier: answers from the worker's view of the in-process RouteTable.
//
// A table that has every host decides that others do not exist. One that is to have them all but
// lacks some now cannot tell; one of the configuration file's hosts alone does not know.
// Thread: its worker's; tables are delivered by View::set.
#pragma once

#include "base/snapshot.h"
#include "host/route_table.h"
#include "lookup/lookup.h"

#include <string>
#include <string_view>
#include <utility>

namespace proxycore::lookup {

class TrieTier final : public Tier {
 public:
  enum class Holds { all, some };

  // `name`: what the configuration calls it ("trie", "replica").
  TrieTier(std::string name, const base::View<host::RouteTable>& routes, Holds holds = Holds::all)
      : name_(std::move(name)), routes_(routes), holds_(holds) {}
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  std::optional<Answer> find(std::string_view host, Waiter& later) override;

 private:
  const std::string name_;
  const base::View<host::RouteTable>& routes_;
  const Holds holds_;
};

}  // namespace proxycore::lookup
