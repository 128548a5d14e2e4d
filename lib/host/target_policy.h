// TargetPolicy: addresses that users' hosts may not point at: listeners of our own that are no
// visitor's business (the manager, the metrics), the store's server, link-local addresses (where
// clouds keep their secrets), and what the configuration denies.
//
// It judges addresses, not names: a name may mean another address the next moment, so both planes
// ask it, the manager when a host is saved, the pool whenever it connects. A store that is on a
// server with a name is looked up in the background, again and again. Hosts that the configuration
// file declares are the operator's and are not asked about. Not here: names of targets (io/).
// Thread: any.
#pragma once

#include "io/address.h"
#include <proxycore/config.h>
#include <proxycore/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::host {

class TargetPolicy {
 public:
  // Looks names up; io::look_up, or a test's own.
  using LookUp = Result<std::vector<io::Address>> (*)(const std::string& name);

  // Objects to link-local addresses alone.
  TargetPolicy() = default;
  // `config`: its listeners with the ports that they have. Errors: invalid (names the key).
  static Result<TargetPolicy> create(const Config& config);
  static Result<TargetPolicy> create(const Config& config, LookUp look_up);

  // Why nothing may be sent there, for people; empty: it may. Does not block.
  [[nodiscard]] std::string_view objection(const io::Address& to) const;

 private:
  struct Listener {
    std::optional<io::Address> address;  // nullopt: every one of this machine
    std::uint16_t port = 0;
  };
  class Named;  // a server with a name

  Result<void> add_listeners(const std::vector<std::string>& texts);
  Result<void> add_store(const std::string& url, LookUp look_up);

  std::vector<io::Network> allowed_;
  std::vector<io::Network> denied_;
  std::vector<Listener> listeners_;
  std::optional<io::Address> store_;
  std::shared_ptr<Named> named_store_;  // its threads may outlive us
};

}  // namespace proxycore::host
