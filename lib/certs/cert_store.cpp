#include "base/clock.h"
#include "store/repo.h"
#include "tls/cert.h"
#include <proxycore/cert.h>
#include <proxycore/host.h>

#include <utility>

namespace proxycore {

namespace {

// The canonical form of a name that certificates are kept under.
Result<std::string> kept_name(std::string_view name) {
  PX_TRY(std::string canonical, HostName::canonical_pattern(name));
  const std::size_t star = canonical.find('*');
  const bool wildcard = canonical.starts_with("*.") && canonical.find('*', 1) == std::string::npos;
  if (star != std::string::npos && !wildcard) {
    return Error{Errc::invalid,
                 "a certificate is kept for a name or '*.' and a name, not " + canonical};
  }
  return canonical;
}

// The first certificate of a chain alone.
std::string first_of(const std::string& chain_pem) {
  constexpr std::string_view end = "-----END CERTIFICATE-----";
  const std::size_t at = chain_pem.find(end);
  return at == std::string::npos ? chain_pem : chain_pem.substr(0, at + end.size());
}

}  // namespace

Result<std::vector<CertBundle>> CertStore::find(std::string_view name, const Deadline& by) {
  PX_TRY(auto kept, store::load<store::Certificate>(store_, name, by));
  return std::vector<CertBundle>{{std::move(kept.fullchain_pem), std::move(kept.privkey_pem)}};
}

Result<void> CertStore::put(std::string_view name, const CertBundle& bundle, const Deadline& by) {
  store::Certificate kept;
  PX_TRY(kept.name, kept_name(name));
  PX_TRY(const auto certificate, tls::Certificate::load(bundle));
  PX_CHECK(tls::gate(certificate, kept.name, base::now_s()));
  kept.fullchain_pem = bundle.chain_pem;
  kept.privkey_pem = bundle.key_pem;
  kept.cert_pem = first_of(bundle.chain_pem);
  if (kept.name.starts_with("*.")) {
    // The seed's HTTP-01 job must not touch what it cannot renew.
    kept.expiry = store::Certificate::dns01_expiry;
    kept.real_expiry = certificate->not_after();
  } else {
    kept.expiry = certificate->not_after();
  }
  return store::save(store_, kept, by);
}

Result<bool> CertStore::erase(std::string_view name, const Deadline& by) {
  PX_TRY(const std::string kept, kept_name(name));
  return store::remove<store::Certificate>(store_, kept, by);
}

}  // namespace proxycore
