// Verification: the authorities that certificates of TLS targets are verified by, and the hosts
// whose targets go without.
//
// Loaded once, before the workers start, and shared by them. Not here: verifying (tls/engine).
// Thread: load() before the others; warn() any.
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
  // be verified. Errors: not_found, io, invalid (all name the key).
  Result<void> load(const TlsConfig& config);
  // Null: there are none.
  [[nodiscard]] const std::shared_ptr<const tls::Authorities>& authorities() const noexcept {
    return authorities_;
  }
  // Says in the log that the targets of this host are not verified: once for each.
  void warn(const Route& route);

 private:
  std::shared_ptr<const tls::Authorities> authorities_;
  std::mutex mutex_;  // guards what follows
  std::unordered_set<std::string> warned_;
};

}  // namespace proxycore::origin
