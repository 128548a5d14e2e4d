// FakeDns: a DNS vendor in memory, with accounts, zones and records, that can be out of order.
//
// Its type is "Fake"; its settings are a token, which is the account's, and a place that means
// nothing. Outlives the registry that it is in and the providers that this makes. Thread: one.
#pragma once

#include "dns/names.h"
#include "dns/registry.h"
#include <proxycore/dns_provider.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

class FakeDns {
 public:
  std::map<std::string, std::vector<dns::Zone>, std::less<>> accounts;  // by token
  std::set<std::pair<std::string, std::string>> records;                // whole name, value
  std::optional<Error> failure;                                         // of every call but check()
  std::function<void()> removed = {};  // called after a record was taken away
  int made = 0;                        // providers
  int removals = 0;                    // calls

  [[nodiscard]] dns::Registry registry() {
    dns::Registry registry;
    if (!registry.add(info(), [this](const dns::Settings& settings, const dns::Services&) {
          ++made;
          return Result<std::unique_ptr<dns::Provider>>(
              std::make_unique<Account>(*this, settings.at("token")));
        })) {
      std::abort();
    }
    return registry;
  }

 private:
  static dns::ProviderInfo info() {
    return {.type = "Fake",
            .title = "A vendor in memory",
            .fields = {{.name = "token", .label = "Token", .required = true, .secret = true},
                       {.name = "place", .label = "Place", .required = false}}};
  }

  class Account final : public dns::Provider {
   public:
    Account(FakeDns& vendor, std::string token) : vendor_(vendor), token_(std::move(token)) {}
    [[nodiscard]] const dns::ProviderInfo& info() const noexcept override { return info_; }
    Result<void> check(const Deadline&) override {
      if (vendor_.accounts.contains(token_)) return {};
      return Error{Errc::denied, "Fake: no such token"};
    }
    Result<std::vector<dns::Zone>> zones(const Deadline&) override {
      if (vendor_.failure) return *vendor_.failure;
      return vendor_.accounts[token_];
    }
    Result<std::string> add(const dns::Zone& zone, const dns::Txt& record,
                            const Deadline&) override {
      if (vendor_.failure) return *vendor_.failure;
      vendor_.records.insert({dns::whole_name(zone.name, record.name), record.value});
      return "id of " + record.value;
    }
    Result<void> remove(const dns::Zone& zone, const dns::Txt& record, std::string_view,
                        const Deadline&) override {
      ++vendor_.removals;
      if (vendor_.failure) return *vendor_.failure;
      vendor_.records.erase({dns::whole_name(zone.name, record.name), record.value});
      if (vendor_.removed) vendor_.removed();
      return {};
    }

   private:
    const dns::ProviderInfo info_ = FakeDns::info();
    FakeDns& vendor_;
    const std::string token_;
  };
};

}  // namespace proxycore::test
