#include "server/renewal.h"

#include "base/log.h"
#include "redis/url.h"

#include <utility>

namespace proxycore::server {

bool Renewal::is_wanted(const Config& config, const Store& store) {
  const bool shared = redis::Url::has_scheme(store.describe());
  return config.acme.enabled && config.renew.in_process.value_or(!shared);
}

Result<std::unique_ptr<Renewal>> Renewal::create(const Config& config, Store& store) {
  PX_TRY(auto renewer, Renewer::create(config, store));
  return std::unique_ptr<Renewal>(new Renewal(std::move(renewer)));
}

Renewal::~Renewal() {
  stop();
}

void Renewal::stop() {
  renewer_->stop();
  if (thread_.joinable()) thread_.join();
}

void Renewal::start() {
  thread_ = std::thread([this] {
    const auto done = renewer_->run();
    if (!done) base::log::error("renew", {{"why", done.error().message()}});
  });
}

}  // namespace proxycore::server
