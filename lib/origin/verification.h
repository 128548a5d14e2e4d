// Verification: the authorities that certificates of TLS targets are verified by, and the hosts
// whose targets go without.
//
// Shared by the workers, each of which makes a context of its own of them. Not here: verifying
// (tls/engine). Thread: any.
#pragma once

#include "tls/context.h"
#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/result.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

namespace proxycore::origin {

class Verification {
 public:
  static constexpr std::size_t max_warned = 10'000;  // hosts

  // Those of tls.origin_ca, or the system's. A system without any is warned about: then nothing can
  // be verified, and has null. Errors: those of Authorities::load_file (all name the key).
  static Result<std::shared_ptr<const tls::Authorities>> load(const TlsConfig& config);
  // From now on; null: there are none.
  void use(std::shared_ptr<const tls::Authorities> authorities);
  [[nodiscard]] std::shared_ptr<const tls::Authorities> authorities() const;
  // Says in the log that the targets of this host are not verified: once for each.
  void warn(const Route& route);

 private:
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const tls::Authorities> authorities_;
  std::unordered_set<std::string> warned_;
};

}  // namespace proxycore::origin
