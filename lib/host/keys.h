// Every store key of the system whose installations we take over; both planes need them.
//
// A record's key is the prefix, its model and its own name, verbatim: "proxy_Host_*.example.com".
// X_prefix is what to scan and watch for all records of a model; index() names the set in which
// Redis lists their names. What belongs to certificates carries no prefix, and is one text.
// Source: the design's compatibility notes, 1.2 and 2.2. Thread: any.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::host::keys {

inline constexpr std::string_view host_prefix = "proxy_Host_";
inline constexpr std::string_view cached_prefix = "proxy_Cached_";  // hits of wildcards, by name
inline constexpr std::string_view user_prefix = "proxy_User_";
inline constexpr std::string_view auth_token_prefix = "proxy_AuthToken_";
inline constexpr std::string_view dns_provider_prefix = "proxy_DnsProvider_";
inline constexpr std::string_view domain_prefix = "proxy_Domain_";
inline constexpr std::string_view permission_prefix = "proxy_Permission_";
inline constexpr std::string_view api_token_prefix = "proxy_ApiToken_";

// Those of both eras; records of the last ones are only kept and listed.
inline constexpr std::array model_prefixes{
    host_prefix,
    cached_prefix,
    user_prefix,
    auth_token_prefix,
    dns_provider_prefix,
    domain_prefix,
    permission_prefix,
    api_token_prefix,
    std::string_view{"proxy_InviteToken_"},
    std::string_view{"proxy_LocalGroup_"},
    std::string_view{"proxy_DynamicRecord_"},
    std::string_view{"proxy_OidcState_"},
    std::string_view{"proxy_HostSsoState_"},
    std::string_view{"proxy_SsoSession_"},
    std::string_view{"proxy_ActivityEvent_"},
    std::string_view{"proxy_ActivitySeen_"},
};

// "proxy_Host" of "proxy_Host_".
constexpr std::string_view index(std::string_view model_prefix) noexcept {
  return model_prefix.substr(0, model_prefix.size() - 1);
}
constexpr bool is_index(std::string_view key) noexcept {
  return std::any_of(model_prefixes.begin(), model_prefixes.end(),
                     [key](std::string_view prefix) { return key == index(prefix); });
}

// The record of a model: its prefix, and what its index lists.
struct Member {
  std::string_view prefix;
  std::string_view name;
};
// nullopt: the key belongs to no model, so that no index lists it.
constexpr std::optional<Member> member(std::string_view key) noexcept {
  std::string_view longest;
  for (const std::string_view prefix : model_prefixes) {
    if (prefix.size() > longest.size() && key.starts_with(prefix)) longest = prefix;
  }
  if (longest.empty() || longest.size() == key.size()) return std::nullopt;
  return Member{longest, key.substr(longest.size())};
}

// Of proxycore alone: what happened to a name's certificate and comes next, names that visitors
// wait for, the certificate beside the present one and the one before it, CAs' accounts and limits,
// TXT records to be removed, and who wrote what.
inline constexpr std::string_view own_prefix = "proxycore_";  // of all of them
inline constexpr std::string_view story_prefix = "proxycore_story_";
inline constexpr std::string_view wish_prefix = "proxycore_wish_";
inline constexpr std::string_view rsa_prefix = "proxycore_rsa_";
inline constexpr std::string_view previous_prefix = "proxycore_previous_";
inline constexpr std::string_view acme_account_prefix = "proxycore_acme_account_";
inline constexpr std::string_view ledger_prefix = "proxycore_ledger_";
inline constexpr std::string_view txt_prefix = "proxycore_txt_";
inline constexpr std::string_view audit_prefix = "proxycore_audit_";

inline constexpr std::string_view certificate_suffix = ":latest";
inline constexpr std::string_view challenge_infix = ":challenge:";
inline constexpr std::string_view issue_lock_suffix = ":issue_cert_lock";

// Whether Redis holds one text under that key, not a hash; its record is {text_field: text}.
constexpr bool is_text(std::string_view key) noexcept {
  if (key.starts_with("proxy_") || key.starts_with(own_prefix)) return false;
  return key.ends_with(certificate_suffix) || key.ends_with(issue_lock_suffix) ||
         key.find(challenge_infix) != std::string_view::npos;
}

namespace detail {
inline std::string join(std::string_view a, std::string_view b, std::string_view c = {}) {
  std::string key;
  key.reserve(a.size() + b.size() + c.size());
  return key.append(a).append(b).append(c);
}
}  // namespace detail

inline std::string host(std::string_view name) {
  return detail::join(host_prefix, name);
}
inline std::string cached(std::string_view name) {
  return detail::join(cached_prefix, name);
}
inline std::string user(std::string_view name) {
  return detail::join(user_prefix, name);
}
inline std::string auth_token(std::string_view token) {
  return detail::join(auth_token_prefix, token);
}
inline std::string dns_provider(std::string_view id) {
  return detail::join(dns_provider_prefix, id);
}
inline std::string domain(std::string_view name) {
  return detail::join(domain_prefix, name);
}
// "user:alice:domain:example.com"
inline std::string permission(std::string_view id) {
  return detail::join(permission_prefix, id);
}
inline std::string api_token(std::string_view id) {
  return detail::join(api_token_prefix, id);
}

// JSON of the certificate of a host name or, literally, a wildcard.
inline std::string certificate(std::string_view name) {
  return detail::join(name, certificate_suffix);
}
// The one with an RSA key beside it, in the same form.
inline std::string rsa_certificate(std::string_view name) {
  return detail::join(rsa_prefix, name);
}
// The key authorization of an HTTP-01 challenge.
inline std::string challenge(std::string_view domain, std::string_view token) {
  return detail::join(domain, challenge_infix, token);
}
inline std::string story(std::string_view name) {
  return detail::join(story_prefix, name);
}
inline std::string wish(std::string_view name) {
  return detail::join(wish_prefix, name);
}
inline std::string previous(std::string_view name) {
  return detail::join(previous_prefix, name);
}
// Held by who is getting a certificate.
inline std::string issue_lock(std::string_view domain) {
  return detail::join(domain, issue_lock_suffix);
}
// A TXT record that we have put into a zone: `name` is relative to it.
inline std::string txt(std::string_view zone, std::string_view name, std::string_view value) {
  return detail::join(txt_prefix, value, "/").append(name).append("/").append(zone);
}

}  // namespace proxycore::host::keys
