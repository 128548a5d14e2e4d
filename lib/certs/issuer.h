// Issuer: who gives certificates, as the runner sees it: one CA, or in tests something simpler.
//
// Not here: the protocol (acme.h), when and for whom (runner). Thread: one call at a time.
#pragma once

#include "certs/plan.h"
#include <proxycore/acme.h>
#include <proxycore/cert.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::certs {

// One certificate to be got.
struct Commission {
  const Wanted& wanted;
  std::string key_pem;         // its private key
  std::string order_url = {};  // the order to go on with; empty: none
  std::string replaces = {};   // the chain that it is to follow; empty: none
};

class Issuer {
 public:
  virtual ~Issuer() = default;

  // The chain. Errors: as acme::obtain.
  virtual Result<std::string> obtain(const Commission& commission, acme::Progress& progress,
                                     const Deadline& by) = 0;
  // When it wants to be asked to renew this one. Errors: not_found (it does not say).
  virtual Result<acme::RenewalInfo> proposal(std::string_view chain_pem, const Deadline& by) = 0;
  virtual Result<void> revoke(const CertBundle& bundle, int reason, const Deadline& by) = 0;
  // What it said when it refused last; an empty type: the last call failed otherwise, or did not.
  [[nodiscard]] virtual const acme::Problem& problem() const noexcept = 0;
};

}  // namespace proxycore::certs
