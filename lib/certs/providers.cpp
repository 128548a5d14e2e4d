#include "certs/providers.h"

#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include "tls/accel/random.h"
#include <proxycore/host.h>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace keys = host::keys;
namespace log = base::log;
using host::fields::field_error;
using store::DnsProvider;
using store::Domain;

// Who writes accounts and zones; it is held for a few writes only.
constexpr std::string_view accounts_lock = "dns_accounts";
constexpr Seconds accounts_lock_ttl{60};
constexpr std::string_view masked = "********";  // DnsProvider::is_masked
constexpr std::size_t max_id = 64;

Result<std::string> new_id() {
  std::array<unsigned char, 8> bytes{};
  if (tls::random_bytes(nullptr, bytes.data(), bytes.size()) != 0) {
    return Error{Errc::io, "DNS provider: no random bytes"};
  }
  return base::hex(bytes);
}

Result<void> check_id(std::string_view id) {
  const bool fine = std::all_of(id.begin(), id.end(), [](char c) {
    return base::is_digit(c) || (base::lower(c) >= 'a' && base::lower(c) <= 'z') || c == '-';
  });
  if (fine && !id.empty() && id.size() <= max_id) return {};
  return Error{Errc::invalid, "field 'id': expected letters, digits and '-', at most 64"};
}

std::string_view setting(const dns::Settings& settings, std::string_view name) {
  const auto found = settings.find(name);
  return found == settings.end() ? std::string_view{} : std::string_view(found->second);
}

// Where a secret stands, which its sealing is bound to.
std::string place_of(std::string_view id, std::string_view field) {
  return keys::dns_provider(id).append(".").append(field);
}

std::string shown(const DnsProvider& account) {
  return fmt::format("DNS provider {} ({})", base::shown(account.name), account.id);
}

std::string_view parent_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view{} : name.substr(dot + 1);
}

// In the order of names, each once, those that are names of hosts.
Result<std::vector<dns::Zone>> zones_of(dns::Provider& provider, const Deadline& by) {
  PX_TRY(std::vector<dns::Zone> told, provider.zones(by));
  std::vector<dns::Zone> zones;
  for (dns::Zone& zone : told) {
    auto name = HostName::canonical(zone.name);
    if (name) zones.push_back({*std::move(name), std::move(zone.id)});
  }
  std::sort(zones.begin(), zones.end(),
            [](const dns::Zone& a, const dns::Zone& b) { return a.name < b.name; });
  const auto twice =
      std::unique(zones.begin(), zones.end(),
                  [](const dns::Zone& a, const dns::Zone& b) { return a.name == b.name; });
  zones.erase(twice, zones.end());
  if (zones.size() > Providers::max_zones) {
    return Error{Errc::limit, fmt::format("{} zones; at most {} are kept for a DNS provider",
                                          zones.size(), Providers::max_zones)};
  }
  return zones;
}

// `zones` are in the order of names.
bool has_zone(std::span<const dns::Zone> zones, std::string_view name) {
  const auto at = std::lower_bound(
      zones.begin(), zones.end(), name,
      [](const dns::Zone& zone, std::string_view wanted) { return zone.name < wanted; });
  return at != zones.end() && at->name == name;
}

// `info` is null where a plugin is not here: any setting of it may be a secret.
bool is_shown(const dns::ProviderInfo* info, std::string_view name) {
  return info != nullptr &&
         std::any_of(info->fields.begin(), info->fields.end(), [name](const dns::Field& field) {
           return field.name == name && !field.secret;
         });
}

void log_broken(std::string_view key, const Error& why) {
  log::warning("dns.record_broken", {{"key", std::string(key)}, {"why", why.message()}});
}

}  // namespace

Result<Providers::Saved> Providers::save(DnsProvider account, const Deadline& by) {
  const dns::ProviderInfo* info = registry_.find(account.type);
  if (info == nullptr) {
    return field_error("dnsProvider", fmt::format("{} is not a known type of DNS provider",
                                                  base::shown(account.type)));
  }
  if (account.name.empty()) return field_error("name", "is missing");
  account.type = info->type;
  const bool is_new = account.id.empty();
  if (is_new) {
    PX_TRY(account.id, new_id());
  } else {
    PX_CHECK(check_id(account.id));
    const auto before = store::load<DnsProvider>(store_, account.id, by);
    if (before) PX_CHECK(fill_in(account.settings, *before, *info));
    // One that is broken is no reason to keep it.
    const bool fine =
        before || before.error().code == Errc::not_found || before.error().code == Errc::invalid;
    if (!fine) return before.error();
  }
  PX_TRY(auto made, registry_.make(account.type, account.settings, services_));
  const std::shared_ptr<dns::Provider> provider = std::move(made);
  PX_CHECK(provider->check(by));
  PX_TRY(std::vector<dns::Zone> zones, zones_of(*provider, by));
  PX_TRY(account.settings, sealed(account.id, std::move(account.settings), *info));

  PX_TRY(const auto lock, store_.lock(accounts_lock, accounts_lock_ttl, by));
  PX_TRY(const Rows before, rows(by));
  PX_TRY(const Domain* other, taken(account.id, zones, before, by));
  if (other != nullptr) {
    const auto owner = store::load<DnsProvider>(store_, other->provider_id, by);
    return Error{Errc::conflict, fmt::format("zone {} belongs to {} already", other->name,
                                             owner ? shown(*owner) : other->provider_id)};
  }
  PX_CHECK(store::save(store_, account, by));
  if (auto kept = keep_zones(account, zones, before, by); !kept) {
    // Nobody knows its id yet.
    if (is_new) static_cast<void>(erase(account.id, Deadline::in(Seconds{5}, by.stop())));
    return std::move(kept).error();
  }
  made_.insert_or_assign(account.id, Made{account.type, account.settings, provider});
  return Saved{std::move(account.id), std::move(zones)};
}

Result<std::vector<dns::Zone>> Providers::refresh(std::string_view id, const Deadline& by) {
  PX_TRY(const DnsProvider account, store::load<DnsProvider>(store_, id, by));
  PX_TRY(const auto provider, made_of(account));
  PX_TRY(std::vector<dns::Zone> zones, zones_of(*provider, by));
  PX_TRY(const auto lock, store_.lock(accounts_lock, accounts_lock_ttl, by));
  PX_TRY(const Rows before, rows(by));
  while (true) {
    PX_TRY(const Domain* other, taken(id, zones, before, by));
    if (other == nullptr) break;
    log::warning(
        "dns.zone_taken",
        {{"zone", other->name}, {"provider", std::string(id)}, {"belongs_to", other->provider_id}});
    std::erase_if(zones, [other](const dns::Zone& zone) { return zone.name == other->name; });
  }
  PX_CHECK(keep_zones(account, zones, before, by));
  return zones;
}

Result<bool> Providers::remove(std::string_view id, const Deadline& by) {
  PX_TRY(const auto lock, store_.lock(accounts_lock, accounts_lock_ttl, by));
  return erase(id, by);
}

Result<std::vector<DnsProvider>> Providers::list(const Deadline& by) {
  std::vector<DnsProvider> all;
  PX_CHECK(store::for_each<DnsProvider>(
      store_, [&all](DnsProvider&& account) { all.push_back(std::move(account)); }, log_broken,
      by));
  for (DnsProvider& account : all) {
    const dns::ProviderInfo* info = registry_.find(account.type);
    for (auto& [name, value] : account.settings) {
      if (!is_shown(info, name)) value.clear();
    }
  }
  return all;
}

Result<Providers::Found> Providers::find(std::string_view name, const Deadline& by) {
  Error missing{Errc::not_found, fmt::format("no DNS provider has a zone of {}", name)};
  for (std::string_view zone = name; !zone.empty(); zone = parent_of(zone)) {
    auto row = store::load<Domain>(store_, zone, by);
    if (!row && row.error().code == Errc::not_found) continue;
    if (!row) return std::move(row).error();
    auto found = provider(row->provider_id, by);
    if (found) return Found{*std::move(found), {row->name, row->zone_id}, row->provider_id};
    if (found.error().code != Errc::not_found) {
      return std::move(found).error().within(fmt::format("zone {}", row->name));
    }
    missing.detail =
        fmt::format("zone {}: DNS provider {} is not there any more", row->name, row->provider_id);
  }
  return missing;
}

Result<std::shared_ptr<dns::Provider>> Providers::provider(std::string_view id,
                                                           const Deadline& by) {
  PX_TRY(const DnsProvider account, store::load<DnsProvider>(store_, id, by));
  return made_of(account);
}

Result<std::shared_ptr<dns::Provider>> Providers::made_of(const DnsProvider& account) {
  if (const auto kept = made_.find(account.id); kept != made_.end()) {
    const Made& made = kept->second;
    if (made.type == account.type && made.kept == account.settings) return made.provider;
    made_.erase(kept);
  }
  const dns::ProviderInfo* info = registry_.find(account.type);
  if (info == nullptr) {
    return Error{Errc::invalid, fmt::format("{}: {} is not a known type of DNS provider",
                                            shown(account), base::shown(account.type))};
  }
  const auto make = [&]() -> Result<std::unique_ptr<dns::Provider>> {
    PX_TRY(const dns::Settings settings, opened(account, *info));
    return registry_.make(account.type, settings, services_);
  };
  auto provider = make();
  if (!provider) return std::move(provider).error().within(shown(account));
  Made made{account.type, account.settings, *std::move(provider)};
  return made_.insert_or_assign(account.id, std::move(made)).first->second.provider;
}

Result<dns::Settings> Providers::opened(const DnsProvider& account,
                                        const dns::ProviderInfo& info) const {
  dns::Settings settings;
  for (const dns::Field& field : info.fields) {
    const std::string_view kept = setting(account.settings, field.name);
    if (kept.empty()) continue;
    if (field.secret && kept == masked) {
      return field_error(field.name, "other software keeps it elsewhere; enter it again");
    }
    auto value = field.secret ? sealer_.open(place_of(account.id, field.name), kept)
                              : Result<std::string>(std::string(kept));
    if (!value) return std::move(value).error();
    settings.emplace(field.name, *std::move(value));
  }
  return settings;
}

Result<dns::Settings> Providers::sealed(std::string_view id, dns::Settings settings,
                                        const dns::ProviderInfo& info) const {
  for (const dns::Field& field : info.fields) {
    const auto found = settings.find(field.name);
    if (!field.secret || found == settings.end() || found->second.empty()) continue;
    PX_TRY(found->second, sealer_.seal(place_of(id, field.name), found->second));
  }
  return settings;
}

Result<void> Providers::fill_in(dns::Settings& settings, const DnsProvider& before,
                                const dns::ProviderInfo& info) const {
  const auto left_out = [&settings](const dns::Field& field) {
    return field.secret && setting(settings, field.name).empty();
  };
  if (before.type != info.type || std::none_of(info.fields.begin(), info.fields.end(), left_out)) {
    return {};
  }
  PX_TRY(const dns::Settings old, opened(before, info));
  for (const dns::Field& field : info.fields) {
    if (!left_out(field) || setting(old, field.name).empty()) continue;
    const bool same =
        std::all_of(info.fields.begin(), info.fields.end(), [&](const dns::Field& one) {
          return one.secret || setting(old, one.name) == setting(settings, one.name);
        });
    if (!same) return field_error(field.name, "has to be entered again when a setting changes");
    settings.insert_or_assign(field.name, std::string(setting(old, field.name)));
  }
  return {};
}

Result<Providers::Rows> Providers::rows(const Deadline& by) {
  Rows all;
  PX_CHECK(store::for_each<Domain>(
      store_,
      [&all](Domain&& row) {
        std::string name = row.name;
        all.emplace(std::move(name), std::move(row));
      },
      log_broken, by));
  return all;
}

Result<const Domain*> Providers::taken(std::string_view id, std::span<const dns::Zone> zones,
                                       const Rows& rows, const Deadline& by) {
  for (const dns::Zone& zone : zones) {
    const auto row = rows.find(zone.name);
    if (row == rows.end() || row->second.provider_id == id) continue;
    const auto other = store_.get(keys::dns_provider(row->second.provider_id), by);
    if (other) return &row->second;
    if (other.error().code != Errc::not_found) return other.error();
  }
  return static_cast<const Domain*>(nullptr);
}

Result<void> Providers::keep_zones(const DnsProvider& account, std::span<const dns::Zone> zones,
                                   const Rows& rows, const Deadline& by) {
  for (const dns::Zone& zone : zones) {
    const auto row = rows.find(zone.name);
    if (row != rows.end() && row->second.provider_id == account.id &&
        row->second.zone_id == zone.id) {
      continue;
    }
    const Domain next{.name = zone.name,
                      .provider_id = account.id,
                      .zone_id = zone.id,
                      .written = {.created_by = account.written.created_by}};
    PX_CHECK(store::save(store_, next, by));
  }
  for (const auto& [name, row] : rows) {
    if (row.provider_id != account.id || has_zone(zones, name)) continue;
    PX_CHECK(store::remove<Domain>(store_, name, by));
  }
  return {};
}

Result<bool> Providers::erase(std::string_view id, const Deadline& by) {
  PX_TRY(const Rows all, rows(by));
  for (const auto& [name, row] : all) {
    if (row.provider_id == id) PX_CHECK(store::remove<Domain>(store_, name, by));
  }
  made_.erase(std::string(id));
  return store::remove<DnsProvider>(store_, id, by);
}

}  // namespace proxycore::certs
