// Pool: idle and busy connections per target and how it is spoken to; a Lease is the right to use
// one for an exchange.
//
// acquire() answers now with an idle connection, or later through the Waiter with a new one; never
// both. The last returned connection is the first reused, so that the surplus ages and closes.
// Connections over TLS are kept apart by the name asked for and by whether it was verified, and so
// are the sessions that a next one resumes. Nothing is connected to that the policy objects to,
// unless the host is the operator's own: such hosts have connections of their own, too.
// Thread: its worker's.
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "host/target_policy.h"
#include "http/h1_codec.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "origin/balancer.h"
#include "origin/connection.h"
#include "origin/failing_targets.h"
#include "origin/verification.h"
#include "tls/context.h"
#include "tls/engine.h"
#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace proxycore::origin {

// How a target is spoken to: all but the first are TLS.
enum class Speech : std::uint8_t { plain, verified, unverified };

// A session that can be resumed. It is not verified again then, so it must not live for ever.
struct KeptSession {
  std::shared_ptr<const tls::Session> session;  // null: none
  std::int64_t shaken = 0;  // when the full handshake was that it comes from; the loop's clock
};

// One target, spoken to in one way, as this worker knows it. Owned by the pool, lives while
// anything refers to it.
struct Endpoint {
  Target target;
  Speech speech = Speech::plain;
  HostSource source = HostSource::store;  // of the hosts that point here
  std::string server_name;             // TLS: who is asked for, and whose certificate it has to be
  KeptSession session;                 // the newest
  std::optional<io::Address> address;  // of an IP literal
  Health health;
  std::vector<std::unique_ptr<Connection>> connections;
  base::List<Connection, IdleTag> idle;  // the last used first
  std::size_t idle_count = 0;
};

// Gives the connection back, or closes it if it cannot be reused, when destroyed.
class Lease {
 public:
  Lease() = default;
  explicit Lease(Connection& connection) noexcept : connection_(&connection) { connection.lend(); }
  Lease(Lease&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Lease& operator=(Lease&& other) noexcept {
    std::swap(connection_, other.connection_);
    return *this;
  }
  ~Lease() { release(); }
  void release() {
    if (connection_ != nullptr) std::exchange(connection_, nullptr)->give_back();
  }

  explicit operator bool() const noexcept { return connection_ != nullptr; }
  [[nodiscard]] Connection* operator->() const noexcept { return connection_; }

 private:
  Connection* connection_ = nullptr;
};

class Waiter : public base::ListNode<> {
 public:
  // Errors: denied (its certificate is not valid), protocol (TLS with it failed), timeout, refused,
  // not_found, io, ...
  virtual void on_lease(Result<Lease> lease) = 0;

 protected:
  ~Waiter() = default;
};

// Counted by the pool, summed by the metrics page.
struct PoolCounters {
  base::Counter connects;
  base::Counter connect_failures;
  base::Counter refused;  // addresses that the policy objects to
  base::Counter reuses;
  base::Gauge open;
  base::Gauge idle;
  base::Counter handshakes_full;
  base::Counter handshakes_resumed;
  base::Counter handshakes_denied;     // the certificate is not valid
  base::Counter handshakes_failed;     // for other reasons, time-outs too
  base::Counter unverified_by_choice;  // connections begun
  base::Counter unverified_by_default;
};

class Pool {
 public:
  // What is given by reference outlives this.
  Pool(io::Loop& loop, const Config& config, const host::TargetPolicy& policy,
       Verification& verification, FailingTargets& failing, io::Resolver::Query query,
       PoolCounters& counters);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  struct Choice {
    std::size_t target = 0;  // the index in route.targets
    std::optional<Result<Lease>> lease;
  };
  // Picks a target (see Balancer for `avoid`) and a connection to it; a new one if `fresh_only`.
  // Errors: limit (too many connections to it), and those of Waiter::on_lease.
  Choice acquire(const Route& route, std::size_t avoid, bool fresh_only, Waiter& later);
  // What an exchange found out about the route's target it used.
  void succeeded(const Route& route, std::size_t target) {
    Endpoint& used = endpoint(route, target);
    if (used.health.failures != 0) recovered(used);
  }
  void failed(const Route& route, std::size_t target);

  // There may be others: connections are verified by them from now on, also where a session could
  // be resumed. Those that are open go on.
  void forget_authorities();
  // Closes what is idle, now and from now on.
  void drain();
  [[nodiscard]] const Config& config() const noexcept { return config_; }

 private:
  friend class Connection;
  struct Key {
    std::string_view name;
    std::uint16_t port;
    Speech speech;
    HostSource source;
    std::string_view server_name;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      const std::hash<std::string_view> hash;
      const std::size_t plain = hash(key.name) * 31 + key.port;
      if (key.speech == Speech::plain) return plain;
      return (plain * 31 + hash(key.server_name)) * 31 + static_cast<std::size_t>(key.speech);
    }
  };
  static constexpr std::size_t max_unused_endpoints = 4096;

  Endpoint& endpoint(const Route& route, std::size_t target);
  // What connections over TLS have in common, made for the first.
  Result<std::shared_ptr<tls::ClientContext>> client_context();
  void warn(const Route& route);
  // Why this address of the target may not be connected to; nullopt: it may.
  std::optional<Error> objection(const Endpoint& endpoint, const io::Address& to);
  void forget_unused();
  void recovered(Endpoint& endpoint);
  void remove(Connection& connection);

  io::Loop& loop_;
  const Config& config_;
  const host::TargetPolicy& policy_;
  Verification& verification_;
  FailingTargets& failing_;
  PoolCounters& counters_;
  io::Resolver resolver_;
  http::H1Parsers parsers_;
  http::Limits limits_;
  Balancer balancer_;
  bool draining_ = false;
  std::shared_ptr<tls::ClientContext> client_context_;  // null: not made yet
  std::unordered_set<std::string> warned_;  // hosts that we have told `verification_` of
  // The keys view the endpoints' own names.
  std::unordered_map<Key, std::unique_ptr<Endpoint>, KeyHash> endpoints_;
};

}  // namespace proxycore::origin
