// Every store key of the system whose installations we take over; both planes need them.
//
// A record's key is the prefix, its model and its own key, verbatim: "proxy_Host_*.example.com".
// X_prefix is what to scan and watch for all records of a model; index() names the set in which
// Redis lists their keys. What belongs to certificates carries no prefix.
// Source: the design's compatibility notes, 1.2 and 2.2. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace proxycore::host::keys {

inline constexpr std::string_view host_prefix = "proxy_Host_";
inline constexpr std::string_view cached_prefix = "proxy_Cached_";  // hits of wildcards, by name
inline constexpr std::string_view user_prefix = "proxy_User_";
inline constexpr std::string_view auth_token_prefix = "proxy_AuthToken_";
inline constexpr std::string_view dns_provider_prefix = "proxy_DnsProvider_";
inline constexpr std::string_view domain_prefix = "proxy_Domain_";

// "proxy_Host" of "proxy_Host_".
constexpr std::string_view index(std::string_view model_prefix) noexcept {
  return model_prefix.substr(0, model_prefix.size() - 1);
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

// JSON of the certificate of a host name or, literally, a wildcard.
inline std::string certificate(std::string_view name) {
  return detail::join(name, ":latest");
}
// The key authorization of an HTTP-01 challenge.
inline std::string challenge(std::string_view domain, std::string_view token) {
  return detail::join(domain, ":challenge:", token);
}
// Held by who is getting a certificate.
inline std::string issue_lock(std::string_view domain) {
  return detail::join(domain, ":issue_cert_lock");
}

}  // namespace proxycore::host::keys
