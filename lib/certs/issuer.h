// Issuer: who gives certificates, as the runner sees it: a CA, several of them, or in tests
// something simpler.
//
// Not here: the protocol (acme.h), which CA is asked (issuers), when and for whom (runner).
// Thread: one call at a time.
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

// One certificate to be got. CAs are named by the host of their directory.
struct Commission {
  const Wanted& wanted;
  std::string key_pem;         // its private key
  std::string order_url = {};  // the order to go on with; empty: none
  std::string order_ca = {};   // whose order that is; empty: not known
  bool is_renewal = false;     // there is one for these names
  std::string ca = {};         // who gave that; empty: not known
  std::string replaces = {};   // its chain, to be told to a CA that proposes renewals; empty: not
  bool rehearse = false;       // a staging CA has to give one first
};

class Progress : public acme::Progress {
 public:
  // From now on that CA is asked.
  virtual void on_ca(std::string_view /*ca*/) {}
  // A staging CA gave one, which nobody needs.
  virtual void on_rehearsed(std::string_view /*ca*/) {}
};

// What was in the way of a certificate.
enum class Hurdle : std::uint8_t {
  ca,      // what the CA said, or did not come to say
  ours,    // something that has to be kept could not be: no one else is to blame
  limits,  // those of the CA, which was not asked: retry_after_s has how long
};

class Issuer {
 public:
  virtual ~Issuer() = default;

  // The chain. Errors: as acme::obtain; busy with Hurdle::limits.
  virtual Result<std::string> obtain(const Commission& commission, Progress& progress,
                                     const Deadline& by) = 0;
  // When `ca` wants to be asked to renew this one, which it gave. Errors: not_found (it does not
  // say; there is no such CA).
  virtual Result<acme::RenewalInfo> proposal(std::string_view ca, std::string_view chain_pem,
                                             const Deadline& by) = 0;
  virtual Result<void> revoke(std::string_view ca, const CertBundle& bundle, int reason,
                              const Deadline& by) = 0;
  // What it said when it refused last; an empty type: the last call failed otherwise, or did not.
  [[nodiscard]] virtual const acme::Problem& problem() const noexcept = 0;
  // Why the last obtain() failed.
  [[nodiscard]] virtual Hurdle hurdle() const noexcept { return Hurdle::ca; }
};

}  // namespace proxycore::certs
