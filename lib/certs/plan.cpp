#include "certs/plan.h"

#include "base/text.h"

#include <utility>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

// "*.x" of "**.x" and "*.x"; empty: another pattern.
std::string wildcard_of(std::string_view pattern) {
  const std::size_t dot = pattern.find('.');
  if (dot == std::string_view::npos) return {};
  const std::string_view first = pattern.substr(0, dot);
  const std::string_view rest = pattern.substr(dot);
  const bool plain_rest = rest.find('*') == std::string_view::npos;
  if ((first != "*" && first != "**") || !plain_rest) return {};
  return fmt::format("*{}", rest);
}

std::optional<Wanted> own_certificate(std::string_view name, const Host& host,
                                      const Circumstances& around) {
  Wanted wanted{.name = std::string(name),
                .identifiers = {std::string(name)},
                .host = host.host,
                .method = around.preferred};
  if (host.challenge_type == "HTTP-01") wanted.method = Method::http01;
  if (host.challenge_type == "DNS-01") wanted.method = Method::dns01;
  // What cannot be proved as preferred may be otherwise.
  if (host.challenge_type.empty() && wanted.method == Method::dns01 && !around.has_zone(name)) {
    wanted.method = Method::http01;
  }
  return wanted;
}

}  // namespace

std::string parent_wildcard(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string() : fmt::format("*{}", name.substr(dot));
}

bool is_public_name(std::string_view name) noexcept {
  return name.find('.') != std::string_view::npos && !base::is_address(name);
}

std::optional<Wanted> wanted_by(const Host& host, const Circumstances& around, std::string& why) {
  const auto nothing = [&why](std::string_view reason) {
    why = reason;
    return std::optional<Wanted>();
  };
  if (host.is_cache) return nothing("a wildcard answers for it");
  if (host.challenge_type == "none") return nothing("its challengeType is none");
  if (host.challenge_type == "wildcardChild" || !host.wildcard_parent.empty()) {
    return nothing("the certificate of its wildcard is for it, too");
  }
  if (host.host.find('*') == std::string::npos) {
    if (!is_public_name(host.host))
      return nothing("no CA vouches for an address or a single label");
    const std::string above = parent_wildcard(host.host);
    if (host.challenge_type.empty() && around.has_wildcard(above)) {
      return nothing("the certificate of its wildcard is for it, too");
    }
    return own_certificate(host.host, host, around);
  }

  const std::string wildcard = wildcard_of(host.host);
  if (wildcard.empty() || !is_public_name(std::string_view(wildcard).substr(2))) {
    return nothing("no certificate covers such a pattern: its names get theirs when asked for");
  }
  const std::string base = wildcard.substr(2);
  const bool told = host.challenge_type.starts_with("DNS-01") || host.is_wildcard;
  if (host.challenge_type == "HTTP-01" || (!told && !around.has_zone(base))) {
    return nothing("no DNS provider has its zone: its names get certificates when asked for");
  }
  Wanted wanted{.name = wildcard, .identifiers = {}, .host = host.host, .method = Method::dns01};
  if (host.host == wildcard) wanted.identifiers.push_back(base);
  wanted.identifiers.push_back(wildcard);
  return wanted;
}

std::optional<Wanted> wanted_for(std::string_view name, const Host& host,
                                 const Circumstances& around) {
  const bool none = host.challenge_type == "none" || !is_public_name(name) ||
                    name.find('*') != std::string_view::npos;
  if (none) return std::nullopt;
  if (around.has_wildcard(parent_wildcard(name))) return std::nullopt;
  return own_certificate(name, host, around);
}

}  // namespace proxycore::certs
