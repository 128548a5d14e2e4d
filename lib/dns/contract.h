// What every dns::Provider promises, as one set of claims that are tried on a living one.
//
// Tests run it on all that are built in; `proxy-renew dns-plugin test` on somebody's plugin. It
// adds records under names of its own in one zone, and removes all of them again. Thread: the
// caller's; blocks.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/dns_provider.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

class Resolver;

// All values that a whole name has; busy: that cannot be told yet. not_found: none.
using Values =
    std::function<Result<std::vector<std::string>>(std::string_view name, const Deadline& by)>;

// What all servers of the name's zone say; busy while they differ. The resolver outlives it.
Values values_by(Resolver& resolver);

struct ContractOptions {
  std::string zone;  // where the records go
  // Asked without the provider's help, until it is as it should be, at most info().propagation.
  Values values;
};

struct Finding {
  std::string claim;  // "a second value stands beside the first"
  bool holds = false;
  std::string why = {};  // what was seen instead
};

// In the order they were tried; a provider without credentials or zone has few. The caller is told
// each as soon as it is known.
std::vector<Finding> try_contract(Provider& provider, const ContractOptions& options,
                                  const std::function<void(const Finding&)>& told,
                                  const Deadline& by);

}  // namespace proxycore::dns
