// Providers: the DNS accounts that the store knows, as dns::Provider that work, and which of them
// has the zone of a name.
//
// An account is a DnsProvider record, its secret settings sealed, and one Domain row for each of
// its zones, as older software has them; what that wrote is read as it is. Nothing is kept of an
// account before its vendor has taken the credentials and told its zones.
// Not here: vendors (dns/), what is put into zones (journal). Source: the design's compatibility
// notes, 1.5. Owner: the runner. Thread: one call at a time, also of the providers it gives.
#pragma once

#include "certs/sealer.h"
#include "dns/registry.h"
#include "store/repo.h"
#include <proxycore/deadline.h>
#include <proxycore/dns_provider.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::certs {

class Providers {
 public:
  static constexpr std::size_t max_zones = 10'000;  // of one account

  // All of them outlive it.
  Providers(Store& store, const Sealer& sealer, const dns::Registry& registry,
            const dns::Services& services)
      : store_(store), sealer_(sealer), registry_(registry), services_(services) {}

  struct Saved {
    std::string id;
    std::vector<dns::Zone> zones;  // in the order of names
  };
  // Checks the credentials with the vendor, then keeps the account and its zones. An empty id is a
  // new account. Secrets of an old one may be left empty as long as no other setting changes, since
  // a setting may say whom they are sent to. Errors: denied (the vendor's words), invalid (which
  // field), conflict (a zone that another account has), limit (of zones), those of the vendor and
  // of the store.
  Result<Saved> save(store::DnsProvider account, const Deadline& by);
  // Asks an account for its zones again. One that another account has stays there. Errors:
  // not_found, as above.
  Result<std::vector<dns::Zone>> refresh(std::string_view id, const Deadline& by);
  // The account and its zones. false: was not there.
  Result<bool> remove(std::string_view id, const Deadline& by);
  // With "" in place of every secret.
  Result<std::vector<store::DnsProvider>> list(const Deadline& by);

  struct Found {
    std::shared_ptr<dns::Provider> provider;
    dns::Zone zone;
    std::string id;  // of the account
  };
  // The longest zone that `name` is or lies in. Errors: not_found (nobody has one), invalid
  // (secrets that have to be entered again), those of the store.
  Result<Found> find(std::string_view name, const Deadline& by);
  // The same provider as before, until its record changes. Errors: not_found, invalid, as above.
  Result<std::shared_ptr<dns::Provider>> provider(std::string_view id, const Deadline& by);

 private:
  using Rows = std::map<std::string, store::Domain, std::less<>>;  // by zone
  // Made of a record that had these settings.
  struct Made {
    std::string type;
    dns::Settings kept;
    std::shared_ptr<dns::Provider> provider;
  };

  Result<std::shared_ptr<dns::Provider>> made_of(const store::DnsProvider& account);
  // The settings that a vendor of that type wants, in plain text.
  [[nodiscard]] Result<dns::Settings> opened(const store::DnsProvider& account,
                                             const dns::ProviderInfo& info) const;
  [[nodiscard]] Result<dns::Settings> sealed(std::string_view id, dns::Settings settings,
                                             const dns::ProviderInfo& info) const;
  // Secrets that are empty become those of `before`.
  [[nodiscard]] Result<void> fill_in(dns::Settings& settings, const store::DnsProvider& before,
                                     const dns::ProviderInfo& info) const;

  // Below, others that write accounts are locked out.
  Result<Rows> rows(const Deadline& by);
  // The first of the zones that another account has; null: there is none.
  Result<const store::Domain*> taken(std::string_view id, std::span<const dns::Zone> zones,
                                     const Rows& rows, const Deadline& by);
  // Makes the rows of an account those of its zones.
  Result<void> keep_zones(const store::DnsProvider& account, std::span<const dns::Zone> zones,
                          const Rows& rows, const Deadline& by);
  Result<bool> erase(std::string_view id, const Deadline& by);

  Store& store_;
  const Sealer& sealer_;
  const dns::Registry& registry_;
  const dns::Services services_;
  std::map<std::string, Made, std::less<>> made_;  // by id
};

}  // namespace proxycore::certs
