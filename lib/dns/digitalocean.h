// DigitalOcean: a dns::Provider over DigitalOcean's API v2.
//
// Records are made under names relative to the zone but looked for under whole ones: that is how
// the API is. Two equal values can stand beside each other there, so add() looks first.
// Source: the design's notes on vendors, 4.5. Thread: one call at a time.
#pragma once

#include "dns/vendor_api.h"
#include <proxycore/dns_provider.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

class DigitalOcean final : public Provider {
 public:
  static constexpr std::string_view public_base = "https://api.digitalocean.com/v2";
  static ProviderInfo describe();

  // Settings: token.
  DigitalOcean(const Settings& settings, client::HttpClient& http,
               std::string base = std::string{public_base});

  [[nodiscard]] const ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline& by) override;
  Result<std::vector<Zone>> zones(const Deadline& by) override;
  Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) override;
  Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                      const Deadline& by) override;

 private:
  using Rows = std::function<Result<void>(const base::json::Value& row)>;

  Result<base::json::Value> call(const VendorApi::Call& call, const Deadline& by);
  // Every member of `list` on every page.
  Result<void> each_row(VendorApi::Call call, std::string_view list, const Rows& row,
                        const Deadline& by);
  Result<std::vector<std::string>> ids_of(const Zone& zone, const Txt& record, const Deadline& by);
  Result<void> remove_id(const Zone& zone, std::string_view id, const Deadline& by);

  const ProviderInfo info_ = describe();
  VendorApi api_;
};

}  // namespace proxycore::dns
