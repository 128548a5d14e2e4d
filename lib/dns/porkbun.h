// Porkbun: a dns::Provider over Porkbun's JSON API v3.
//
// Every call is a POST with the two keys in its body; numbers come and go as strings. Records are
// only ever removed by their id: the calls by name and type hit every value at that name.
// Source: the design's notes on vendors, 4.6. Thread: one call at a time.
#pragma once

#include "dns/vendor_api.h"
#include <proxycore/dns_provider.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::dns {

class Porkbun final : public Provider {
 public:
  static constexpr std::string_view public_base = "https://api.porkbun.com/api/json/v3";
  static ProviderInfo describe();

  // Settings: apiKey, secretApiKey.
  Porkbun(const Settings& settings, client::HttpClient& http,
          std::string base = std::string{public_base});

  [[nodiscard]] const ProviderInfo& info() const noexcept override { return info_; }
  Result<void> check(const Deadline& by) override;
  Result<std::vector<Zone>> zones(const Deadline& by) override;
  Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) override;
  Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                      const Deadline& by) override;

 private:
  struct Kept {
    std::string id;
    bool ours = false;  // the name, type and value asked for
  };
  using Fields = std::vector<std::pair<std::string_view, std::string>>;

  // The keys are added to `fields`.
  Result<base::json::Value> call(VendorApi::Call call, const Fields& fields, const Deadline& by);
  Result<std::vector<Kept>> records(const Zone& zone, const Txt& record, const Deadline& by);
  Result<void> remove_id(const Zone& zone, const Txt& record, std::string_view id,
                         const Deadline& by);

  const ProviderInfo info_ = describe();
  const std::string key_;
  const std::string secret_;
  VendorApi api_;
};

}  // namespace proxycore::dns
