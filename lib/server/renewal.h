// Renewal: the runner that gets and renews certificates, inside proxyd: on threads of its own.
//
// For a store that is this machine's alone, unless the configuration says otherwise; where many
// share one, proxy-renew does it. Not here: the runner (certs/). Owner: Server. Thread: create,
// start and the destructor the Server's; the others any.
#pragma once

#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace proxycore::server {

class Renewal {
 public:
  // Whether this process does it: acme.enabled, renew.in_process.
  static bool is_wanted(const Config& config, const Store& store);

  // The store outlives it. Errors: those of Renewer::create.
  static Result<std::unique_ptr<Renewal>> create(const Config& config, Store& store);
  ~Renewal();
  Renewal(const Renewal&) = delete;
  Renewal& operator=(const Renewal&) = delete;

  void start();
  // Returns when nothing of it runs any more.
  void stop();
  void declare(std::vector<Host> hosts) { renewer_->declare(std::move(hosts)); }
  [[nodiscard]] Renewer& renewer() const noexcept { return *renewer_; }
  [[nodiscard]] std::string metrics() const { return renewer_->metrics(); }

 private:
  explicit Renewal(std::unique_ptr<Renewer> renewer) : renewer_(std::move(renewer)) {}

  std::unique_ptr<Renewer> renewer_;
  std::thread thread_;
};

}  // namespace proxycore::server
