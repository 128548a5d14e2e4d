#include "lookup/trie_tier.h"

namespace proxycore::lookup {

std::optional<Answer> TrieTier::find(std::string_view host, Waiter& /*later*/) {
  const host::RouteTable* table = routes_.get();
  const Route* route = table != nullptr ? table->find(host) : nullptr;
  if (route != nullptr) return routes_.share(*route);
  // Without text: unknown hosts are common, and the reply says all there is to say.
  if (table != nullptr && table->complete()) return Error{Errc::not_found};
  if (holds_ == Holds::some) return unknown();
  return Error{Errc::busy, "not all hosts are known now"};
}

}  // namespace proxycore::lookup
