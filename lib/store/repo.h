// What a store keeps besides hosts, with types: users, their sessions, DNS providers, domains and
// certificates, as records of an existing installation.
//
// Each has from<T>(record) and record_of(); load, create, save and for_each are the same for all.
// save() keeps the fields that are not known here, and who created a record and when. Errors name
// the field and never show a secret. Not here: hosts (host_record), what may be done with them.
// Source: the design's compatibility notes, 1.1, 1.5 and 2.1. Thread: functions, any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::store {

// Who wrote a record, and when in milliseconds since 1970; empty: nobody known, not known.
struct Written {
  std::string created_by = {};
  std::string updated_by = {};
  std::optional<std::int64_t> created_on = {};
  std::optional<std::int64_t> updated_on = {};
};

struct User {
  std::string name;               // "username"
  std::string password = {};      // bcrypt; empty: cannot log in with one
  std::string backing = "redis";  // or "oidc"
  bool disabled = false;          // may not log in, and has no session
  bool password_expired = false;  // was made for the first log-in alone; pages ask for another
  Written written = {};
};

// A session; its user is who created it.
struct AuthToken {
  std::string token;
  bool is_valid = true;
  std::vector<std::string> groups = {};
  Written written = {};
};

struct DnsProvider {
  std::string id;
  std::string name;
  std::string type;  // "dnsProvider": "Cloudflare", "DigitalOcean", "PorkBun", "DuckDns"
  // Every other field: what the vendor wants, most of it secret.
  std::map<std::string, std::string, std::less<>> settings = {};
  Written written = {};

  // Whether a secret was replaced by asterisks: later versions of the old software keep them
  // elsewhere, and this record alone cannot be used.
  [[nodiscard]] bool is_masked() const;
};

struct Domain {
  std::string name;          // "domain"
  std::string provider_id;   // "dnsProvider_id"
  std::string zone_id = {};  // "zoneId"; some vendors have none
  Written written = {};
};

// The certificate of a name or, literally, of a wildcard: JSON in one text.
struct Certificate {
  // What rows of DNS-01 have as their end, so that the old software's HTTP-01 job, which looks at
  // every row, leaves them alone.
  static constexpr std::int64_t dns01_expiry = 4120307657;

  std::string name;  // of its key; no field
  std::string fullchain_pem;
  std::string privkey_pem;
  std::string cert_pem = {};  // very old rows have none
  std::string csr_pem = {};
  std::optional<std::int64_t> expiry = {};       // seconds since 1970
  std::optional<std::int64_t> real_expiry = {};  // the same, where `expiry` is dns01_expiry
  std::optional<std::int64_t> fence = {};        // of the runner that got it (Lease::token)

  // When it ends, in seconds since 1970; nullopt: only the certificate itself says.
  [[nodiscard]] std::optional<std::int64_t> end() const;
};

// T is one of those above; `key` is the record's. Errors: invalid (names the field and what was
// expected; the field that names it is not the key's).
template <class T>
Result<T> from(std::string_view key, const Record& record);
template <>
Result<User> from(std::string_view key, const Record& record);
template <>
Result<AuthToken> from(std::string_view key, const Record& record);
template <>
Result<DnsProvider> from(std::string_view key, const Record& record);
template <>
Result<Domain> from(std::string_view key, const Record& record);
template <>
Result<Certificate> from(std::string_view key, const Record& record);
Record record_of(const User& user);
Record record_of(const AuthToken& token);
Record record_of(const DnsProvider& provider);
Record record_of(const Domain& domain);
Record record_of(const Certificate& certificate);

// Errors: not_found, invalid (names key and field), those of Store::get.
template <class T>
Result<T> load(Store& store, std::string_view name, const Deadline& by);
// Errors: conflict (it exists), those of Store::create.
template <class T>
Result<void> create(Store& store, const T& item, Ttl ttl, const Deadline& by);
// A record that was to end still ends then. `updated_on` becomes now. Errors: those of
// Store::update.
template <class T>
Result<void> save(Store& store, const T& item, const Deadline& by);
// false: was not there.
template <class T>
Result<bool> remove(Store& store, std::string_view name, const Deadline& by);
// In the order of keys; a broken record stops nothing: `broken` is told. Neither may call the
// store. For certificates all keys of the store are looked through. Errors: those of Store::scan.
template <class T>
Result<void> for_each(Store& store, const std::function<void(T&& item)>& each,
                      const std::function<void(std::string_view key, const Error&)>& broken,
                      const Deadline& by);

}  // namespace proxycore::store
