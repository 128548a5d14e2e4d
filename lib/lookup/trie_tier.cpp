#include "lookup/trie_tier.h"

namespace proxycore::lookup {

std::optional<Answer> TrieTier::find(std::string_view host, Waiter& /*later*/) {
  const host::RouteTable* table = routes_.get();
  if (table == nullptr) return unknown();
  const Route* route = table->find(host);
  if (route != nullptr) return routes_.share(*route);
  // Without text: unknown hosts are common, and the reply says all there is to say.
  if (table->complete()) return Error{Errc::not_found};
  return unknown();
}

}  // namespace proxycore::lookup
