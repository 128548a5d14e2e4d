// Renewer: gets certificates for hosts and renews them, unattended: the runner that proxyd has
// inside on one machine, and that proxy-renew is.
//
// It looks at the hosts of a store and of the configuration, decides which certificates they want,
// gets them from a CA (acme.h), keeps them (cert.h) and sees to it that they never end. Any number
// of runners may work on one store: each name is one's at a time. What happened to a name, what
// comes next and why is its story, kept in the store.
// Source: RFC 8555, RFC 9773. Thread: said at each; every function blocks.
#pragma once

#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/dns_provider.h>
#include <proxycore/host.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore {

// One try to get, renew or revoke a certificate.
struct CertificateAttempt {
  std::int64_t at_ms = 0;  // milliseconds since 1970
  std::string what = {};   // "issue", "renew", "rehearse", "revoke"
  bool ok = false;
  std::string step = {};   // where it ended: "validate", "finalize", ...
  std::string words = {};  // what the CA, or whoever failed, said; empty if all went well
};

enum class CertificateState : std::uint8_t {
  waiting,  // none yet; `next_ms` says when it is tried
  working,  // somebody is at it
  valid,    // there is one; `next_ms` says when it is renewed
  failing,  // the last try failed; there may be a valid one still
  idle,     // none is wanted until somebody asks for a name, or `why` is seen to
};
// "waiting", ...: the enumerator's name.
std::string_view name_of(CertificateState state) noexcept;

struct CertificateStory {
  static constexpr std::size_t max_attempts = 20;

  std::string name = {};                      // "app.example.com", "*.example.com"
  std::vector<std::string> identifiers = {};  // the names in the certificate
  std::string host = {};                      // the host, or pattern, that it is for
  CertificateState state = CertificateState::waiting;
  std::int64_t next_ms = 0;     // of the next action, milliseconds since 1970; 0: none
  std::string why = {};         // why then
  std::uint32_t failures = 0;   // since the last success
  std::int64_t not_before = 0;  // seconds since 1970; 0: there is none
  std::int64_t not_after = 0;   // seconds since 1970
  std::string issuer = {};      // as the certificate names it
  std::string serial = {};      // hex
  std::string ca = {};          // who gave it: the host of its directory; empty: not known
  std::vector<CertificateAttempt> attempts = {};  // the newest first, at most max_attempts
};

// {"name":"app.example.com","state":"valid",...}: times in RFC 3339, for scripts and pages.
std::string json_of(const CertificateStory& story);

// A provider's credentials, to be checked and kept.
struct DnsAccount {
  std::string id = {};    // 16 hex digits; empty: a new one
  std::string name = {};  // for people
  std::string type =
      {};  // "Cloudflare", "DigitalOcean", "PorkBun", "DuckDns", "rfc2136", a plugin's
  std::vector<std::pair<std::string, std::string>> settings = {};  // secrets are never given back
  std::vector<std::string> zones = {};                             // what it serves
  std::string changed_by = {};  // who saves it, for its record; empty: nobody known
};

class Renewer {
 public:
  // Told of each step of one certificate, for a terminal: "app.example.com", "validate", details.
  using Progress =
      std::function<void(std::string_view name, std::string_view step, std::string_view detail)>;

  // A type of DNS provider that an application brings, besides those built in and the plugins'.
  struct DnsType {
    dns::ProviderInfo info;
    // `settings` has every required field and no unknown one.
    std::function<Result<std::unique_ptr<dns::Provider>>(const dns::Settings& settings)> make;
  };

  struct Options {
    std::vector<DnsType> dns_types = {};
    Progress progress = {};  // any thread; empty: nobody is told
    // The wall clock, in milliseconds since 1970; empty: the system's.
    std::function<std::int64_t()> now_ms = {};
    Seconds lease{60};   // how long the names of a runner that has died are nobody else's
    Millis pace{1'000};  // between two orders, so that no CA is flooded
  };

  struct Summary {
    std::size_t issued = 0;
    std::size_t renewed = 0;
    std::size_t failed = 0;
    std::size_t waiting = 0;  // for a later time
  };

  // The store outlives it. Asks nobody yet. Errors: invalid (acme.*, renew.*: names the key), io,
  // denied (the key file).
  static Result<std::unique_ptr<Renewer>> create(const Config& config, Store& store,
                                                 Options options);
  static Result<std::unique_ptr<Renewer>> create(const Config& config, Store& store) {
    return create(config, store, Options{});
  }
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;
  ~Renewer();

  // Works until stop(). Errors: invalid (runs already).
  Result<void> run();
  // Any thread.
  void stop();
  // In place of the hosts of the configuration, which has been read again. Any thread.
  void declare(std::vector<Host> hosts);
  // Does what is due now, and returns. Errors: those of the store.
  Result<Summary> run_once(const Deadline& by);

  // One certificate, now, whatever its time: of a name that a host is for. Errors: not_found (no
  // host is for it), busy (another runner is at it; the CA wants us to wait), denied (what the CA
  // said), and those of the store.
  Result<CertificateStory> issue(std::string_view name, const Deadline& by);
  // Tells the CA not to vouch for it any more, and forgets it; `reason`: RFC 5280 §5.3.1. With 1
  // (key compromise) a new one is got at once. Errors: not_found (we have none), as above.
  Result<void> revoke(std::string_view name, int reason, const Deadline& by);

  // In the order of names.
  Result<std::vector<CertificateStory>> stories(const Deadline& by);
  // Errors: not_found.
  Result<CertificateStory> story(std::string_view name, const Deadline& by);

  // Keeps a DNS provider once its credentials are found good. Errors: denied (the vendor's words),
  // invalid (a setting), conflict (a zone that another one has).
  Result<DnsAccount> save_dns(const DnsAccount& account, const Deadline& by);
  Result<std::vector<DnsAccount>> dns_accounts(const Deadline& by);
  Result<bool> remove_dns(std::string_view id, const Deadline& by);
  // Asks the vendor for the zones of an account again. Errors: not_found, those of the vendor.
  Result<std::vector<std::string>> refresh_dns(std::string_view id, const Deadline& by);
  // Runs the contract that every DNS provider keeps on a plugin, in a zone of a test account. Each
  // line tells one case. false: one of them failed. Errors: what open() of it said.
  // `config`: acme.resolvers and acme.authoritative, which are asked what stands in the zone.
  static Result<bool> test_dns_plugin(
      const Config& config, const std::string& path,
      const std::vector<std::pair<std::string, std::string>>& settings, std::string_view zone,
      const std::function<void(std::string_view line)>& told, const Deadline& by);

  // Which types of DNS provider there are, and which settings each wants.
  [[nodiscard]] std::vector<dns::ProviderInfo> dns_types() const;
  // Counters, in the text format of metrics: certificates by state, attempts, failures, the ends.
  [[nodiscard]] std::string metrics() const;

 private:
  class Parts;
  explicit Renewer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// The stories that a store keeps, without a runner. In the order of names. Errors: those of the
// store.
Result<std::vector<CertificateStory>> certificate_stories(Store& store, const Deadline& by);

// As other software lays certificates out: "live/NAME/fullchain.pem" and what belongs to it, or
// "certificates/CA/NAME/NAME.crt".
enum class CertificateLayout : std::uint8_t { certbot, certmagic };

struct CertificateExport {
  CertificateLayout layout = CertificateLayout::certbot;
  std::string directory;                // made if it is not there
  std::vector<std::string> names = {};  // empty: all that the store keeps
  bool replace = false;                 // what is there already
};
// Writes certificates of a store, and their keys, to files; how many. `config`: its CAs. Errors:
// not_found (a name), conflict (a file is there already), invalid, denied, io, those of the store.
Result<std::size_t> export_certificates(const Config& config, Store& store,
                                        const CertificateExport& wanted, const Deadline& by);

}  // namespace proxycore
