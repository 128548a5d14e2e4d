// What every DNS provider promises (lib/dns/contract), as checks of a test.
#pragma once

#include "dns/contract.h"

#include <string>

#include <doctest/doctest.h>

namespace proxycore::test {

// Every claim holds, and there were as many as there should be.
inline void check_provider_contract(dns::Provider& provider, const dns::ContractOptions& options) {
  const auto findings = dns::try_contract(provider, options, {}, Deadline::in(Millis{60'000}));
  for (const dns::Finding& finding : findings) {
    INFO(finding.claim, ": ", finding.why);
    CHECK(finding.holds);
  }
  CHECK(findings.size() >= 15);
}

}  // namespace proxycore::test
