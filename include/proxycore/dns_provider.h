// dns::Provider: the few things a DNS vendor has to do for us: list its zones, add a TXT record,
// remove that record again.
//
// Built-in vendors, C plugins and an embedder's own are all behind this interface (lib/dns/registry
// makes them by type and settings). Names of zones and records are canonical: lower case, A-labels,
// no dot at the end. Calls block; what they may take is their Deadline. A vendor that asks for
// patience is obeyed: a short Retry-After is waited for inside the call, a long one becomes
// Errc::busy with retry_after_s. Not here: ACME, whether a record is seen already (propagation).
// Owner: the control plane; never a worker. Thread: one call at a time for each Provider.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

// One setting that a provider wants, for people to fill in.
struct Field {
  std::string name;      // key in Settings: "apiKey"
  std::string label;     // for people: "API key"
  bool required = true;  // an optional one may be missing or empty
  bool secret = false;   // never shown again, kept sealed
  std::string help = {};
};

struct ProviderInfo {
  std::string type;  // as records have it in "dnsProvider": "Cloudflare", "rfc2136"
  std::string title;
  std::vector<Field> fields = {};
  bool several_values = true;   // whether one name can have two TXT values at once
  Millis propagation{120'000};  // how long its records take at most until they are seen
  Millis interval{5'000};       // between two looks
};

struct Zone {
  std::string name;
  std::string id = {};  // the vendor's own; some have none
};

struct Txt {
  std::string name;         // relative to the zone; "@" is the zone itself
  std::string value;        // unquoted, 1..255 bytes
  std::uint32_t ttl = 120;  // seconds; a provider with a higher minimum takes that
};

// Field name -> value.
using Settings = std::map<std::string, std::string, std::less<>>;

// Errors of every call: denied (the vendor does not accept the credentials, or not for this),
// not_found (no such zone), busy (with retry_after_s if the vendor said when), limit (a quota),
// invalid (the vendor does not take the record), conflict, protocol (an answer that makes no
// sense), io (the vendor is out of order), and those of a connection: timeout, cancelled, refused,
// closed. `detail` has the vendor's own words and no credentials.
class Provider {
 public:
  virtual ~Provider() = default;

  [[nodiscard]] virtual const ProviderInfo& info() const noexcept = 0;

  // Whether the credentials are good. Changes nothing.
  virtual Result<void> check(const Deadline& by) = 0;

  // All zones that the credentials reach.
  virtual Result<std::vector<Zone>> zones(const Deadline& by) = 0;

  // Adds a value beside those that the name has already. A value that is there already is success.
  // Gives the vendor's id of the record, empty if it has none.
  virtual Result<std::string> add(const Zone& zone, const Txt& record, const Deadline& by) = 0;

  // Removes that value alone; one that is not there is success. `id` is what add() gave; empty: the
  // record is found by its value.
  virtual Result<void> remove(const Zone& zone, const Txt& record, std::string_view id,
                              const Deadline& by) = 0;
};

}  // namespace proxycore::dns
