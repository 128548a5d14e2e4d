#include "dns/duckdns.h"

#include "base/text.h"
#include "client/url.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::string_view suffix = ".duckdns.org";

// The domains of the setting; people write them with the suffix or without.
std::vector<Zone> zones_of(std::string_view subdomains) {
  std::vector<Zone> zones;
  while (!subdomains.empty()) {
    std::string name = canonical_name(base::next_member(subdomains));
    if (name.empty()) continue;
    if (!name.ends_with(suffix)) name += suffix;
    zones.push_back({.name = std::move(name)});
  }
  return zones;
}

}  // namespace

ProviderInfo DuckDns::describe() {
  return {.type = "DuckDns",
          .title = "DuckDNS",
          .fields = {{.name = "token", .label = "Token", .secret = true},
                     {.name = "subdomains",
                      .label = "Domains",
                      .help = "the account's domains, with commas between: one,two.duckdns.org"}},
          .several_values = false,
          .propagation = Millis{600'000},
          .interval = Millis{10'000}};
}

DuckDns::DuckDns(const Settings& settings, client::HttpClient& http, Look look, std::string base)
    : token_(settings.at("token")),
      zones_(zones_of(settings.at("subdomains"))),
      look_(std::move(look)),
      api_(http, {.title = "DuckDNS", .base = std::move(base), .secrets = {token_}}) {}

Result<void> DuckDns::update(std::string_view what, std::string_view zone, std::string_view value,
                             Way way, const Deadline& by) {
  const bool ours = std::any_of(zones_.begin(), zones_.end(),
                                [&](const Zone& each) { return each.name == zone; });
  if (!ours) {
    return Error{
        Errc::not_found,
        fmt::format("DuckDNS: {}: '{}' is none of the domains in the settings", what, zone)};
  }
  zone.remove_suffix(suffix.size());
  const VendorApi::Call call{
      .what = what,
      .path = fmt::format("/update?domains={}&token={}&txt={}{}&verbose=true",
                          client::percent_encoded(zone), client::percent_encoded(token_),
                          client::percent_encoded(value), way == Way::clear ? "&clear=true" : "")};
  PX_TRY(const VendorApi::Answer answer, api_.send(call, by));
  if (!answer.ok()) return api_.failure(call, answer, VendorApi::code_of(answer.status), {});
  const std::string_view text = answer.text;
  const std::string_view word = text.substr(0, text.find_first_of("\r\n"));
  if (word == "OK") return {};
  if (word == "KO") {
    return api_.failure(call, answer, Errc::denied,
                        "KO: the token or the domain is not accepted (DuckDNS does not say which)");
  }
  return api_.failure(call, answer, Errc::protocol, {});
}

Result<void> DuckDns::check(const Deadline& by) {
  if (zones_.empty()) {
    return Error{Errc::invalid, "DuckDNS: field 'subdomains': expected at least one domain"};
  }
  for (const Zone& zone : zones_) {
    const auto there = look_(zone.name, by);
    if (!there && there.error().code != Errc::not_found) {
      return Error{there.error()}.within(fmt::format("DuckDNS: see which value {} has", zone.name));
    }
    // Writing what is there, or clearing where there is nothing, changes nothing.
    const bool none = !there || there->empty();
    PX_CHECK(update("check the token", zone.name, none ? "none" : there->front(),
                    none ? Way::clear : Way::set, by));
  }
  return {};
}

Result<std::vector<Zone>> DuckDns::zones(const Deadline& by) {
  if (by.cancelled()) return Error{Errc::cancelled};
  return zones_;
}

Result<std::string> DuckDns::add(const Zone& zone, const Txt& record, const Deadline& by) {
  set_.erase(zone.name);  // a call that fails may have set it all the same
  PX_CHECK(update("set the value", zone.name, record.value, Way::set, by));
  set_.insert_or_assign(zone.name, record.value);
  return std::string{};
}

Result<void> DuckDns::remove(const Zone& zone, const Txt& record, std::string_view /*id*/,
                             const Deadline& by) {
  const auto set = set_.find(zone.name);
  if (set != set_.end() && set->second != record.value) return {};
  PX_CHECK(update("clear the value", zone.name, record.value, Way::clear, by));
  set_.insert_or_assign(zone.name, std::string{});
  return {};
}

}  // namespace proxycore::dns
