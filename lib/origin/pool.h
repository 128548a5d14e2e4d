// Pool: idle and busy connections per target; a Lease is the right to use one for an exchange.
//
// acquire() answers now with an idle connection, or later through the Waiter with a new one; never
// both. The last returned connection is the first reused, so that the surplus ages and closes.
// Thread: its worker's.
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "http/h1_codec.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "origin/balancer.h"
#include "origin/connection.h"
#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace proxycore::origin {

// One target as this worker knows it. Owned by the pool, lives while anything refers to it.
struct Endpoint {
  Target target;
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
  virtual void on_lease(Result<Lease> lease) = 0;  // errors: timeout, refused, not_found, io, ...

 protected:
  ~Waiter() = default;
};

// Counted by the pool, summed by the metrics page.
struct PoolCounters {
  base::Counter connects;
  base::Counter connect_failures;
  base::Counter reuses;
  base::Gauge open;
  base::Gauge idle;
};

class Pool {
 public:
  Pool(io::Loop& loop, const Config& config, io::Resolver::Query query, PoolCounters& counters);
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
  // What an exchange found out about the target it used.
  void succeeded(const Target& target) { endpoint(target).health.succeeded(); }
  void failed(const Target& target);

  // Closes what is idle, now and from now on.
  void drain();
  [[nodiscard]] const Config& config() const noexcept { return config_; }

 private:
  friend class Connection;
  struct Key {
    std::string_view name;
    std::uint16_t port;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return std::hash<std::string_view>{}(key.name) * 31 + key.port;
    }
  };
  static constexpr std::size_t max_unused_endpoints = 4096;

  Endpoint& endpoint(const Target& target);
  void forget_unused();
  void remove(Connection& connection);

  io::Loop& loop_;
  const Config& config_;
  PoolCounters& counters_;
  io::Resolver resolver_;
  http::H1Parsers parsers_;
  http::Limits limits_;
  Balancer balancer_;
  bool draining_ = false;
  // The keys view the endpoints' own names.
  std::unordered_map<Key, std::unique_ptr<Endpoint>, KeyHash> endpoints_;
};

}  // namespace proxycore::origin
