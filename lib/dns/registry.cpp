#include "dns/registry.h"

#include "base/text.h"
#include "dns/cloudflare.h"
#include "dns/digitalocean.h"
#include "dns/duckdns.h"
#include "dns/porkbun.h"
#include "dns/resolver.h"
#include "dns/rfc2136.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace proxycore::dns {

namespace {

std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

const Field* field_of(const ProviderInfo& info, std::string_view name) {
  const auto found = std::find_if(info.fields.begin(), info.fields.end(),
                                  [&](const Field& field) { return field.name == name; });
  return found == info.fields.end() ? nullptr : &*found;
}

// Never shows a value: it may be a secret in the wrong place.
Result<Settings> checked(const ProviderInfo& info, const Settings& settings) {
  Settings good;
  for (const auto& [name, given] : settings) {
    const std::string_view value = without_blanks(given);
    if (field_of(info, name) == nullptr) {
      std::vector<std::string_view> known;
      for (const Field& field : info.fields) known.push_back(field.name);
      return Error{Errc::invalid, fmt::format("{}: field {}: unknown; there is: {}", info.type,
                                              base::shown(name), fmt::join(known, ", "))};
    }
    if (has_control_character(value)) {
      return Error{Errc::invalid,
                   fmt::format("{}: field '{}': has control characters", info.type, name)};
    }
    if (!value.empty()) good.emplace(name, value);
  }
  for (const Field& field : info.fields) {
    if (field.required && !good.contains(field.name)) {
      return Error{Errc::invalid,
                   fmt::format("{}: field '{}' ({}): missing", info.type, field.name, field.label)};
    }
  }
  return good;
}

// For vendors whose constructor takes their settings and the HTTP client.
template <class Vendor>
Result<std::unique_ptr<Provider>> make_vendor(const Settings& settings, const Services& services) {
  return std::unique_ptr<Provider>{std::make_unique<Vendor>(settings, services.http)};
}

Result<std::unique_ptr<Provider>> make_duckdns(const Settings& settings, const Services& services) {
  DuckDns::Look look = [&resolver = services.resolver](std::string_view name, const Deadline& by) {
    return resolver.txt(name, by);
  };
  return std::unique_ptr<Provider>{
      std::make_unique<DuckDns>(settings, services.http, std::move(look))};
}

}  // namespace

Result<void> Registry::add(ProviderInfo info, Factory make) {
  if (info.type.empty()) return Error{Errc::invalid, "a DNS provider without a type"};
  if (find(info.type) != nullptr) {
    return Error{Errc::conflict, fmt::format("DNS provider '{}' is there already", info.type)};
  }
  for (const Field& field : info.fields) {
    if (field.name.empty() || field_of(info, field.name) != &field) {
      return Error{Errc::invalid,
                   fmt::format("DNS provider '{}': field '{}': {}", info.type, field.name,
                               field.name.empty() ? "has no name" : "is there twice")};
    }
  }
  kinds_.push_back(std::make_unique<const Kind>(Kind{std::move(info), std::move(make)}));
  return {};
}

std::vector<const ProviderInfo*> Registry::types() const {
  std::vector<const ProviderInfo*> types;
  for (const auto& kind : kinds_) types.push_back(&kind->info);
  return types;
}

const Registry::Kind* Registry::kind(std::string_view type) const noexcept {
  const auto found = std::find_if(kinds_.begin(), kinds_.end(), [&](const auto& each) {
    return base::same(each->info.type, type);
  });
  return found == kinds_.end() ? nullptr : found->get();
}

const ProviderInfo* Registry::find(std::string_view type) const noexcept {
  const Kind* found = kind(type);
  return found == nullptr ? nullptr : &found->info;
}

Result<std::unique_ptr<Provider>> Registry::make(std::string_view type, const Settings& settings,
                                                 const Services& services) const {
  const Kind* found = kind(type);
  if (found == nullptr) {
    std::vector<std::string_view> known;
    for (const auto& each : kinds_) known.push_back(each->info.type);
    return Error{Errc::not_found, fmt::format("DNS provider {}: unknown; there is: {}",
                                              base::shown(type), fmt::join(known, ", "))};
  }
  PX_TRY(const Settings good, checked(found->info, settings));
  return found->make(good, services);
}

Registry built_in() {
  Registry registry;
  const auto add = [&](ProviderInfo info, Registry::Factory make) {
    // Fails for a type that is there twice: not among these.
    static_cast<void>(registry.add(std::move(info), std::move(make)));
  };
  add(Cloudflare::describe(), make_vendor<Cloudflare>);
  add(DigitalOcean::describe(), make_vendor<DigitalOcean>);
  add(Porkbun::describe(), make_vendor<Porkbun>);
  add(DuckDns::describe(), make_duckdns);
  add(Rfc2136::describe(),
      [](const Settings& settings, const Services&) { return Rfc2136::make(settings); });
  add(Rfc2136::describe(),
      [](const Settings& settings, const Services&) { return Rfc2136::make(settings); });
  return registry;
}

}  // namespace proxycore::dns
