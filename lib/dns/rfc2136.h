// Rfc2136: a dns::Provider over dynamic updates, signed by TSIG: for BIND, Knot, PowerDNS, Windows.
//
// Updates go over TCP to the primary server that the settings name, which has the records at once;
// its secondaries follow. Values are added and removed one by one, never whole record sets.
// Source: RFC 2136, RFC 8945. Not here: the signature (tsig). Thread: one call at a time.
#pragma once

#include "dns/exchange.h"
#include "dns/tsig.h"
#include <proxycore/dns_provider.h>
#include <proxycore/host.h>

#include <memory>
#include <string_view>
#include <vector>

namespace proxycore::dns {

class Rfc2136 final : public Provider {
 public:
  static ProviderInfo describe();

  // Settings: server ("ns.example.com:53"), zones ("example.com,example.org"), key_name, secret,
  // and if given algorithm. Errors: invalid (which setting, and what was expected).
  static Result<std::unique_ptr<Provider>> make(const Settings& settings);

  [[nodiscard]] const ProviderInfo& info() const noexcept override { return info_; }
  // An update of each zone that changes nothing.
  Result<void> check(const Deadline& by) override;
  Result<std::vector<Zone>> zones(const Deadline& by) override;
  Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) override;
  Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                      const Deadline& by) override;

 private:
  Rfc2136(Target server, std::vector<Zone> zones, TsigKey key);
  Result<void> update(std::string_view zone, const std::vector<Change>& changes,
                      const Deadline& by);

  const ProviderInfo info_ = describe();
  const Target server_;
  const std::vector<Zone> zones_;
  const TsigKey key_;
  Exchange exchange_;
};

}  // namespace proxycore::dns
