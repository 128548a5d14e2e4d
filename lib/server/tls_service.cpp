#include "server/tls_service.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/keys.h"
#include "tls/context.h"
#include "tls/keys.h"

#include <chrono>
#include <span>
#include <utility>

namespace proxycore::server {

namespace {

namespace log = base::log;

constexpr std::string_view fallback_key = "proxycore_fallback_certificate";
constexpr std::string_view chain_field = "chain_pem";
constexpr std::string_view key_field = "key_pem";
constexpr std::string_view fallback_name = "fallback.invalid";  // RFC 6761 §6.4
constexpr Seconds fallback_life = std::chrono::hours{24 * 3650};
constexpr Millis store_limit{2'000};

Result<certs::Directory::Declared> declared_by(const std::vector<Config::CertificateFiles>& files) {
  certs::Directory::Declared declared;
  for (const auto& one : files) {
    auto certificate = certs::load_files(one.chain, one.key);
    if (!certificate) {
      return std::move(certificate).error().within(one.origin.empty() ? "certificate" : one.origin);
    }
    declared.push_back(*std::move(certificate));
  }
  return declared;
}

Result<std::shared_ptr<const tls::Certificate>> declared_fallback(const TlsConfig& config) {
  auto loaded = certs::load_files(config.fallback_chain, config.fallback_key);
  if (!loaded) return std::move(loaded).error().within("tls.fallback_chain");
  return loaded;
}

}  // namespace

TlsService::TlsService(const Config& config, Store& store, Store* copy, EachWorker each_worker,
                       Wishes::HostOf host_of)
    : config_(config),
      store_(store),
      copy_(copy),
      each_worker_(std::move(each_worker)),
      kept_(store) {
  if (config.acme.enabled && config.acme.on_demand) {
    wishes_ = std::make_unique<Wishes>(store, config.acme, std::move(host_of));
  }
}

TlsService::~TlsService() {
  watch_.reset();
  tickets_.reset();
  if (wishes_) wishes_->stop();
  directory_.reset();
}

Result<std::unique_ptr<TlsService>> TlsService::create(const Config& config, Store& store,
                                                       Store* copy, EachWorker each_worker,
                                                       Wishes::HostOf host_of) {
  std::unique_ptr<TlsService> service(
      new TlsService(config, store, copy, std::move(each_worker), std::move(host_of)));
  PX_CHECK(service->prepare());
  return service;
}

Result<void> TlsService::check(const Config& config) {
  PX_CHECK(tls::ServerContext::create(config.tls));
  PX_CHECK(declared_by(config.certificates));
  if (!config.tls.fallback_chain.empty()) PX_CHECK(declared_fallback(config.tls));
  return {};
}

Result<void> TlsService::prepare() {
  PX_CHECK(tls::ServerContext::create(config_.tls));
  PX_TRY(declared_, declared_by(config_.certificates));
  PX_TRY(fallback_, fallback_of(config_.tls));
  if (config_.tls.tickets) {
    tickets_ = std::make_unique<TicketFeed>(store_, copy_, config_.tls.ticket_lifetime);
    PX_TRY(first_keys_, tickets_->prepare());
  }
  return {};
}

// Nobody is to be shown another because the store is away at a reload.
Result<std::shared_ptr<const tls::Credentials>> TlsService::fallback_of(const TlsConfig& config) {
  const auto to_fall_back_on = [](const std::shared_ptr<const tls::Certificate>& certificate) {
    tls::Credentials credentials = certs::credentials_of(std::span(&certificate, 1));
    credentials.fallback = true;
    return std::make_shared<const tls::Credentials>(std::move(credentials));
  };
  if (!config.fallback_chain.empty()) {
    PX_TRY(const auto certificate, declared_fallback(config));
    return to_fall_back_on(certificate);
  }
  if (own_fallback_ == nullptr) {
    PX_TRY(const CertBundle bundle, kept_fallback());
    PX_TRY(const auto certificate, tls::Certificate::load(bundle));
    own_fallback_ = to_fall_back_on(certificate);
  }
  return own_fallback_;
}

// The one of all who share the store; without the store, that of its copy.
Result<CertBundle> TlsService::kept_fallback() {
  const Deadline by = Deadline::in(store_limit);
  tls::SelfSigned wanted;
  wanted.names = {std::string(fallback_name)};
  wanted.common_name = "proxycore fallback certificate";
  wanted.not_before = base::now_s() - 86'400;
  wanted.not_after = base::now_s() + fallback_life.count();
  PX_TRY(CertBundle made, tls::self_signed(wanted));
  const auto kept = [&made] {
    return Record{{std::string(chain_field), made.chain_pem},
                  {std::string(key_field), made.key_pem}};
  };
  const auto agree = [&made, &kept](const Record& before) -> Result<Record> {
    const auto chain = before.find(chain_field);
    const auto key = before.find(key_field);
    if (chain != before.end() && key != before.end()) {
      CertBundle found{chain->second, key->second};
      if (tls::Certificate::load(found)) made = std::move(found);
    }
    return kept();
  };
  const auto agreed = store_.update(fallback_key, agree, Life::for_ever, by);
  if (!agreed) {
    log::warning("certificate.fallback", {{"store", store_.describe()},
                                          {"why", agreed.error().message()},
                                          {"action", "the one last known, or a new one, goes on"}});
  }
  if (copy_ != nullptr) {
    const auto follow = [&kept](const Record&) -> Result<Record> { return kept(); };
    const auto copied = agreed ? copy_->update(fallback_key, follow, Life::for_ever, by)
                               : copy_->update(fallback_key, agree, Life::for_ever, by);
    if (!copied) {
      log::warning("certificate.copy",
                   {{"copy", copy_->describe()}, {"why", copied.error().message()}});
    }
  }
  return made;
}

void TlsService::start() {
  certs::Directory::Options options;
  options.sources = sources_;
  if (copy_ != nullptr) {
    copied_ = std::make_unique<certs::CopiedCerts>(store_, *copy_);
    options.sources.push_back(copied_.get());
  } else {
    options.sources.push_back(&kept_);
  }
  if (wishes_) {
    options.wanted = [this](const std::string& name) { return wishes_->wanted(name); };
  }
  {
    const std::lock_guard lock(mutex_);
    options.fallback = fallback_;
    directory_ = std::make_unique<certs::Directory>(std::move(options), declared_);
  }
  // Keys of certificates have no prefix in common.
  auto watching = store_.watch("", [this](std::string_view key) { on_changed(key); });
  if (watching) {
    watch_ = *std::move(watching);
  } else {
    log::error("store.watch", {{"store", store_.describe()}, {"why", watching.error().message()}});
  }
  if (tickets_) {
    tickets_->start([this](const TicketFeed::Keys& keys) {
      each_worker_([&keys](proxy::Worker& worker) { worker.set_ticket_keys(keys); });
    });
  }
}

Result<void> TlsService::equip(proxy::Worker& worker) {
  PX_TRY(auto context, tls::ServerContext::create(config_.tls));
  if (first_keys_) context->set_ticket_keys(first_keys_);
  const std::lock_guard lock(mutex_);
  worker.serve_tls(
      std::move(context),
      [this](const std::string& name, tls::CertCache::Answered answered) {
        directory_->find(name, std::move(answered));
      },
      fallback_);
  return {};
}

void TlsService::on_changed(std::string_view key) {
  if (key.empty()) {
    if (copied_) copied_->believe_all(false);
    return forget_all();
  }
  if (key.starts_with(host::keys::story_prefix)) {
    return story_changed(key.substr(host::keys::story_prefix.size()));
  }
  if (key.starts_with(host::keys::rsa_prefix)) {
    const std::string_view name = key.substr(host::keys::rsa_prefix.size());
    if (copied_) copied_->told(name);
    return forget(name);
  }
  if (!host::keys::is_text(key) || !key.ends_with(host::keys::certificate_suffix)) return;
  const std::string_view name = key.substr(0, key.size() - host::keys::certificate_suffix.size());
  if (copied_) copied_->told(name);
  if (wishes_) wishes_->done(name);
  forget(name);
}

// Should it have failed, nobody is to wait for it any more: who is parked is asked for anew.
void TlsService::story_changed(std::string_view name) {
  if (!wishes_ || !wishes_->pending(name)) return;
  const std::vector<std::string> names = {std::string(name)};
  directory_->forget(names);
}

void TlsService::forget(std::string_view name) {
  if (name.empty()) return forget_all();
  const std::vector<std::string> names = {std::string(name)};
  directory_->forget(names);
  each_worker_([&names](proxy::Worker& worker) { worker.forget_certificates(names); });
}

void TlsService::forget_all() {
  directory_->forget({});
  each_worker_([](proxy::Worker& worker) { worker.forget_certificates({}); });
}

Result<std::function<void()>> TlsService::reload(const Config& next) {
  PX_TRY(auto declared, declared_by(next.certificates));
  PX_TRY(auto fallback, fallback_of(next.tls));
  return std::function<void()>(
      [this, declared = std::move(declared), fallback = std::move(fallback)] {
        if (copied_) copied_->believe_all(true);
        {
          const std::lock_guard lock(mutex_);
          declared_ = declared;
          fallback_ = fallback;
          if (!directory_) return;  // nobody was answered so far
          directory_->declare(declared, fallback);
        }
        each_worker_([&fallback](proxy::Worker& worker) { worker.set_fallback(fallback); });
        forget_all();
      });
}

}  // namespace proxycore::server
