// AcmeIssuer: a CA that speaks ACME, with our account there, http-01 and dns-01.
//
// The account's key is made at the first use, sealed, and shared by all runners through the store,
// as are the tokens of http-01, which any proxyd answers. Not here: the protocol (acme/), what is
// asked for and when (runner). Owner: Renewer; one for each thread. Thread: its owner's.
#pragma once

#include "certs/issuer.h"
#include "certs/journal.h"
#include "certs/providers.h"
#include "certs/sealer.h"
#include "client/http_client.h"
#include "dns/registry.h"
#include "dns/resolver.h"
#include <proxycore/acme.h>
#include <proxycore/config.h>
#include <proxycore/store.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::certs {

// The account at a CA, as the store has it.
struct CaAccount {
  std::string url = {};  // empty: the CA has not been asked for one
  std::string key_pem;
};
// Makes its key if there is none. Errors: invalid (sealed with another key), those of the store.
Result<CaAccount> load_ca_account(Store& store, const Sealer& sealer, std::string_view directory,
                                  const Deadline& by);
// Where the CA has it. Errors: not_found (it was erased), those of Store::update.
Result<void> keep_account_url(Store& store, std::string_view directory, const std::string& url,
                              const Deadline& by);

class AcmeIssuer final : public Issuer {
 public:
  struct Parts {
    Config::Acme acme;
    std::string ca_pem = {};                             // of the CA's own server
    std::optional<acme::ExternalAccount> external = {};  // as acme.eab_key_file has it
    std::optional<client::Proxy> proxy = {};             // that the CA and vendors are reached by
    Store& store;
    const Sealer& sealer;
    const dns::Registry& registry;
    Journal& journal;
    // Of the locks on a name and a zone, which are renewed meanwhile: as older software has it.
    Seconds lock_life{30};
  };
  // All that is referred to outlives it.
  explicit AcmeIssuer(Parts parts);

  Result<std::string> obtain(const Commission& commission, Progress& progress,
                             const Deadline& by) override;
  Result<acme::RenewalInfo> proposal(std::string_view ca, std::string_view chain_pem,
                                     const Deadline& by) override;
  Result<void> revoke(std::string_view ca, const CertBundle& bundle, int reason,
                      const Deadline& by) override;
  [[nodiscard]] const acme::Problem& problem() const noexcept override;
  [[nodiscard]] Hurdle hurdle() const noexcept override { return hurdle_; }

 private:
  class Accounted;

  Result<acme::Client*> client(const Deadline& by);

  const Parts parts_;
  client::HttpClient http_;
  dns::Resolver resolver_;
  Providers providers_;
  std::optional<acme::Client> client_;
  const acme::Problem none_ = {};
  Hurdle hurdle_ = Hurdle::ca;
};

}  // namespace proxycore::certs
