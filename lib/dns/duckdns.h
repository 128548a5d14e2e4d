// DuckDns: a dns::Provider over DuckDNS's update address.
//
// A domain has one TXT value for all names in it, so challenges come one after the other. There is
// no call that lists domains or shows a value: the domains are settings, and whether the token is
// good is found by writing what is there already. An update without a TXT value would change the
// domain's address: there is none here.
// Source: the design's notes on vendors, 4.7. Thread: one call at a time.
#pragma once

#include "dns/vendor_api.h"
#include <proxycore/dns_provider.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

class DuckDns final : public Provider {
 public:
  static constexpr std::string_view public_base = "https://www.duckdns.org";
  static ProviderInfo describe();

  // What the DNS says a name's values are (Resolver::txt).
  using Look =
      std::function<Result<std::vector<std::string>>(std::string_view name, const Deadline& by)>;

  // Settings: token, subdomains ("one,two": with ".duckdns.org" or without).
  DuckDns(const Settings& settings, client::HttpClient& http, Look look,
          std::string base = std::string{public_base});

  [[nodiscard]] const ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline& by) override;
  Result<std::vector<Zone>> zones(const Deadline& by) override;
  Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) override;
  // A value that is known to be gone, replaced or removed by this object, is left at that;
  // otherwise whatever is there is cleared.
  Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                      const Deadline& by) override;

 private:
  enum class Way { set, clear };
  Result<void> update(std::string_view what, std::string_view zone, std::string_view value, Way way,
                      const Deadline& by);

  const ProviderInfo info_ = describe();
  const std::string token_;
  std::vector<Zone> zones_;
  std::map<std::string, std::string, std::less<>> set_;  // zone -> the value that we left there
  Look look_;
  VendorApi api_;
};

}  // namespace proxycore::dns
