#include "certs/acme_issuer.h"

#include "acme/dns01.h"
#include "acme/http01.h"
#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include "tls/digest.h"
#include "tls/keys.h"

#include <array>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace keys = host::keys;
namespace fields = host::fields;

// What is left behind by a runner that was killed ends by itself.
constexpr Seconds challenge_life{3'600};

std::string account_place(std::string_view directory) {
  const auto digest = tls::sha256(directory);
  return fmt::format("{}{}", keys::acme_account_prefix, base::hex(std::span(digest).first<8>()));
}

// The lock that older software on the same store holds while it gets a certificate for a name.
class OldLock final : public Lease {
 public:
  static Result<std::unique_ptr<Lease>> take(Store& store, const std::string& name,
                                             const std::string& owner, Seconds life,
                                             const Deadline& by) {
    auto taken = store.create(keys::issue_lock(name), {{std::string(text_field), owner}}, life, by);
    if (taken) return std::unique_ptr<Lease>(new OldLock(store, name, owner, life));
    if (taken.error().code != Errc::conflict) return std::move(taken).error();
    return Error{Errc::conflict, fmt::format("{}: somebody else is getting one", name)};
  }
  OldLock(const OldLock&) = delete;
  OldLock& operator=(const OldLock&) = delete;
  ~OldLock() override {
    (void)store_.erase_if(
        keys::issue_lock(name_), [this](const Record& record) { return is_ours(record); },
        Deadline::in(Millis{5'000}));
  }

  Result<void> renew(const Deadline& by) override {
    PX_TRY(const Record record, store_.get(keys::issue_lock(name_), by));
    if (!is_ours(record)) return Error{Errc::conflict, "somebody else has it"};
    return store_.put(keys::issue_lock(name_), record, life_, by);
  }
  [[nodiscard]] std::uint64_t token() const noexcept override { return 0; }

 private:
  OldLock(Store& store, std::string name, std::string owner, Seconds life)
      : store_(store), name_(std::move(name)), owner_(std::move(owner)), life_(life) {}

  [[nodiscard]] bool is_ours(const Record& record) const {
    return fields::text(record, text_field) == owner_;
  }

  Store& store_;
  const std::string name_;
  const std::string owner_;
  const Seconds life_;
};

// What is held while a certificate is got, which may take longer than it lives by itself. Whoever
// is killed has given it up soon.
class Holding {
 public:
  explicit Holding(Seconds life)
      : thread_([this, life](const std::stop_token& stop) { keep(life, stop); }) {}

  void add(std::unique_ptr<Lease> lease) {
    const std::lock_guard lock(mutex_);
    leases_.push_back(std::move(lease));
  }
  [[nodiscard]] bool empty() const {
    const std::lock_guard lock(mutex_);
    return leases_.empty();
  }

 private:
  void keep(Seconds life, const std::stop_token& stop) {
    std::condition_variable_any wake;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake.wait_for(lock, stop, Millis(life) / 3, [] { return false; });
      if (stop.stop_requested()) return;
      for (const auto& lease : leases_) (void)lease->renew(Deadline::in(Millis(life) / 6, stop));
    }
  }

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Lease>> leases_;  // under mutex_
  std::jthread thread_;                         // the last: it ends before they do
};

}  // namespace

Result<CaAccount> load_ca_account(Store& store, const Sealer& sealer, std::string_view directory,
                                  const Deadline& by) {
  const std::string place = account_place(directory);
  auto record = store.get(place, by);
  if (!record && record.error().code == Errc::not_found) {
    PX_TRY(const std::string key, tls::generate_key(tls::KeyType::ecdsa));
    PX_TRY(std::string sealed, sealer.seal(place + ".key", key));
    const Record fresh{{"directory", std::string(directory)}, {"key", std::move(sealed)}};
    const auto created = store.create(place, fresh, {}, by);
    // Another runner may have been faster.
    if (!created && created.error().code != Errc::conflict) return created.error();
    record = store.get(place, by);
  }
  if (!record) return std::move(record).error();
  CaAccount account{.url = fields::text(*record, "url"), .key_pem = {}};
  PX_TRY(account.key_pem, sealer.open(place + ".key", fields::text(*record, "key")));
  return account;
}

Result<void> keep_account_url(Store& store, std::string_view directory, const std::string& url,
                              const Deadline& by) {
  const auto change = [&](const Record& before) -> Result<Record> {
    if (before.empty()) return Error{Errc::not_found, "the account at the CA is gone"};
    Record next = before;
    next.insert_or_assign("url", url);
    return next;
  };
  return store.update(account_place(directory), change, Life::for_ever, by);
}

// Keeps an account as soon as there is one.
class AcmeIssuer::Accounted final : public acme::Progress {
 public:
  Accounted(AcmeIssuer& issuer, acme::Progress& outer, const Deadline& by)
      : issuer_(issuer), outer_(outer), by_(by) {}

  Result<void> on_step(acme::Step step, std::string_view detail) override {
    return outer_.on_step(step, detail);
  }
  Result<void> on_order(std::string_view url) override { return outer_.on_order(url); }
  Result<void> on_account(const acme::Account& account) override {
    const Parts& parts = issuer_.parts_;
    auto kept = keep_account_url(parts.store, parts.acme.directory, account.url, by_);
    if (!kept) {
      issuer_.hurdle_ = Hurdle::ours;
      return kept;
    }
    return outer_.on_account(account);
  }

 private:
  AcmeIssuer& issuer_;
  acme::Progress& outer_;
  const Deadline& by_;
};

AcmeIssuer::AcmeIssuer(Parts parts)
    : parts_(std::move(parts)),
      http_({.proxy = parts_.proxy}),
      resolver_({.servers = parts_.acme.resolvers, .authoritative = parts_.acme.authoritative}),
      providers_(parts_.store, parts_.sealer, parts_.registry,
                 dns::Services{.http = http_, .resolver = resolver_}) {}

Result<acme::Client*> AcmeIssuer::client(const Deadline& by) {
  if (!client_) {
    PX_TRY(CaAccount account,
           load_ca_account(parts_.store, parts_.sealer, parts_.acme.directory, by));
    acme::Client::Options options{.directory = parts_.acme.directory,
                                  .account_key = std::move(account.key_pem),
                                  .account_url = std::move(account.url),
                                  .ca_pem = parts_.ca_pem,
                                  .proxy = parts_.proxy ? parts_.proxy->url : std::string()};
    PX_TRY(client_, acme::Client::create(std::move(options)));
  }
  return &*client_;
}

Result<std::string> AcmeIssuer::obtain(const Commission& commission, Progress& progress,
                                       const Deadline& by) {
  hurdle_ = Hurdle::ca;
  PX_TRY(acme::Client * ca, client(by));
  const Wanted& wanted = commission.wanted;

  Holding holding(parts_.lock_life);
  if (wanted.method == Method::http01) {
    std::array<unsigned char, 32> number = tls::sha256(commission.key_pem);
    PX_TRY(auto lock,
           OldLock::take(parts_.store, wanted.name, base::hex(number), parts_.lock_life, by));
    holding.add(std::move(lock));
  }

  acme::Http01 http01(
      {.put =
           [this](const acme::Proof& proof, const Deadline& until) {
             return parts_.store.put(keys::challenge(proof.identifier, proof.token),
                                     {{std::string(text_field), proof.key_authorization}},
                                     challenge_life, until);
           },
       .remove =
           [this](const acme::Proof& proof) {
             (void)parts_.store.erase(keys::challenge(proof.identifier, proof.token),
                                      Deadline::in(Millis{10'000}));
           }});

  std::vector<std::shared_ptr<dns::Provider>> providers;
  JournalOf journal(parts_.journal, wanted.id());
  acme::Dns01 dns01(
      resolver_, journal,
      [&](std::string_view name, const Deadline& until) -> Result<acme::Dns01::Target> {
        PX_TRY(Providers::Found found, providers_.find(name, until));
        if (!found.provider->info().several_values && holding.empty()) {
          // Another certificate's value would take the place of ours.
          PX_TRY(auto lease, parts_.store.lock("dns:" + found.zone.name, parts_.lock_life, until));
          holding.add(std::move(lease));
        }
        providers.push_back(found.provider);
        return acme::Dns01::Target{.provider = found.provider.get(),
                                   .zone = std::move(found.zone),
                                   .account = std::move(found.id)};
      });

  acme::ObtainOptions options{
      .names = wanted.identifiers,
      .key_pem = commission.key_pem,
      .profile = parts_.acme.profile,
      .preferred_issuer = parts_.acme.preferred_chain,
      .resume_order_url = commission.order_url,
      .registration = {.agree_tos = parts_.acme.agree_tos, .external = parts_.external}};
  if (!parts_.acme.email.empty()) {
    options.registration.contact.push_back("mailto:" + parts_.acme.email);
  }
  if (!commission.replaces.empty()) {
    if (auto id = acme::renewal_id(commission.replaces)) options.replaces = *std::move(id);
  }
  acme::Solver* const solver =
      wanted.method == Method::http01 ? static_cast<acme::Solver*>(&http01) : &dns01;
  Accounted accounted(*this, progress, by);
  PX_TRY(acme::Obtained obtained, acme::obtain(*ca, options, std::span(&solver, 1), accounted, by));
  return std::move(obtained.chain_pem);
}

Result<acme::RenewalInfo> AcmeIssuer::proposal(std::string_view /*ca*/, std::string_view chain_pem,
                                               const Deadline& by) {
  PX_TRY(acme::Client * ca, client(by));
  PX_TRY(const std::string id, acme::renewal_id(chain_pem));
  return ca->renewal_info(id, by);
}

Result<void> AcmeIssuer::revoke(std::string_view /*ca*/, const CertBundle& bundle, int reason,
                                const Deadline& by) {
  PX_TRY(acme::Client * ca, client(by));
  // Its own key will do, whoever's account it is of.
  return ca->revoke_with_key(bundle.chain_pem, bundle.key_pem, reason, by);
}

const acme::Problem& AcmeIssuer::problem() const noexcept {
  return client_ ? client_->problem() : none_;
}

}  // namespace proxycore::certs
