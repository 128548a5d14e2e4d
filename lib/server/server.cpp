#include "base/line_writer.h"
#include "base/log.h"
#include "base/snapshot.h"
#include "host/route_table.h"
#include "io/listener.h"
#include "proxy/worker.h"
#include "server/admin_pages.h"
#include "server/route_source.h"
#include <proxycore/server.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

namespace proxycore {

namespace {

constexpr Millis store_limit{30'000};
// After a change in the store, the time for others to join it: a table is built whole.
constexpr Millis settle_time{20};
constexpr Millis retry_pause{1'000};
constexpr Millis sweep_pause{2'000};  // until the workers have passed on to a new table
constexpr auto never = Deadline::Clock::time_point::max();
// Descriptors for everything that is neither a client's nor a target's connection.
constexpr rlim_t reserved_descriptors = 128;

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

// Built bottom-up, torn down in reverse.
class Server::Parts {
 public:
  Parts(Config configured, Store& store)
      : given(configured),
        config(with_defaults(std::move(configured))),
        pages([this] { return vitals(); }),
        routes(store, config.metrics.hosts),
        shared{config,
               {},
               {},
               proxy::Admission(config.limits.connections, config.limits.connections_per_address)} {
    shared.admin = &pages;
  }
  ~Parts() { end_control(); }

  Result<void> prepare(const std::function<Result<void>()>& bound_all);
  Result<void> mount(std::string_view pattern, Handler& handler);
  Result<void> run();
  Result<void> attach(uv_loop_s& loop);
  void drain();
  void stop();
  Result<void> reload(Config next);

  server::Vitals vitals();

  const Config given;  // as it was configured, to compare a reload with
  Config config;       // with what depends on the machine filled in
  server::AdminPages pages;
  server::RouteSource routes;
  std::unique_ptr<base::LineWriter> access_writer;
  proxy::Shared shared;
  Bound http;
  Bound admin;
  base::Snapshot<host::RouteTable> table;
  std::unique_ptr<Watch> watch;

 private:
  void make_worker(std::size_t index, uv_loop_s* host);
  void begin_control();
  void end_control();
  void control();
  bool publish();

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool changed_ = false;  // the store's hosts
  bool ending_ = false;   // the control thread shall end
  bool draining_ = false;
  bool stopped_ = false;
  bool running_ = false;
  std::size_t undrained_ = 0;
  Deadline::Clock::time_point drain_by_ = never;
  Deadline::Clock::time_point sweep_at_ = never;  // tables of before
  std::uint64_t updates_ = 0;
  std::uint64_t failures_ = 0;
  std::vector<std::unique_ptr<proxy::Worker>> workers_;

  std::mutex publishing_;  // one rebuild at a time
  std::thread control_;
};

Result<void> Server::Parts::prepare(const std::function<Result<void>()>& bound_all) {
  if (!config.listen.https.empty()) {
    return Error{Errc::invalid, "listen.https: TLS is not available in this version"};
  }
  PX_TRY(shared.trust, trust_of(config));
  PX_CHECK(bind_all(config.listen.http, proxy::Service::proxy, config.workers.count, config.listen,
                    http));
  // One worker answers operators: it sums over all of them anyway.
  PX_CHECK(bind_all(config.listen.admin, proxy::Service::admin, 1, config.listen, admin));
  if (bound_all) PX_CHECK(bound_all());

  if (config.log.access != "off") {
    PX_TRY(access_writer, base::LineWriter::open(config.log.access));
    shared.access_writer = access_writer.get();
  }
  PX_CHECK(routes.declare(std::move(config.hosts)));
  // Before the first look, so that no change falls in between.
  auto watching = routes.store().watch(routes.prefix(), [this](std::string_view) {
    const std::lock_guard lock(mutex_);
    changed_ = true;
    wake_.notify_one();
  });
  if (watching) {
    watch = *std::move(watching);
  } else {
    log::error("store.watch",
               {{"store", routes.store().describe()}, {"why", watching.error().message()}});
  }
  PX_TRY(auto first, routes.build(Deadline::in(store_limit), server::RouteSource::Clash::refuse));
  table.publish(std::move(first));
  // A peer that is gone must not end the process: writes tell it by EPIPE.
  struct sigaction action {};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    ::signal(SIGPIPE, SIG_IGN);
  }
  return {};
}

void Server::Parts::make_worker(std::size_t index, uv_loop_s* host) {
  auto worker = std::make_unique<proxy::Worker>(shared, table.current(), host);
  for (Bound* bound : {&http, &admin}) {
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
}

void Server::Parts::begin_control() {
  control_ = std::thread([this] { control(); });
}

void Server::Parts::end_control() {
  watch.reset();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  if (control_.joinable()) control_.join();
}

// The control thread: rebuilds the table when the store changed, destroys those of before, ends a
// drain that takes too long.
void Server::Parts::control() {
  Deadline::Clock::time_point again = never;  // an update that failed
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const auto now = Deadline::Clock::now();
    if (changed_ || now >= again) {
      wake_.wait_for(lock, settle_time, [this] { return ending_; });
      if (ending_) return;
      changed_ = false;
      lock.unlock();
      const bool published = publish();
      lock.lock();
      // The store may be back soon.
      again = published ? never : Deadline::Clock::now() + retry_pause;
    } else if (now >= drain_by_) {
      drain_by_ = never;
      lock.unlock();
      log::warning("drain.deadline", {{"action", "open connections are closed"}});
      stop();
      lock.lock();
    } else if (now >= sweep_at_) {
      lock.unlock();
      const bool used = table.sweep();
      lock.lock();
      sweep_at_ = used ? Deadline::Clock::now() + sweep_pause : never;
    } else if (const auto next = std::min({again, drain_by_, sweep_at_}); next != never) {
      wake_.wait_until(lock, next);
    } else {
      wake_.wait(lock);
    }
  }
}

// false: the store could not be read.
bool Server::Parts::publish() {
  const std::lock_guard one(publishing_);
  table.sweep();
  auto next = routes.build(Deadline::in(store_limit), server::RouteSource::Clash::skip);
  if (!next) {
    log::error("routes.update", {{"store", routes.store().describe()},
                                 {"why", next.error().message()},
                                 {"action", "the hosts known before go on"}});
  } else {
    table.publish(*next);
  }
  const std::lock_guard lock(mutex_);
  ++(next ? updates_ : failures_);
  if (next && sweep_at_ == never) sweep_at_ = Deadline::Clock::now() + sweep_pause;
  return next.has_value();
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
    for (std::size_t i = 0; i < config.workers.count; ++i) make_worker(i, nullptr);
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
    make_worker(0, &loop);
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

Result<void> Server::Parts::reload(Config next) {
  const std::lock_guard one(publishing_);
  PX_CHECK(routes.declare(std::move(next.hosts)));
  auto built = routes.build(Deadline::in(store_limit), server::RouteSource::Clash::refuse);
  Result<void> reopened;
  if (built && access_writer) reopened = access_writer->reopen();
  if (!built || !reopened) {
    routes.take_back();
    return std::move(built ? reopened.error() : built.error());
  }
  table.publish(*std::move(built));
  {
    const std::lock_guard lock(mutex_);
    ++updates_;
    if (sweep_at_ == never) sweep_at_ = Deadline::Clock::now() + sweep_pause;
    wake_.notify_one();
  }
  for (const std::string& key : changed_keys(given, next)) {
    log::warning("reload.ignored", {{"key", key}, {"why", "needs a restart"}});
  }
  return {};
}

server::Vitals Server::Parts::vitals() {
  server::Vitals vitals;
  const std::lock_guard lock(mutex_);
  for (const auto& worker : workers_) vitals.workers.push_back(&std::as_const(*worker).counters());
  vitals.host_names = routes.counted_hosts();
  if (const auto current = table.current()) vitals.hosts = current->size();
  vitals.log_batches_dropped = access_writer ? access_writer->dropped() : 0;
  vitals.route_updates = updates_;
  vitals.route_failures = failures_;
  vitals.ready = !draining_ && !stopped_;
  vitals.not_ready_because = "draining";
  return vitals;
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(Config config, Store& store,
                                               const std::function<Result<void>()>& bound) {
  set_log_level(config.log.level);
  auto parts = std::make_unique<Parts>(std::move(config), store);
  PX_CHECK(parts->prepare(bound));
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Result<void> Server::mount(std::string_view pattern, Handler& handler) {
  PX_TRY(const std::string name, HostName::canonical_pattern(pattern));
  return parts_->mount(name, handler);
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
std::vector<ListenAddress> Server::admin_addresses() const {
  return parts_->admin.addresses;
}

std::string_view version() noexcept {
  return PROXYCORE_VERSION;
}

}  // namespace proxycore
