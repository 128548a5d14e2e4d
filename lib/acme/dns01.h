// Dns01: meets dns-01 challenges with TXT records at the DNS provider of each name's zone.
//
// "_acme-challenge.<name>" may be an alias (CNAME): the record goes to where that leads. Every
// record is in the journal from before it is added until it is removed, so that none is left
// behind by a crash, and none is touched that others added.
// Source: RFC 8555 §8.4. Owner: who calls obtain(), one for each call. Thread: that of obtain().
#pragma once

#include "dns/resolver.h"
#include <proxycore/acme.h>
#include <proxycore/dns_provider.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace proxycore::acme {

// A record of ours at a provider.
struct DnsRecord {
  std::string account;  // whose credentials: what Dns01::Target said
  dns::Zone zone;
  dns::Txt record;
};

// Remembers records over a crash.
class DnsJournal {
 public:
  virtual ~DnsJournal() = default;
  // Has to be safe on the disk before it returns: the record is added next.
  virtual Result<void> add(const DnsRecord& record, const Deadline& by) = 0;
  // It is removed.
  virtual void done(const DnsRecord& record) = 0;
};

class Dns01 final : public Solver {
 public:
  struct Target {
    dns::Provider* provider;  // outlives the solver
    dns::Zone zone;
    std::string account;  // whose credentials they are; for the journal
  };
  // The zone that a name is in, and who serves it. Errors: not_found (nobody is set up for it).
  using FindZone = std::function<Result<Target>(std::string_view name, const Deadline& by)>;

  // The resolver and the journal outlive it.
  Dns01(dns::Resolver& resolver, DnsJournal& journal, FindZone find_zone)
      : resolver_(resolver), journal_(journal), find_zone_(std::move(find_zone)) {}

  [[nodiscard]] std::string_view type() const noexcept override { return "dns-01"; }
  // A zone whose provider holds one value only.
  Result<std::string> lane(const Proof& proof, const Deadline& by) override;
  Result<void> present(const Proof& proof, const Deadline& by) override;
  // Until all servers of the zone have it, as long as the provider may take from when it was added.
  Result<void> await_visible(const Proof& proof, const Deadline& by) override;
  void clean_up(const Proof& proof) noexcept override;

 private:
  struct Place {
    std::string name;  // where the record goes
    Target target;
  };
  struct Added {
    Target target;
    DnsRecord record;
    Deadline::Clock::time_point at;  // since when it is on its way
    std::string id;                  // the provider's
  };

  Result<const Place*> place_of(const Proof& proof, const Deadline& by);

  dns::Resolver& resolver_;
  DnsJournal& journal_;
  const FindZone find_zone_;
  std::map<std::string, Place, std::less<>> places_;  // by identifier
  std::map<std::string, Added, std::less<>> added_;   // by token
};

// What the record says (RFC 8555 §8.4).
std::string dns01_value(std::string_view key_authorization);

}  // namespace proxycore::acme
