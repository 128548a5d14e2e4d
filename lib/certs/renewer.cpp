#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "certs/acme_issuer.h"
#include "certs/issuers.h"
#include "certs/journal.h"
#include "certs/ledger.h"
#include "certs/notice.h"
#include "certs/providers.h"
#include "certs/runner.h"
#include "certs/sealer.h"
#include "dns/contract.h"
#include "dns/plugin.h"
#include "dns/registry.h"
#include "dns/resolver.h"
#include <proxycore/renew.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include <dirent.h>

#include <fmt/format.h>

namespace proxycore {

namespace {

namespace log = base::log;

constexpr std::size_t max_pem = std::size_t{4} << 20;
constexpr std::size_t max_key_file = 4'096;

// The plugins of a directory, in the order of their names.
Result<std::vector<std::string>> plugins_in(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(directory.c_str()), closedir);
  if (!open) {
    return Error{errno == ENOENT ? Errc::not_found : Errc::io,
                 fmt::format("renew.plugins: {}: {}", directory, std::strerror(errno))};
  }
  std::vector<std::string> files;
  while (const dirent* entry = readdir(open.get())) {
    const std::string_view name = entry->d_name;
    if (name.ends_with(".so") && !name.starts_with('.')) {
      files.push_back(fmt::format("{}/{}", directory, name));
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<dns::Registry> registry_of(const Config& config, std::vector<Renewer::DnsType>& own) {
  dns::Registry registry = dns::built_in();
  for (Renewer::DnsType& type : own) {
    PX_CHECK(registry.add(
        std::move(type.info),
        [make = std::move(type.make)](const dns::Settings& settings, const dns::Services&) {
          return make(settings);
        }));
  }
  if (config.renew.plugins.empty()) return registry;
  PX_TRY(const auto files, plugins_in(config.renew.plugins));
  for (const std::string& file : files) PX_CHECK(dns::load_plugin(registry, file));
  return registry;
}

// One that certificates are asked of: that of [acme], or of an [[issuer]].
struct Ca {
  std::string name;   // the host of its directory
  Config::Acme acme;  // with its directory and profile
  std::string ca_pem = {};
  std::optional<acme::ExternalAccount> external = {};
  bool is_limited = false;  // as Let's Encrypt is
};

bool is_lets_encrypt(std::string_view directory) {
  return !certs::staging_of(directory).empty();
}

// What an [[issuer]] says; of [acme], the same keys.
Result<Ca> ca_of(const Config::Acme& acme, const Config::Issuer& issuer, std::string_view table) {
  PX_TRY(const client::Url url, client::Url::parse(issuer.directory));
  Ca ca{.name = url.authority(), .acme = acme};
  ca.acme.directory = issuer.directory;
  ca.acme.profile = issuer.profile;
  if (!issuer.ca.empty()) {
    auto pem = base::read_file(issuer.ca, max_pem);
    if (!pem) return std::move(pem).error().within(fmt::format("{}.ca", table));
    ca.ca_pem = *std::move(pem);
  }
  if (issuer.eab_kid.empty()) return ca;
  auto key = base::read_file(issuer.eab_key_file, max_key_file);
  if (!key) return std::move(key).error().within(fmt::format("{}.eab_key_file", table));
  ca.external =
      acme::ExternalAccount{.key_id = issuer.eab_kid, .mac_key = std::string(base::trim(*key))};
  return ca;
}

// In the order in which they are asked.
Result<std::vector<Ca>> cas_of(const Config& config) {
  const Config::Acme& acme = config.acme;
  std::vector<Ca> cas;
  PX_TRY(Ca first, ca_of(acme,
                         {.directory = acme.directory,
                          .ca = acme.ca,
                          .eab_kid = acme.eab_kid,
                          .eab_key_file = acme.eab_key_file,
                          .profile = acme.profile,
                          .origin = {}},
                         "acme"));
  first.is_limited = acme.rate_limits == "letsencrypt" ||
                     (acme.rate_limits == "auto" && is_lets_encrypt(acme.directory));
  if (first.acme.staging.empty()) first.acme.staging = certs::staging_of(acme.directory);
  cas.push_back(std::move(first));
  for (const Config::Issuer& issuer : config.issuers) {
    auto ca = ca_of(acme, issuer, "issuer");
    if (!ca) return std::move(ca).error().within(issuer.origin);
    ca->acme.staging = certs::staging_of(issuer.directory);
    ca->is_limited = acme.rate_limits != "none" && is_lets_encrypt(issuer.directory);
    cas.push_back(*std::move(ca));
  }
  return cas;
}

std::vector<std::string> names_of(const std::vector<Ca>& cas) {
  std::vector<std::string> names;
  names.reserve(cas.size());
  for (const Ca& ca : cas) names.push_back(ca.name);
  return names;
}

Result<std::optional<client::Proxy>> proxy_of(const Config& config) {
  if (config.renew.proxy.empty()) return std::optional<client::Proxy>();
  auto proxy = client::Proxy::parse(config.renew.proxy);
  if (!proxy) return std::move(proxy).error().within("renew.proxy");
  return std::optional(*std::move(proxy));
}

certs::Notice notice_of(const certs::Happening& happening, std::int64_t now_ms) {
  using Event = certs::Notice::Event;
  const certs::Story& story = happening.story;
  return {.event = happening.event == "certificate.issued"   ? Event::issued
                   : happening.event == "certificate.failed" ? Event::failed
                                                             : Event::revoked,
          .name = story.name,
          .words = std::string(happening.words),
          .failures = story.failures,
          .next_ms = story.next_ms,
          .not_after = story.not_after,
          .at_ms = now_ms};
}

DnsAccount account_of(store::DnsProvider&& kept) {
  DnsAccount account{
      .id = std::move(kept.id), .name = std::move(kept.name), .type = std::move(kept.type)};
  for (auto& [name, value] : kept.settings) account.settings.emplace_back(name, std::move(value));
  return account;
}

}  // namespace

class Renewer::Parts {
 public:
  Parts(const Config& config, Store& of, Options options, certs::Sealer with, dns::Registry types,
        std::vector<Ca> ask, std::optional<client::Proxy> through,
        std::unique_ptr<certs::Webhook> told)
      : store(of),
        acme(config.acme),
        now_ms(options.now_ms ? options.now_ms : std::function<std::int64_t()>(base::now_ms)),
        sealer(std::move(with)),
        registry(std::move(types)),
        cas(std::move(ask)),
        circuits(names_of(cas), now_ms),
        proxy(std::move(through)),
        webhook(std::move(told)),
        journal(store, now_ms),
        http({.proxy = proxy}),
        resolver({.servers = acme.resolvers, .authoritative = acme.authoritative}),
        providers(store, sealer, registry, dns::Services{.http = http, .resolver = resolver}),
        runner(store, runner_options(config, std::move(options))) {
    for (const Ca& ca : cas) {
      ledgers.push_back(ca.is_limited ? std::make_unique<certs::Ledger>(store, ca.name, now_ms)
                                      : nullptr);
    }
  }

  Store& store;
  const Config::Acme acme;
  const std::function<std::int64_t()> now_ms;
  const certs::Sealer sealer;
  const dns::Registry registry;
  const std::vector<Ca> cas;
  certs::Circuits circuits;
  std::vector<std::unique_ptr<certs::Ledger>> ledgers;  // of the CAs; null: it has no limits
  const std::optional<client::Proxy> proxy;
  const std::unique_ptr<certs::Webhook> webhook;  // null: nobody is told
  certs::Journal journal;

  std::mutex providers_mutex;  // guards what people do with accounts, and the sweep
  client::HttpClient http;
  dns::Resolver resolver;
  certs::Providers providers;

  std::mutex mutex;  // guards the next
  bool running = false;
  std::stop_source stop;
  certs::Runner runner;

 private:
  certs::Runner::Options runner_options(const Config& config, Renewer::Options&& given) {
    certs::Runner::Options options;
    options.acme = acme;
    options.parallel = config.renew.parallel;
    for (const auto& declared : config.hosts) options.declared.push_back(declared.host);
    options.issuer = [this] { return issuer(); };
    options.seal = [this](std::string_view place, std::string_view text) {
      return sealer.seal(place, text);
    };
    options.unseal = [this](std::string_view place, std::string_view text) {
      return sealer.open(place, text);
    };
    options.sweep = [this](const std::function<bool(std::string_view)>& is_worked_on,
                           const Deadline& by) {
      const std::lock_guard lock(providers_mutex);
      refresh_zones(by);
      const auto swept = journal.sweep(providers, is_worked_on, by);
      if (!swept) log::warning("dns.sweep", {{"why", swept.error().message()}});
    };
    options.happened = [this](const certs::Happening& happening) {
      if (webhook) webhook->tell(notice_of(happening, now_ms()));
    };
    options.progress = std::move(given.progress);
    options.now_ms = now_ms;
    options.between_orders = given.pace;
    options.lease = given.lease;
    return options;
  }

  // All CAs, for one thread.
  Result<std::unique_ptr<certs::Issuer>> issuer() {
    std::vector<certs::Issuers::Ca> all;
    for (std::size_t i = 0; i < cas.size(); ++i) {
      const Ca& ca = cas[i];
      certs::AcmeIssuer::Parts parts{.acme = ca.acme,
                                     .ca_pem = ca.ca_pem,
                                     .external = ca.external,
                                     .proxy = proxy,
                                     .store = store,
                                     .sealer = sealer,
                                     .registry = registry,
                                     .journal = journal};
      certs::Issuers::Ca one{.name = ca.name,
                             .issuer = std::make_unique<certs::AcmeIssuer>(parts),
                             .ledger = ledgers[i].get()};
      if (!ca.acme.staging.empty()) {
        PX_TRY(const client::Url url, client::Url::parse(ca.acme.staging));
        one.staging_name = url.authority();
        parts.acme.directory = ca.acme.staging;
        parts.external.reset();
        one.staging = std::make_unique<certs::AcmeIssuer>(std::move(parts));
      }
      all.push_back(std::move(one));
    }
    return std::unique_ptr<certs::Issuer>(
        std::make_unique<certs::Issuers>(std::move(all), circuits));
  }

  // What has become of the zones at the vendors, once a day.
  void refresh_zones(const Deadline& by) {
    constexpr std::int64_t day_ms = 86'400'000;
    if (now_ms() < refresh_ms_) return;
    const bool first = std::exchange(refresh_ms_, now_ms() + day_ms) == 0;
    if (first) return;
    const auto accounts = providers.list(by);
    if (!accounts) return;
    for (const store::DnsProvider& account : *accounts) {
      const auto zones = providers.refresh(account.id, by);
      if (!zones)
        log::warning("dns.zones", {{"account", account.id}, {"why", zones.error().detail}});
    }
  }

  std::int64_t refresh_ms_ = 0;  // under providers_mutex
};

Renewer::Renewer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Renewer::~Renewer() = default;

Result<std::unique_ptr<Renewer>> Renewer::create(const Config& config, Store& store,
                                                 Options options) {
  PX_TRY(certs::Sealer sealer, certs::Sealer::open(config.renew.key_file));
  PX_TRY(dns::Registry registry, registry_of(config, options.dns_types));
  PX_TRY(auto cas, cas_of(config));
  PX_TRY(auto proxy, proxy_of(config));
  std::unique_ptr<certs::Webhook> webhook;
  if (!config.renew.webhook.empty()) {
    PX_TRY(webhook,
           certs::Webhook::create({.url = config.renew.webhook, .http = {.proxy = proxy}}));
  }
  return std::unique_ptr<Renewer>(new Renewer(std::make_unique<Parts>(
      config, store, std::move(options), std::move(sealer), std::move(registry), std::move(cas),
      std::move(proxy), std::move(webhook))));
}

Result<void> Renewer::run() {
  {
    const std::lock_guard lock(parts_->mutex);
    if (std::exchange(parts_->running, true)) return Error{Errc::invalid, "it runs already"};
  }
  auto done = parts_->runner.run(parts_->stop.get_token());
  const std::lock_guard lock(parts_->mutex);
  parts_->running = false;
  return done;
}

void Renewer::stop() {
  parts_->stop.request_stop();
}

void Renewer::declare(std::vector<Host> hosts) {
  parts_->runner.declare(std::move(hosts));
}

Result<Renewer::Summary> Renewer::run_once(const Deadline& by) {
  auto summary = parts_->runner.run_once(by);
  // What was told has to arrive before the process ends.
  constexpr Millis patience{120'000};
  if (parts_->webhook) {
    parts_->webhook->drain(
        Deadline(std::min(by.at(), Deadline::Clock::now() + patience), by.stop()));
  }
  return summary;
}

Result<CertificateStory> Renewer::issue(std::string_view name, const Deadline& by) {
  PX_TRY(certs::Story story, parts_->runner.issue(name, by));
  return CertificateStory(std::move(story));
}

Result<void> Renewer::revoke(std::string_view name, int reason, const Deadline& by) {
  return parts_->runner.revoke(name, reason, by);
}

Result<std::vector<CertificateStory>> Renewer::stories(const Deadline& by) {
  return certificate_stories(parts_->store, by);
}

Result<CertificateStory> Renewer::story(std::string_view name, const Deadline& by) {
  auto story = certs::load_story(parts_->store, name, by);
  if (story) return CertificateStory(*std::move(story));
  if (story.error().code != Errc::not_found) return std::move(story).error();
  return Error{Errc::not_found, fmt::format("{}: nothing has happened to it yet", name)};
}

Result<DnsAccount> Renewer::save_dns(const DnsAccount& account, const Deadline& by) {
  store::DnsProvider kept{.id = account.id, .name = account.name, .type = account.type};
  for (const auto& [name, value] : account.settings) kept.settings.insert_or_assign(name, value);
  kept.written.updated_by = account.changed_by;
  if (account.id.empty()) kept.written.created_by = account.changed_by;
  const std::lock_guard lock(parts_->providers_mutex);
  PX_TRY(auto now, parts_->providers.save(std::move(kept), by));
  DnsAccount saved = account;
  saved.id = std::move(now.id);
  for (auto& [name, value] : saved.settings) value.clear();
  saved.zones.clear();
  for (dns::Zone& zone : now.zones) saved.zones.push_back(std::move(zone.name));
  return saved;
}

Result<std::vector<DnsAccount>> Renewer::dns_accounts(const Deadline& by) {
  std::vector<DnsAccount> accounts;
  {
    const std::lock_guard lock(parts_->providers_mutex);
    PX_TRY(auto kept, parts_->providers.list(by));
    for (auto& one : kept) accounts.push_back(account_of(std::move(one)));
  }
  PX_CHECK(store::for_each<store::Domain>(
      parts_->store,
      [&](store::Domain&& domain) {
        for (DnsAccount& account : accounts) {
          if (account.id == domain.provider_id) account.zones.push_back(domain.name);
        }
      },
      [](std::string_view, const Error&) {}, by));
  return accounts;
}

Result<bool> Renewer::remove_dns(std::string_view id, const Deadline& by) {
  const std::lock_guard lock(parts_->providers_mutex);
  return parts_->providers.remove(id, by);
}

Result<std::vector<std::string>> Renewer::refresh_dns(std::string_view id, const Deadline& by) {
  const std::lock_guard lock(parts_->providers_mutex);
  PX_TRY(auto zones, parts_->providers.refresh(id, by));
  std::vector<std::string> names;
  names.reserve(zones.size());
  for (dns::Zone& zone : zones) names.push_back(std::move(zone.name));
  return names;
}

Result<bool> Renewer::test_dns_plugin(
    const Config& config, const std::string& path,
    const std::vector<std::pair<std::string, std::string>>& settings, std::string_view zone,
    const std::function<void(std::string_view line)>& told, const Deadline& by) {
  dns::Registry registry;
  PX_CHECK(dns::load_plugin(registry, path));
  PX_TRY(auto proxy, proxy_of(config));
  client::HttpClient http({.proxy = std::move(proxy)});
  dns::Resolver resolver(
      {.servers = config.acme.resolvers, .authoritative = config.acme.authoritative});
  dns::Settings given;
  for (const auto& [name, value] : settings) given.insert_or_assign(name, value);
  PX_TRY(const auto provider, registry.make(registry.types().front()->type, given,
                                            dns::Services{.http = http, .resolver = resolver}));
  const dns::ContractOptions options{.zone = std::string(zone), .values = dns::values_by(resolver)};
  bool good = true;
  const auto tell = [&](const dns::Finding& finding) {
    good = good && finding.holds;
    told(fmt::format("{}  {}{}{}", finding.holds ? "ok    " : "FAILED", finding.claim,
                     finding.why.empty() ? "" : ": ", finding.why));
  };
  (void)dns::try_contract(*provider, options, tell, by);
  return good;
}

std::vector<dns::ProviderInfo> Renewer::dns_types() const {
  std::vector<dns::ProviderInfo> types;
  for (const dns::ProviderInfo* info : parts_->registry.types()) types.push_back(*info);
  return types;
}

std::string Renewer::metrics() const {
  std::string text = parts_->runner.metrics() + parts_->circuits.metrics();
  text += certs::Ledger::metrics_head();
  for (const auto& ledger : parts_->ledgers) {
    if (ledger) text += ledger->metrics();
  }
  return text;
}

}  // namespace proxycore
