#include "origin/verification.h"

#include "base/log.h"

#include <utility>

namespace proxycore::origin {

namespace log = base::log;

Result<void> Verification::load(const TlsConfig& config) {
  auto loaded = config.origin_ca.empty() ? tls::Authorities::system()
                                         : tls::Authorities::load_file(config.origin_ca);
  if (loaded) {
    authorities_ = *std::move(loaded);
    return {};
  }
  if (!config.origin_ca.empty()) return std::move(loaded).error().within("tls.origin_ca");
  log::warning("target.authorities", {{"why", loaded.error().message()},
                                      {"effect", "no certificate of a TLS target can be verified"},
                                      {"remedy", "install the system's, or set tls.origin_ca"}});
  return {};
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
