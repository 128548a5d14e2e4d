// Worker: one thread of the data plane: a loop, listeners, the lookup, the pool, the clients.
//
// Workers share only what is immutable or counted (Shared). Everything else is a worker's own and
// touched on its loop's thread; other threads post.
// Owned by Server. Thread: its loop's, unless said otherwise.
#pragma once

#include "base/line_writer.h"
#include "base/list.h"
#include "base/snapshot.h"
#include "host/route_table.h"
#include "host/target_policy.h"
#include "http/h1_codec.h"
#include "http/h2_limits.h"
#include "http/h2_memory.h"
#include "io/listener.h"
#include "io/loop.h"
#include "lookup/lookup.h"
#include "origin/failing_targets.h"
#include "origin/pool.h"
#include "origin/verification.h"
#include "proxy/access_log.h"
#include "proxy/admission.h"
#include "proxy/client_connection.h"
#include "proxy/counters.h"
#include "proxy/exchange.h"
#include "proxy/rewrite.h"
#include "tls/cert_cache.h"
#include "tls/context.h"
#include <proxycore/config.h>
#include <proxycore/handler.h>
#include <proxycore/host_trie.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::proxy {

// Makes a tier of a worker's lookup, which may look at the worker's table of hosts.
using MakeTier = std::function<std::unique_ptr<lookup::Tier>(
    io::Loop& loop, const base::View<host::RouteTable>& routes)>;

// What all workers look at; set up before they start and not changed afterwards, but for what
// synchronises itself.
struct Shared {
  const Config& config;
  Trust trust;
  HostTrie<Handler*> mounts;
  Admission admission;
  base::LineWriter* access_writer = nullptr;  // null: no access log
  Handler* admin = nullptr;                   // answers on the admin listeners
  std::uint32_t operators = 256;              // connections to these, and no more
  Handler* challenges = nullptr;  // answers HTTP-01 challenges of all hosts; null: targets do
  io::Resolver::Query resolver = io::Resolver::system_query();
  std::uint16_t tls_port = 0;  // where requests are redirected to that have to use TLS; 0: nowhere
  std::vector<MakeTier> tiers = {};  // of the lookup, in their order; none: the table alone
  origin::Verification verification = {};
  origin::FailingTargets failing = {};
  host::TargetPolicy targets = {};
};

// What a listening socket is for.
enum class Service : unsigned { proxy, tls, admin, admin_tls };

class Worker final : public io::Listener::Owner, io::Later {
 public:
  struct Socket {
    int fd;
    bool is_unix;
    Service service;
  };
  // With a loop of its own, or on an application's.
  Worker(Shared& shared, std::shared_ptr<const host::RouteTable> routes, uv_loop_s* host);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  virtual ~Worker();

  // What connections of Service::tls and admin_tls need. Before listen().
  void serve_tls(std::unique_ptr<tls::ServerContext> context, tls::CertCache::Ask ask,
                 std::shared_ptr<const tls::Credentials> fallback);
  // Any thread.
  void set_ticket_keys(std::shared_ptr<const tls::TicketKeys> keys);
  // Any thread: as CertCache::forget().
  void forget_certificates(std::vector<std::string> names);
  // Any thread: shown from now on for want of a better certificate.
  void set_fallback(std::shared_ptr<const tls::Credentials> fallback);
  // Any thread: Shared::verification has others.
  void forget_authorities();
  // Takes the descriptor. Before run(), or on the loop's thread.
  void listen(const Socket& socket);
  void run() { loop_.run(); }
  // Any thread.
  void set_routes(std::shared_ptr<const host::RouteTable> routes);
  // Any thread: hosts of these canonical names or patterns changed; none: any may have.
  void forget(std::vector<std::string> patterns);
  // Any thread: no new connections; `drained` is called on the worker's thread once none is open.
  // Operators are served until stop().
  void drain(std::function<void()> drained);
  // Any thread: closes everything; run() returns.
  void stop();

  // For connections and exchanges.
  [[nodiscard]] io::Loop& loop() noexcept { return loop_; }
  [[nodiscard]] const Config& config() const noexcept { return shared_.config; }
  [[nodiscard]] const Trust& trust() const noexcept { return shared_.trust; }
  [[nodiscard]] const http::Limits& http_limits() const noexcept { return http_limits_; }
  [[nodiscard]] http::H1Parsers& parsers() noexcept { return parsers_; }
  [[nodiscard]] const http::H2Limits& h2_limits() const noexcept { return h2_limits_; }
  [[nodiscard]] http::H2Memory& h2_memory() noexcept { return h2_memory_; }
  [[nodiscard]] Counters& counters() noexcept { return counters_; }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }  // any thread
  [[nodiscard]] lookup::Lookup& lookup() noexcept { return lookup_; }
  [[nodiscard]] origin::Pool& pool() noexcept { return pool_; }
  [[nodiscard]] std::uint16_t tls_port() const noexcept { return shared_.tls_port; }
  [[nodiscard]] AccessLog& access_log() noexcept { return access_log_; }
  [[nodiscard]] bool draining() const noexcept { return draining_; }
  [[nodiscard]] Handler* mounted(std::string_view host) const noexcept {
    if (shared_.mounts.size() == 0) return nullptr;
    Handler* const* found = shared_.mounts.match(host);
    return found == nullptr ? nullptr : *found;
  }
  [[nodiscard]] Handler* challenges() const noexcept { return shared_.challenges; }
  // The date for the Date field, renewed once a second.
  [[nodiscard]] std::string_view date();
  // Writes a request id, unique among workers and restarts.
  std::string_view next_id(std::array<char, 32>& into);

  Exchange& take_exchange();
  void give_back(Exchange& exchange);
  // A client that has connected.
  void take(std::unique_ptr<io::Transport> transport, const ClientConnection::Accepted& from);
  void remove(ClientConnection& connection);
  void connection_closed(const ClientConnection& connection, const io::Address& peer);

 private:
  void on_accept(int fd, const io::Address& peer, io::Listener& from) override;
  void on_later() override;
  void close_all();
  void check_drained();

  Shared& shared_;
  io::Loop loop_;
  http::Limits http_limits_;
  http::H1Parsers parsers_;
  http::H2Limits h2_limits_;
  Counters counters_;
  http::H2Memory h2_memory_;
  base::View<host::RouteTable> routes_;
  lookup::Lookup lookup_;
  origin::Pool pool_;
  AccessLog access_log_;
  struct Tls;
  std::unique_ptr<Tls> tls_;  // null: no TLS is spoken
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;  // all of them
  base::List<Exchange, ExchangeTag> free_exchanges_;
  base::List<Exchange, ExchangeTag> ended_exchanges_;  // free at the end of the turn
  base::List<ClientConnection, ConnectionTag> connections_;
  base::List<ClientConnection, ConnectionTag> operators_;  // on admin listeners
  std::uint32_t admin_connections_ = 0;
  std::uint64_t id_seed_;
  std::uint64_t id_count_ = 0;
  std::int64_t date_second_ = -1;
  std::string date_;
  bool draining_ = false;
  std::function<void()> drained_;
};

}  // namespace proxycore::proxy
