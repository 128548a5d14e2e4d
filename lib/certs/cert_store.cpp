#include "certs/cert_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/keys.h"
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
  PX_TRY(const auto kept, certs::gated(name, bundle, base::now_s()));
  return store::save(store_, kept, by);
}

Result<bool> CertStore::erase(std::string_view name, const Deadline& by) {
  PX_TRY(const std::string kept, kept_name(name));
  return store::remove<store::Certificate>(store_, kept, by);
}

namespace certs {

Result<store::Certificate> gated(std::string_view name, const CertBundle& bundle,
                                 std::int64_t now) {
  store::Certificate kept;
  PX_TRY(kept.name, kept_name(name));
  PX_TRY(const auto certificate, tls::Certificate::load(bundle));
  PX_CHECK(tls::gate(certificate, kept.name, now));
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
  return kept;
}

Result<void> replace(Store& store, const store::Certificate& next, std::int64_t now,
                     const Deadline& by) {
  const std::string key = host::keys::certificate(next.name);
  Record before;
  const auto change = [&](const Record& present) -> Result<Record> {
    before = present;
    const auto was = store::from<store::Certificate>(key, present);
    if (was && was->fence && next.fence && *was->fence > *next.fence) {
      return Error{Errc::conflict, next.name + ": another runner got one meanwhile"};
    }
    return store::record_of(next);
  };
  PX_CHECK(store.update(key, change, Life::for_ever, by));
  const auto was = store::from<store::Certificate>(key, before);
  if (!was) return {};
  // For whoever finds the new one wanting: until it ends.
  const auto certificate = tls::Certificate::load({was->fullchain_pem, was->privkey_pem});
  if (!certificate || (*certificate)->not_after() <= now) return {};
  const auto kept = store.put(host::keys::previous(next.name), before,
                              Seconds{(*certificate)->not_after() - now}, by);
  if (!kept) {
    base::log::warning("certificate.previous",
                       {{"name", next.name}, {"why", kept.error().message()}});
  }
  return {};
}

}  // namespace certs

}  // namespace proxycore
