#include "origin/verification.h"

#include "base/log.h"

#include <utility>

namespace proxycore::origin {

namespace log = base::log;

Result<std::shared_ptr<const tls::Authorities>> Verification::load(const TlsConfig& config) {
  auto loaded = config.origin_ca.empty() ? tls::Authorities::system()
                                         : tls::Authorities::load_file(config.origin_ca);
  if (loaded) return loaded;
  if (!config.origin_ca.empty()) return std::move(loaded).error().within("tls.origin_ca");
  log::warning("target.authorities", {{"why", loaded.error().message()},
                                      {"effect", "no certificate of a TLS target can be verified"},
                                      {"remedy", "install the system's, or set tls.origin_ca"}});
  return std::shared_ptr<const tls::Authorities>();
}

void Verification::use(std::shared_ptr<const tls::Authorities> authorities) {
  const std::lock_guard lock(mutex_);
  authorities_ = std::move(authorities);
}

std::shared_ptr<const tls::Authorities> Verification::authorities() const {
  const std::lock_guard lock(mutex_);
  return authorities_;
}

void Verification::warn(const Route& route) {
  {
    const std::lock_guard lock(mutex_);
    if (warned_.size() >= max_warned || !warned_.insert(route.pattern).second) return;
  }
  const bool chosen = route.tls->verify == TargetVerify::no;
  log::warning("target.insecure",
               {{"host", route.pattern},
                {"target", route.targets.front().text()},
                {"why", chosen ? "targetVerify is false"
                               : "the record has no targetVerify: one of older software"},
                {"effect",
                 "certificates are not verified: whoever is in between can read and "
                 "change what passes"}});
}

}  // namespace proxycore::origin
