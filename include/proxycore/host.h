// Host: one name, or pattern of names, and where its requests go. Also HostName, the canonical
// form of a name, and Route, what the data plane needs of a Host.
//
// A Host is what people edit and stores keep; a Route is immutable, made from a Host once, and
// shared by the workers. Source: the seed's host record (both eras' proxying fields).
// Thread: values; a Route is read by every worker and never changes.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace proxycore {

// The canonical form of host names and patterns: lower case, one trailing dot dropped, IDN as
// A-labels (RFC 5891, mapped by UTS 46), no port. At most 253 bytes, labels of 1-63 bytes of
// letters, digits, '-' and '_'; or an IPv6 address in brackets, as RFC 5952 writes it. In a pattern
// a label may be `*` (exactly one label) or `**` (one or more). A canonical form is its own.
class HostName {
 public:
  // Errors: invalid (says which label and why).
  static Result<std::string> canonical(std::string_view name);
  static Result<std::string> canonical_pattern(std::string_view pattern);

  // canonical() for the data plane: `raw` is a Host field's or :authority's host part, any bytes.
  // The result lies in `raw`, or in `scratch` where more than a trailing dot differs; empty: no
  // host name. ASCII names take no memory but scratch's own.
  static std::string_view normalize(std::string_view raw, std::string& scratch);
};

// One address a host's requests may go to.
struct Target {
  std::string name;         // IPv4, IPv6 without brackets, or a host name resolved when used
  std::uint16_t port = 80;  // 1..65535

  // "127.0.0.1:80", "[::1]:80", "app.internal:80". Errors: invalid (what was expected).
  static Result<Target> parse(std::string_view text);
  // The same form; parse() gives an equal target.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Target&, const Target&) = default;
};

// The targets of a route, in order. Immutable; copies share one list.
class Targets {
 public:
  Targets() = default;
  Targets(std::initializer_list<Target> list) : Targets(std::vector<Target>(list)) {}
  explicit Targets(std::vector<Target> list)
      : list_(std::make_shared<const std::vector<Target>>(std::move(list))) {}

  [[nodiscard]] std::size_t size() const noexcept { return list_ ? list_->size() : 0; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  // Precondition: i < size().
  const Target& operator[](std::size_t i) const noexcept { return (*list_)[i]; }
  [[nodiscard]] const Target& front() const noexcept { return (*this)[0]; }
  [[nodiscard]] const Target* begin() const noexcept { return list_ ? list_->data() : nullptr; }
  [[nodiscard]] const Target* end() const noexcept { return begin() + size(); }
  friend bool operator==(const Targets& one, const Targets& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end());
  }

 private:
  std::shared_ptr<const std::vector<Target>> list_;
};

// Whether the certificates of TLS targets are verified. unset: a record of older software, which
// never did; they are not, and the log says so.
enum class TargetVerify : std::uint8_t { yes, no, unset };

// What people configure. Field names in stores, files and the API are given in quotes where they
// differ; unknown fields of a record are kept by save() but mean nothing here.
struct Host {
  static constexpr std::size_t max_targets = 256;

  std::string host;               // name or pattern; the key
  std::string ip;                 // address or name of the first target
  std::uint16_t target_port = 0;  // "targetPort", 1..65535, required
  // "targets": further ones, "address:port", balanced with the first; at most max_targets.
  std::vector<std::string> targets = {};
  bool forcessl = true;    // redirect http to https where an https listener exists
  bool hsts = false;       // "hsts_enabled": tell browsers to come by https only (RFC 6797)
  bool targetssl = false;  // speak TLS to the targets
  TargetVerify target_verify = TargetVerify::yes;  // "targetVerify": true, false, or not there
  // "targetServerName": whom a TLS target is asked for (SNI), and whose certificate it has to show.
  // Empty: the target's own name or address.
  std::string target_server_name = {};
  // "challengeType": how its certificate is got (RFC 8555 §8). "HTTP-01"; "DNS-01" and, of
  // "*.name", "DNS-01-wildcard"; "wildcardChild": that of its wildcard is enough; "none": none is.
  // Empty: as its name and the configuration want it.
  std::string challenge_type = {};
  bool pass_host = true;  // "host-pass-though" (sic); false: the target's name is sent as Host

  // Milliseconds; absent: the server's defaults ([timeouts] in the configuration).
  std::optional<Millis> connect_timeout = {};     // "connectTimeout", 1..600000
  std::optional<Millis> first_byte_timeout = {};  // "firstByteTimeout", 1..86400000
  std::optional<Millis> idle_timeout = {};        // "idleTimeout", 1..86400000

  // Book-keeping of the record, passed through.
  bool is_cache = false;             // a wildcard hit written back; not a host of its own
  bool is_wildcard = false;          // has or wants a DNS-01 certificate
  std::string wildcard_parent = {};  // empty: none
  std::string created_by = {};       // user names; empty: nobody known
  std::string updated_by = {};
  std::optional<std::int64_t> created_on = {};  // milliseconds since 1970
  std::optional<std::int64_t> updated_on = {};

  // Canonicalises `host`, `ip` and `targets` in place and checks every field.
  // Errors: invalid ("field 'targetPort': 70000 is over 65535").
  Result<void> validate();
};

// How TLS is spoken to the targets of a route. Immutable.
struct TargetTls {
  TargetVerify verify = TargetVerify::yes;
  std::string server_name = {};  // empty: the target's own
  friend bool operator==(const TargetTls&, const TargetTls&) = default;
};

// Who says where a host's requests go. The operator, in the configuration file, may send them
// anywhere; what users save in the store is held against admin.denied_targets and the like.
enum class HostSource : std::uint8_t { store, file };

// A Host as the data plane uses it. Immutable.
struct Route {
  std::string pattern;                   // the matching host or pattern; the metrics label
  Targets targets;                       // never empty
  std::shared_ptr<const TargetTls> tls;  // null: plain HTTP
  HostSource source = HostSource::store;
  bool forcessl = true;
  bool hsts = false;
  bool pass_host = true;
  std::uint32_t stats_id = 0;  // slot of the per-host counters; 0 is "other"
  Millis connect_timeout{0};   // zero: the server's default
  Millis first_byte_timeout{0};
  Millis idle_timeout{0};

  friend bool operator==(const Route& one, const Route& other) {
    const auto members = [](const Route& route) {
      return std::tie(route.pattern, route.targets, route.source, route.forcessl, route.hsts,
                      route.pass_host, route.stats_id, route.connect_timeout,
                      route.first_byte_timeout, route.idle_timeout);
    };
    const bool same_tls = one.tls == other.tls || (one.tls && other.tls && *one.tls == *other.tls);
    return same_tls && members(one) == members(other);
  }
};

// Saves a host under its key. Of a record that is there already, what is no field of Host is kept,
// and who created it and when, unless `host` says. `updated_on` becomes now.
// Errors: invalid (as Host::validate), and those of Store::update.
Result<void> save(Store& store, const Host& host, const Deadline& by);
// Removes it. false: was not there. Errors: invalid (`host` is no name), and those of Store::erase.
Result<bool> remove_host(Store& store, std::string_view host, const Deadline& by);
// A host that old software saved in another spelling ("UPPER.example.com") is found, and removed,
// by that spelling; what is loaded is canonical.
// Errors: not_found, invalid (no name; a broken record, names key and field), those of Store::get.
Result<Host> load_host(Store& store, std::string_view host, const Deadline& by);

}  // namespace proxycore
