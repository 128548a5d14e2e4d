// Certificates: what a handshake presents, where it comes from, and where it is kept.
//
// A server asks its sources in order for the name a client wants (SNI), on a thread of its own: an
// answer may take its time, and only that client waits. What a source gives passes a gate (it
// parses, the key fits, the names cover, the dates hold, a handshake with it succeeds) before it
// is served, and is then shared by all workers until it is forgotten.
// Source: RFC 6066 §3 (SNI), RFC 9525 §6 (names). Thread: said at each.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <string>
#include <string_view>
#include <vector>

namespace proxycore {

// PEM text (RFC 7468). The key stays with whoever holds this: it is never logged or shown.
struct CertBundle {
  std::string chain_pem;  // the certificate, then what signed it, in that order; no root needed
  std::string key_pem;    // its private key: PKCS #8, PKCS #1 or SEC 1, not encrypted
};

// Gives certificates by name. Implement it to serve certificates of your own.
class CertSource {
 public:
  virtual ~CertSource() = default;
  // The certificates kept under exactly this name: canonical (HostName), or a wildcard such as
  // "*.example.com". Several where they differ in the type of their keys: the client's signature
  // algorithms choose. The server itself asks for the wildcards of a name, after the name.
  // Errors: not_found (none of that name: the next source is asked); anything else is logged, and
  // counts as not_found for a while. Thread: one of the server's, one call at a time.
  virtual Result<std::vector<CertBundle>> find(std::string_view name, const Deadline& by) = 0;
};

// The certificates in a Store, one record a name, as the seed keeps them ("<name>:latest").
class CertStore final : public CertSource {
 public:
  // The store outlives this.
  explicit CertStore(Store& store) : store_(store) {}

  Result<std::vector<CertBundle>> find(std::string_view name, const Deadline& by) override;
  // Keeps `bundle` for `name`, in place of what was there. It has to pass the gate first.
  // Errors: invalid (says what the gate found), and those of Store::put. Thread: any.
  Result<void> put(std::string_view name, const CertBundle& bundle, const Deadline& by);
  // false: there was none. Errors: those of Store::erase. Thread: any.
  Result<bool> erase(std::string_view name, const Deadline& by);

 private:
  Store& store_;
};

// A certificate for `names`, signed by its own key: for tests and trials. P-256, a year.
// Errors: invalid (a name).
Result<CertBundle> self_signed(const std::vector<std::string>& names);

}  // namespace proxycore
