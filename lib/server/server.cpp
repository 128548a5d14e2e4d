#include "base/clock.h"
#include "base/line_writer.h"
#include "base/log.h"
#include "base/snapshot.h"
#include "host/keys.h"
#include "host/route_table.h"
#include "host/target_policy.h"
#include "io/listener.h"
#include "lookup/cache_tier.h"
#include "lookup/redis_tier.h"
#include "lookup/socket_server.h"
#include "lookup/socket_tier.h"
#include "lookup/trie_tier.h"
#include "proxy/worker.h"
#include "redis/url.h"
#include "server/admin_pages.h"
#include "server/administration.h"
#include "server/challenges.h"
#include "server/in_process.h"
#include "server/lookup_service.h"
#include "server/renewal.h"
#include "server/route_feed.h"
#include "server/route_source.h"
#include "server/tiers.h"
#include "server/tls_service.h"
#include "server/wildcard_cache.h"
#include <proxycore/server.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

namespace proxycore {

namespace {

// Descriptors for everything that is neither a client's nor a target's connection.
constexpr rlim_t reserved_descriptors = 128;

// The hosts of the configuration file, where they are not in a table with the store's.
constexpr std::string_view file_tier = "file";

// What a reload takes over, besides hosts and certificates.
constexpr std::string_view reloaded_keys[] = {"tls.fallback_chain", "tls.fallback_key",
                                              "tls.origin_ca"};

namespace log = base::log;

// A client may need a connection to a target as well.
std::uint32_t default_connections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 1U << 20U;
  const rlim_t usable =
      limit.rlim_cur > 2 * reserved_descriptors ? limit.rlim_cur - reserved_descriptors : 64;
  return static_cast<std::uint32_t>(std::min<rlim_t>(usable / 2, 1U << 20U));
}

// What the machine decides where the configuration does not.
Config with_defaults(Config config) {
  if (config.limits.connections == 0) config.limits.connections = default_connections();
  if (config.workers.count == 0) {
    config.workers.count = std::max(1U, std::thread::hardware_concurrency());
  }
  return config;
}

Result<proxy::Trust> trust_of(const Config& config) {
  proxy::Trust trust;
  for (const std::string& text : config.forwarding.trusted) {
    if (text == "unix") {
      trust.unix_peers = true;
      continue;
    }
    auto network = io::Network::parse(text);
    if (!network) return std::move(network).error().within("forwarding.trusted");
    trust.networks.push_back(*network);
  }
  return trust;
}

// "*" stands for every address of both families.
std::vector<ListenAddress> expand(const ListenAddress& address) {
  if (address.is_unix || address.address != "*") return {address};
  ListenAddress v4 = address;
  ListenAddress v6 = address;
  v4.address = "0.0.0.0";
  v6.address = "::";
  return {v4, v6};
}

// Descriptors of one service: a set per worker (SO_REUSEPORT), the same addresses in each.
struct Bound {
  std::vector<ListenAddress> addresses;
  std::vector<std::vector<proxy::Worker::Socket>> per_worker;

  ~Bound() {
    for (auto& sockets : per_worker) {
      for (const auto& socket : sockets) ::close(socket.fd);
    }
  }
};

Result<void> bind_all(const std::vector<std::string>& texts, proxy::Service service,
                      std::size_t workers, const Config::Listen& config, Bound& bound) {
  bound.per_worker.resize(std::max(bound.per_worker.size(), workers));
  for (const std::string& text : texts) {
    PX_TRY(const ListenAddress wanted, ListenAddress::parse(text));
    for (ListenAddress address : expand(wanted)) {
      // Only one may listen on a path: the first worker serves Unix sockets.
      const std::size_t count = address.is_unix ? 1 : workers;
      for (std::size_t i = 0; i < count; ++i) {
        auto fd = io::listen_on(address, config.backlog, config.unix_mode);
        if (!fd) {
          const bool no_ipv6 = wanted.address == "*" && address.address == "::" && i == 0;
          if (no_ipv6) break;
          return std::move(fd).error();
        }
        if (!address.is_unix) address.port = io::bound_port(*fd);
        bound.per_worker[i].push_back({*fd, address.is_unix, service});
        if (i == 0) bound.addresses.push_back(address);
      }
    }
  }
  return {};
}

}  // namespace

// Whether proxyd asks for hosts at the very socket that the configuration says to serve.
bool asks_own_socket(const Config& config) {
  const auto& tiers = config.lookup;
  return std::find(tiers.begin(), tiers.end(), "socket") != tiers.end() &&
         config.lookup_service.listen == config.lookup_service.connect;
}

// What of a configuration is for a proxyd, and what for the manager as another process.
Config for_proxy(Config config, const Store& store) {
  const bool is_manager = server::in_process(config.admin.in_process, store);
  if (asks_own_socket(config) && !is_manager) config.lookup_service.listen.clear();
  return with_defaults(std::move(config));
}
// Where the manager listens as a process of its own, if nothing is said.
Config with_manager_listener(Config config) {
  auto& admin = config.admin;
  if (admin.listen.empty() && admin.https.empty()) admin.listen = {"127.0.0.1:3000"};
  return config;
}
Config for_manager(Config config) {
  if (!asks_own_socket(config)) config.lookup_service.listen.clear();
  config.listen.http.clear();
  config.listen.https.clear();
  config.listen.admin.clear();
  config.lookup.clear();
  config.replica.path.clear();  // proxyd's
  config.renew.in_process = false;
  config.workers.count = 1;
  config.log.access = "off";
  return with_defaults(std::move(config));
}

// Built bottom-up, torn down in reverse.
class Server::Parts {
 public:
  // `ours`: what this process makes of `configured`. `page`: of the proxyd that the manager asks;
  // empty: this one.
  Parts(Config configured, Config ours, Store& store_given, server::Administration::Page page = {})
      : given(std::move(configured)),
        config(std::move(ours)),
        administration_page(std::move(page)),
        store(store_given),
        pages([this] { return vitals(); }, [this] { return &workers_.front()->lookup(); }),
        routes(config.metrics.hosts),
        shared{config,
               {},
               {},
               proxy::Admission(config.limits.connections, config.limits.connections_per_address)} {
    shared.admin = &pages;
  }
  ~Parts() {
    end_control();
    tls.reset();
  }

  Result<void> prepare(const std::function<Result<void>()>& bound_all);
  Result<void> mount(std::string_view pattern, Handler& handler);
  Result<void> add_source(CertSource& source);
  Result<void> run();
  Result<void> attach(uv_loop_s& loop);
  void drain();
  void stop();
  Result<void> reload(Config next);

  server::Vitals vitals();

  const Config given;  // as it was configured, to compare a reload with
  Config config;       // what of it is ours, with what depends on the machine filled in
  const server::Administration::Page administration_page;
  Store& store;
  server::AdminPages pages;
  server::RouteSource routes;
  std::unique_ptr<base::LineWriter> access_writer;
  proxy::Shared shared;
  Bound http;
  Bound https;
  Bound admin;
  Bound manager;
  Bound manager_tls;
  base::Snapshot<host::RouteTable> table;
  std::unique_ptr<Store> replica;  // the copy of a store on other machines
  std::unique_ptr<server::WildcardCache> wildcard_cache;
  std::unique_ptr<server::LookupService> lookup_service;
  std::unique_ptr<server::RouteFeed> feed;
  std::unique_ptr<server::TlsService> tls;         // null: no https listener
  std::unique_ptr<server::Challenges> challenges;  // null: it does not run yet
  std::unique_ptr<server::Renewal> renewal;        // null: somebody else sees to certificates
  std::unique_ptr<server::Administration> administration;  // null: somebody else is the manager

 private:
  Result<void> prepare_targets();
  Result<void> prepare_lookup();
  Result<void> prepare_tls();
  Result<void> prepare_administration();
  Result<void> begin_administration();
  Result<Response> own_page(std::string_view target, const Deadline& by);
  Result<std::string> host_of(const std::string& name, const Deadline& by);
  Result<proxy::MakeTier> tier(const std::string& name);
  [[nodiscard]] std::uint16_t redirect_port() const;
  Result<void> make_worker(std::size_t index, uv_loop_s* host);
  void begin_control();
  void end_control();
  void hosts_changed(std::span<const std::string> names);
  void await_drain();

  std::mutex reloading_;  // one at a time
  int lookup_fd_ = -1;    // the lookup service's, until it is started

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool ending_ = false;  // the thread that awaits the end of a drain shall end
  bool draining_ = false;
  bool stopped_ = false;
  bool running_ = false;
  std::size_t undrained_ = 0;
  Deadline::Clock::time_point drain_by_ = Deadline::Clock::time_point::max();
  std::vector<std::unique_ptr<proxy::Worker>> workers_;

  std::thread draining_thread_;
};

Result<void> Server::Parts::prepare(const std::function<Result<void>()>& bound_all) {
  PX_TRY(shared.trust, trust_of(config));
  PX_CHECK(bind_all(config.listen.http, proxy::Service::proxy, config.workers.count, config.listen,
                    http));
  PX_CHECK(bind_all(config.listen.https, proxy::Service::tls, config.workers.count, config.listen,
                    https));
  shared.tls_port = redirect_port();
  // One worker answers operators: it sums over all of them anyway.
  PX_CHECK(bind_all(config.listen.admin, proxy::Service::admin, 1, config.listen, admin));
  if (server::Administration::is_wanted(config, store)) {
    using proxy::Service;
    const auto& listen = config.admin;
    PX_CHECK(bind_all(listen.listen, Service::admin, 1, config.listen, manager));
    PX_CHECK(bind_all(listen.https, Service::admin_tls, 1, config.listen, manager_tls));
  }
  if (const auto& service = config.lookup_service; !service.listen.empty()) {
    PX_TRY(lookup_fd_, lookup::SocketServer::listen(service.listen, service.group));
  }
  if (bound_all) PX_CHECK(bound_all());
  PX_CHECK(prepare_targets());
  PX_CHECK(prepare_lookup());
  PX_TRY(auto authorities, origin::Verification::load(config.tls));
  shared.verification.use(std::move(authorities));
  if (!https.addresses.empty() || !manager_tls.addresses.empty()) PX_CHECK(prepare_tls());
  if (server::Renewal::is_wanted(config, store)) {
    PX_TRY(renewal, server::Renewal::create(config, store));
  }
  if (server::Administration::is_wanted(config, store)) PX_CHECK(prepare_administration());
  if (config.log.access != "off") {
    PX_TRY(access_writer, base::LineWriter::open(config.log.access));
    shared.access_writer = access_writer.get();
  }
  PX_CHECK(routes.declare(std::move(config.hosts)));
  PX_CHECK(feed->prepare());
  // A peer that is gone must not end the process: writes tell it by EPIPE.
  struct sigaction action {};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    ::signal(SIGPIPE, SIG_IGN);
  }
  return {};
}

// Where no host of the store may point: by the ports that we were given, too.
Result<void> Server::Parts::prepare_targets() {
  const auto texts = [](const Bound& bound) {
    std::vector<std::string> all;
    for (const ListenAddress& address : bound.addresses) all.push_back(address.text());
    return all;
  };
  Config listening;
  listening.store.url = store.describe();
  listening.admin = config.admin;
  listening.listen.admin = texts(admin);
  if (server::Administration::is_wanted(config, store)) {
    listening.admin.listen = texts(manager);
    listening.admin.https = texts(manager_tls);
  }
  PX_TRY(shared.targets, host::TargetPolicy::create(listening));
  return {};
}

Result<void> Server::Parts::prepare_tls() {
  const auto each_worker = [this](const auto& tell) {
    const std::lock_guard lock(mutex_);
    for (auto& worker : workers_) tell(*worker);
    if (administration) tell(administration->worker());
  };
  const auto hosts = [this](const std::string& name, const Deadline& by) {
    return host_of(name, by);
  };
  PX_TRY(tls, server::TlsService::create(config, store, replica.get(), each_worker, hosts));
  return {};
}

Result<void> Server::Parts::prepare_administration() {
  auto page = administration_page;
  if (!page) {
    page = [this](std::string_view target, const Deadline& by) { return own_page(target, by); };
  }
  Renewer* renewer = renewal ? &renewal->renewer() : nullptr;
  PX_TRY(administration, server::Administration::create(given, store, std::move(page), renewer));
  return {};
}

// On a thread of the manager's.
Result<Response> Server::Parts::own_page(std::string_view target, const Deadline& by) {
  proxy::Worker* first = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!workers_.empty()) first = workers_.front().get();
  }
  if (first == nullptr) return Error{Errc::not_found, "the server does not run yet"};
  return server::ask_on(first->loop(), pages, target, by);
}

// Where requests are sent that have to use TLS; 0: nowhere.
std::uint16_t Server::Parts::redirect_port() const {
  if (https.addresses.empty()) return 0;
  if (config.tls.public_port != 0) return config.tls.public_port;
  const auto first = std::find_if(https.addresses.begin(), https.addresses.end(),
                                  [](const ListenAddress& address) { return !address.is_unix; });
  return first != https.addresses.end() ? first->port : 443;
}

Result<void> Server::Parts::make_worker(std::size_t index, uv_loop_s* host) {
  auto worker = std::make_unique<proxy::Worker>(shared, table.current(), host);
  if (tls) PX_CHECK(tls->equip(*worker));
  for (Bound* bound : {&http, &https, &admin}) {
    for (std::size_t at = index; at < bound->per_worker.size(); ++at) {
      for (const auto& socket : bound->per_worker[at]) worker->listen(socket);
      bound->per_worker[at].clear();
      // On an application's loop this is the only worker, and listens for all.
      if (host == nullptr) break;
    }
  }
  table.subscribe([to = worker.get()](std::shared_ptr<const host::RouteTable> next) {
    to->set_routes(std::move(next));
  });
  workers_.push_back(std::move(worker));
  return {};
}

// The host or pattern that serves `name`. Where the table has not all of them, the store's of that
// very name count, be they made of a wildcard.
Result<std::string> Server::Parts::host_of(const std::string& name, const Deadline& by) {
  const auto known = table.current();
  if (const Route* route = known->find(name)) return route->pattern;
  if (feed->whole()) return Error{Errc::not_found};
  PX_TRY(const Record record, store.get(host::keys::host(name), by));
  const auto parent = record.find("wildcard_parent");
  return parent == record.end() || parent->second.empty() ? name : parent->second;
}

// What the workers ask for the host of a request, and where their table of hosts comes from.
Result<void> Server::Parts::prepare_lookup() {
  PX_TRY(auto tiers, server::lookup_tiers(config, store.describe()));
  // The hosts of the file are in the table of the store's; where there is none, they come first.
  if (!server::has_table(tiers)) tiers.insert(tiers.begin(), std::string(file_tier));
  for (const std::string& name : tiers) {
    PX_TRY(auto make, tier(name));
    shared.tiers.push_back(std::move(make));
  }
  server::RouteFeed::Options options;
  options.whole = server::has_table(tiers);
  options.remote = redis::Url::has_scheme(store.describe());
  if (options.whole && options.remote && !config.replica.path.empty()) {
    auto opened = open_sqlite(config.replica.path);
    if (!opened) return std::move(opened).error().within("replica.path");
    replica = *std::move(opened);
    options.copy = replica.get();
  }
  feed = std::make_unique<server::RouteFeed>(routes, store, table, options);
  return {};
}

Result<proxy::MakeTier> Server::Parts::tier(const std::string& name) {
  using lookup::Tier;
  using Routes = base::View<host::RouteTable>;
  if (name == "cache") {
    const lookup::CacheTier::Limits limits{config.cache.entries, config.cache.ttl,
                                           config.cache.negative_ttl};
    return proxy::MakeTier([limits](io::Loop& loop, const Routes&) {
      return std::unique_ptr<Tier>(new lookup::CacheTier(loop, limits));
    });
  }
  io::Conversation::Limits limits;
  if (name == "redis") {
    PX_TRY(const auto url, redis::Url::parse(config.store.url));
    limits.timeout = config.redis.timeout;
    return proxy::MakeTier([this, url, limits](io::Loop& loop, const Routes&) {
      return std::unique_ptr<Tier>(
          new lookup::RedisTier(loop, url, limits, routes.ids(), shared.resolver));
    });
  }
  if (name == "socket") {
    limits.timeout = config.lookup_service.timeout;
    limits.back_off_most = Millis{1'000};  // a socket of this machine costs nothing to try
    return proxy::MakeTier([this, limits](io::Loop& loop, const Routes&) {
      return std::unique_ptr<Tier>(
          new lookup::SocketTier(loop, config.lookup_service.connect, limits, routes.ids()));
    });
  }
  using Holds = lookup::TrieTier::Holds;
  const Holds holds = name == file_tier ? Holds::some : Holds::all;
  return proxy::MakeTier([name, holds](io::Loop&, const Routes& hosts) {
    return std::unique_ptr<Tier>(new lookup::TrieTier(name, hosts, holds));
  });
}

// Under mutex_.
Result<void> Server::Parts::begin_administration() {
  if (!administration) return {};
  std::vector<proxy::Worker::Socket> sockets;
  for (Bound* bound : {&manager, &manager_tls}) {
    for (auto& of_worker : bound->per_worker) {
      sockets.insert(sockets.end(), of_worker.begin(), of_worker.end());
      of_worker.clear();
    }
  }
  return administration->start(sockets, manager_tls.addresses.empty() ? nullptr : tls.get());
}

void Server::Parts::begin_control() {
  challenges = std::make_unique<server::Challenges>(store);
  shared.challenges = challenges.get();
  if (renewal) renewal->start();
  feed->start([this](std::span<const std::string> names) { hosts_changed(names); });
  if (lookup_fd_ >= 0) {
    const auto& service = config.lookup_service;
    const bool remote = redis::Url::has_scheme(store.describe());
    // Only those ask the store for single names who share it with us.
    if (remote && service.cache_names > 0) {
      wildcard_cache = std::make_unique<server::WildcardCache>(
          store, table, std::chrono::duration_cast<Seconds>(service.cache_ttl),
          service.cache_names);
    }
    lookup_service = std::make_unique<server::LookupService>(std::exchange(lookup_fd_, -1), table,
                                                             remote ? replica.get() : &store,
                                                             wildcard_cache.get());
  }
  draining_thread_ = std::thread([this] { await_drain(); });
}

void Server::Parts::end_control() {
  if (administration) administration->stop();
  if (renewal) renewal->stop();
  lookup_service.reset();
  if (feed) feed->stop();
  std::unique_ptr<server::WildcardCache> cache;  // ends without the lock
  {
    const std::lock_guard lock(mutex_);
    cache = std::move(wildcard_cache);
    ending_ = true;
    wake_.notify_one();
  }
  if (draining_thread_.joinable()) draining_thread_.join();
  if (lookup_fd_ >= 0) ::close(std::exchange(lookup_fd_, -1));
}

void Server::Parts::hosts_changed(std::span<const std::string> names) {
  const std::lock_guard lock(mutex_);
  for (auto& worker : workers_) worker->forget({names.begin(), names.end()});
  if (wildcard_cache) wildcard_cache->changed(names);
}

// Ends a drain that takes too long.
void Server::Parts::await_drain() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (drain_by_ == Deadline::Clock::time_point::max()) {
      wake_.wait(lock);
      continue;
    }
    if (wake_.wait_until(lock, drain_by_) != std::cv_status::timeout || ending_) continue;
    drain_by_ = Deadline::Clock::time_point::max();
    lock.unlock();
    log::warning("drain.deadline", {{"action", "open connections are closed"}});
    stop();
    lock.lock();
  }
}

Result<void> Server::Parts::mount(std::string_view pattern, Handler& handler) {
  const std::lock_guard lock(mutex_);
  if (running_) return Error{Errc::invalid, "mount: the server runs already"};
  return shared.mounts.insert(pattern, &handler);
}

Result<void> Server::Parts::run() {
  {
    const std::lock_guard lock(mutex_);
    if (running_) return Error{Errc::invalid, "the server runs already"};
    running_ = true;
    if (stopped_) return {};
    if (tls) tls->start();
    for (std::size_t i = 0; i < config.workers.count; ++i) PX_CHECK(make_worker(i, nullptr));
    PX_CHECK(begin_administration());
  }
  begin_control();
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([worker = workers_[i].get()] { worker->run(); });
  }
  workers_.front()->run();
  for (std::thread& thread : threads) thread.join();
  end_control();
  return {};
}

Result<void> Server::Parts::attach(uv_loop_s& loop) {
  {
    const std::lock_guard lock(mutex_);
    if (running_) return Error{Errc::invalid, "the server runs already"};
    running_ = true;
    if (stopped_) return {};
    if (tls) tls->start();
    PX_CHECK(make_worker(0, &loop));
    PX_CHECK(begin_administration());
  }
  begin_control();
  return {};
}

void Server::Parts::drain() {
  const std::lock_guard lock(mutex_);
  if (draining_ || stopped_) return;
  draining_ = true;
  undrained_ = workers_.size();
  if (undrained_ == 0) stopped_ = true;  // not running yet: it will not
  drain_by_ = Deadline::Clock::now() + config.timeouts.drain;
  for (auto& worker : workers_) {
    worker->drain([this] {
      bool last = false;
      {
        const std::lock_guard inner(mutex_);
        last = --undrained_ == 0;
      }
      if (last) stop();
    });
  }
  wake_.notify_one();
}

void Server::Parts::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (auto& worker : workers_) worker->stop();
}

Result<void> Server::Parts::add_source(CertSource& source) {
  const std::lock_guard lock(mutex_);
  if (running_) return Error{Errc::invalid, "serve_certificates: the server runs already"};
  if (tls) tls->add_source(source);
  return {};
}

Result<void> Server::Parts::reload(Config next) {
  const std::lock_guard one(reloading_);
  if (administration_page) next = with_manager_listener(std::move(next));
  PX_TRY(auto authorities, origin::Verification::load(next.tls));
  std::function<void()> take_over_certificates;
  if (tls) {
    PX_TRY(take_over_certificates, tls->reload(next));
  }
  std::vector<Host> declared;
  for (const auto& host : next.hosts) declared.push_back(host.host);
  PX_CHECK(feed->reload(std::move(next.hosts), [this]() -> Result<void> {
    return access_writer ? access_writer->reopen() : Result<void>{};
  }));
  hosts_changed({});
  if (renewal) renewal->declare(std::move(declared));
  if (take_over_certificates) take_over_certificates();
  shared.verification.use(std::move(authorities));
  {
    const std::lock_guard lock(mutex_);
    for (auto& worker : workers_) worker->forget_authorities();
  }
  for (const std::string& key : changed_keys(given, next)) {
    if (std::find(std::begin(reloaded_keys), std::end(reloaded_keys), key) !=
        std::end(reloaded_keys)) {
      continue;
    }
    log::warning("reload.ignored", {{"key", key}, {"why", "needs a restart"}});
  }
  return {};
}

server::Vitals Server::Parts::vitals() {
  server::Vitals vitals;
  const std::lock_guard lock(mutex_);
  for (const auto& worker : workers_) vitals.workers.push_back(&std::as_const(*worker).counters());
  vitals.host_names = routes.counted_hosts();
  vitals.table = table.current();
  vitals.log_batches_dropped = access_writer ? access_writer->dropped() : 0;
  vitals.feed = feed->state();
  vitals.store = store.describe();
  vitals.store_health = store.health();
  vitals.remote = redis::Url::has_scheme(vitals.store);
  vitals.whole_table = feed->whole();
  vitals.lookup_service = lookup_service ? &lookup_service->counters() : nullptr;
  vitals.renewal = renewal.get();
  vitals.challenges = challenges ? &challenges->counters() : nullptr;
  vitals.now = base::now_ms();
  vitals.failing = shared.failing.list(vitals.now);
  vitals.stopping = draining_ || stopped_;
  return vitals;
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(Config config, Store& store,
                                               const std::function<Result<void>()>& bound) {
  set_log_level(config.log.level);
  Config ours = for_proxy(config, store);
  auto parts = std::make_unique<Parts>(std::move(config), std::move(ours), store);
  PX_CHECK(parts->prepare(bound));
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Result<std::unique_ptr<Server>> Server::create_manager(Config config, Store& store,
                                                       const std::function<Result<void>()>& bound) {
  set_log_level(config.log.level);
  if (server::in_process(config.admin.in_process, store)) {
    return Error{Errc::invalid,
                 "admin.in_process: expected false, for as it is proxyd is the manager itself"};
  }
  config = with_manager_listener(std::move(config));
  Config ours = for_manager(config);
  ours.admin.in_process = true;
  auto parts = std::make_unique<Parts>(config, std::move(ours), store, server::page_of(config));
  PX_CHECK(parts->prepare(bound));
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Result<void> Server::check(const Config& config) {
  PX_CHECK(origin::Verification::load(config.tls));
  return server::TlsService::check(config);
}

Result<void> Server::mount(std::string_view pattern, Handler& handler) {
  PX_TRY(const std::string name, HostName::canonical_pattern(pattern));
  return parts_->mount(name, handler);
}

Result<void> Server::serve_certificates(CertSource& source) {
  return parts_->add_source(source);
}
void Server::forget_certificate(std::string_view name) {
  if (parts_->tls) parts_->tls->forget(name);
}

Result<void> Server::run() {
  return parts_->run();
}
Result<void> Server::attach(uv_loop_s& loop) {
  return parts_->attach(loop);
}
void Server::drain() {
  parts_->drain();
}
void Server::stop() {
  parts_->stop();
}
Result<void> Server::reload(Config next) {
  return parts_->reload(std::move(next));
}
void Server::reopen_logs() {
  if (!parts_->access_writer) return;
  if (auto reopened = parts_->access_writer->reopen(); !reopened) {
    log::error("log.reopen", {{"why", reopened.error().message()}});
  }
}
std::vector<ListenAddress> Server::http_addresses() const {
  return parts_->http.addresses;
}
std::vector<ListenAddress> Server::https_addresses() const {
  return parts_->https.addresses;
}
std::vector<ListenAddress> Server::admin_addresses() const {
  return parts_->admin.addresses;
}

std::vector<ListenAddress> Server::manager_addresses() const {
  return parts_->manager.addresses;
}
std::vector<ListenAddress> Server::manager_tls_addresses() const {
  return parts_->manager_tls.addresses;
}

std::string_view version() noexcept {
  return PROXYCORE_VERSION;
}

}  // namespace proxycore
