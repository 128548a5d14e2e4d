#include "acme/dns01.h"

#include "base/log.h"
#include "base/text.h"
#include "dns/names.h"
#include "dns/propagation.h"
#include "tls/digest.h"

#include <algorithm>
#include <array>

namespace proxycore::acme {

namespace {
// For taking a record away: an order that failed or was cancelled has no time left for it.
constexpr Millis tidying{30'000};
}  // namespace

std::string dns01_value(std::string_view key_authorization) {
  const auto digest = tls::sha256(key_authorization);
  return base::base64url({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

Result<const Dns01::Place*> Dns01::place_of(const Proof& proof, const Deadline& by) {
  if (const auto known = places_.find(proof.identifier); known != places_.end()) {
    return &known->second;
  }
  PX_TRY(std::string name, resolver_.follow("_acme-challenge." + proof.identifier, by));
  PX_TRY(Target target, find_zone_(name, by));
  const auto place =
      places_.insert_or_assign(proof.identifier, Place{std::move(name), std::move(target)}).first;
  return &place->second;
}

Result<std::string> Dns01::lane(const Proof& proof, const Deadline& by) {
  PX_TRY(const Place* place, place_of(proof, by));
  if (place->target.provider->info().several_values) return std::string();
  return place->target.zone.name;
}

Result<void> Dns01::present(const Proof& proof, const Deadline& by) {
  PX_TRY(const Place* place, place_of(proof, by));
  const Target& target = place->target;
  const dns::Txt record{dns::relative_name(target.zone.name, place->name),
                        dns01_value(proof.key_authorization)};
  const DnsRecord entry{target.account, target.zone, record};
  PX_CHECK(journal_.add(entry, by));
  // Even one whose adding fails may be there.
  Added& added =
      added_.insert_or_assign(proof.token, Added{target, entry, Deadline::Clock::now(), {}})
          .first->second;
  PX_TRY(added.id, target.provider->add(target.zone, record, by));
  added.at = Deadline::Clock::now();
  return {};
}

Result<void> Dns01::await_visible(const Proof& proof, const Deadline& by) {
  PX_TRY(const Place* place, place_of(proof, by));
  const dns::ProviderInfo& info = place->target.provider->info();
  // Records that were added together are on their way together; each is looked for at least once.
  const auto found = added_.find(proof.token);
  auto until = Deadline::Clock::now() + info.interval;
  if (found != added_.end()) until = std::max(until, found->second.at + info.propagation);
  const Deadline patience{std::min(by.at(), until), by.stop()};
  const std::array values = {dns01_value(proof.key_authorization)};
  return dns::await_txt(resolver_, place->name, values, info.interval, patience);
}

void Dns01::clean_up(const Proof& proof) noexcept {
  const auto found = added_.find(proof.token);
  if (found == added_.end()) return;
  const Added& added = found->second;
  const auto removed = added.target.provider->remove(added.target.zone, added.record.record,
                                                     added.id, Deadline::in(tidying));
  if (removed) {
    journal_.done(added.record);
  } else {
    // It stays in the journal, and is tried again from there.
    base::log::warning("acme.dns_record_left", {{"zone", added.target.zone.name},
                                                {"name", added.record.record.name},
                                                {"why", removed.error().message()}});
  }
  added_.erase(found);
}

}  // namespace proxycore::acme
