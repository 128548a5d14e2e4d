#include "certs/cert_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "certs/plan.h"
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
  auto usual = certs::load(store_, certs::Slot::usual, name, by);
  if (!usual && usual.error().code != Errc::not_found) return std::move(usual).error();
  auto rsa = certs::load(store_, certs::Slot::rsa, name, by);
  std::vector<CertBundle> bundles;
  for (auto* one : {&usual, &rsa}) {
    if (one->has_value()) {
      bundles.push_back({std::move((*one)->fullchain_pem), std::move((*one)->privkey_pem)});
    }
  }
  if (!bundles.empty()) return bundles;
  return std::move(usual).error();
}

Result<void> CertStore::put(std::string_view name, const CertBundle& bundle, const Deadline& by) {
  PX_TRY(const auto kept, certs::gated(name, bundle, base::now_s()));
  return store::save(store_, kept, by);
}

Result<bool> CertStore::erase(std::string_view name, const Deadline& by) {
  PX_TRY(const std::string kept, kept_name(name));
  PX_TRY(const bool usual, certs::erase(store_, certs::Slot::usual, kept, by));
  PX_TRY(const bool rsa, certs::erase(store_, certs::Slot::rsa, kept, by));
  return usual || rsa;
}

namespace certs {

namespace {

std::string place_of(Slot slot, std::string_view name) {
  return slot == Slot::rsa ? host::keys::rsa_certificate(name) : host::keys::certificate(name);
}

}  // namespace

std::string previous_of(Slot slot, std::string_view name) {
  return host::keys::previous(slot == Slot::rsa ? std::string(Wanted::rsa_mark).append(name)
                                                : std::string(name));
}

Result<store::Certificate> load(Store& store, Slot slot, std::string_view name,
                                const Deadline& by) {
  if (slot == Slot::usual) return store::load<store::Certificate>(store, name, by);
  PX_TRY(const Record record, store.get(place_of(slot, name), by));
  return store::from<store::Certificate>(host::keys::certificate(name), record);
}

Result<void> save(Store& store, Slot slot, const store::Certificate& next, const Deadline& by) {
  if (slot == Slot::usual) return store::save(store, next, by);
  return store.put(place_of(slot, next.name), store::record_of(next), {}, by);
}

Result<bool> erase(Store& store, Slot slot, std::string_view name, const Deadline& by) {
  if (slot == Slot::usual) return store::remove<store::Certificate>(store, name, by);
  return store.erase(place_of(slot, name), by);
}

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

Result<void> replace(Store& store, Slot slot, const store::Certificate& next, std::int64_t now,
                     const Deadline& by) {
  // What a record says is independent of where it is.
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
  PX_CHECK(store.update(place_of(slot, next.name), change, Life::for_ever, by));
  const auto was = store::from<store::Certificate>(key, before);
  if (!was) return {};
  // For whoever finds the new one wanting: until it ends.
  const auto certificate = tls::Certificate::load({was->fullchain_pem, was->privkey_pem});
  if (!certificate || (*certificate)->not_after() <= now) return {};
  const auto kept = store.put(previous_of(slot, next.name), before,
                              Seconds{(*certificate)->not_after() - now}, by);
  if (!kept) {
    base::log::warning("certificate.previous",
                       {{"name", next.name}, {"why", kept.error().message()}});
  }
  return {};
}

}  // namespace certs

}  // namespace proxycore
