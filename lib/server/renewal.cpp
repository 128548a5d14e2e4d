#include "server/renewal.h"

#include "base/log.h"
#include "base/priority.h"
#include "server/in_process.h"

#include <utility>

namespace proxycore::server {

bool Renewal::is_wanted(const Config& config, const Store& store) {
  return config.acme.enabled && in_process(config.renew.in_process, store);
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
    base::step_back(behind_traffic);
    const auto done = renewer_->run();
    if (!done) base::log::error("renew", {{"why", done.error().message()}});
  });
}

}  // namespace proxycore::server
