// Cloudflare: a dns::Provider over Cloudflare's API v4.
//
// All pages are followed. Only zones that are active are shown: what is added to another is seen by
// nobody. Not here: HTTP, waiting, the words of errors (vendor_api).
// Source: the design's notes on vendors, 4.4. Thread: one call at a time.
#pragma once

#include "dns/vendor_api.h"
#include <proxycore/dns_provider.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

class Cloudflare final : public Provider {
 public:
  static constexpr std::string_view public_base = "https://api.cloudflare.com/client/v4";
  static ProviderInfo describe();

  // Settings: token.
  Cloudflare(const Settings& settings, client::HttpClient& http,
             std::string base = std::string{public_base});

  [[nodiscard]] const ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline& by) override;
  Result<std::vector<Zone>> zones(const Deadline& by) override;
  Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) override;
  Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                      const Deadline& by) override;

 private:
  using Rows = std::function<Result<void>(const base::json::Value& row)>;

  // The envelope of an answer that says it is a success.
  Result<base::json::Value> call(const VendorApi::Call& call, const Deadline& by);
  Result<void> each_row(VendorApi::Call call, int per_page, const Rows& row, const Deadline& by);
  // In the API's paths a zone is its id.
  Result<std::string> records_path(const Zone& zone, const Deadline& by);
  Result<std::vector<std::string>> ids_of(const Zone& zone, const std::string& records,
                                          const Txt& record, const Deadline& by);
  Result<void> remove_id(const std::string& records, std::string_view id, const Deadline& by);

  const ProviderInfo info_ = describe();
  VendorApi api_;
};

}  // namespace proxycore::dns
