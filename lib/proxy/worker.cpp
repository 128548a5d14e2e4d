#include "proxy/worker.h"

#include "base/text.h"
#include "io/socket.h"
#include "lookup/trie_tier.h"
#include "tls/transport.h"

#include <cerrno>
#include <utility>

#include <sys/random.h>
#include <unistd.h>

namespace proxycore::proxy {

namespace {

http::Limits limits_of(const Config& config) {
  http::Limits limits;
  limits.header_count = config.limits.header_count;
  limits.header_size = config.limits.header_size;
  limits.target_size = config.limits.target_size;
  limits.body_size = config.limits.body_size;
  return limits;
}

http::H2Limits h2_limits_of(const Config& config) {
  http::H2Limits limits;
  limits.streams = config.limits.http2_streams;
  return limits;
}

// A bijection on 64 bits, so that ids of one worker never repeat.
std::uint64_t mix(std::uint64_t x) noexcept {
  x ^= x >> 30U;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27U;
  x *= 0x94d049bb133111ebULL;
  return x ^ x >> 31U;
}

void hex(std::uint64_t value, char* out) noexcept {
  static constexpr char digits[] = "0123456789abcdef";
  for (int i = 15; i >= 0; --i) {
    out[i] = digits[value & 15U];
    value >>= 4U;
  }
}

bool is_admin(Service service) noexcept {
  return service == Service::admin || service == Service::admin_tls;
}

std::uint64_t random_seed() noexcept {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != sizeof seed) {
    seed = static_cast<std::uint64_t>(::getpid()) << 32U;
  }
  return seed;
}

std::size_t tier_count(const Shared& shared) {
  return shared.tiers.empty() ? 1 : shared.tiers.size();
}

std::vector<std::unique_ptr<lookup::Tier>> make_tiers(const Shared& shared, io::Loop& loop,
                                                      const base::View<host::RouteTable>& routes) {
  std::vector<std::unique_ptr<lookup::Tier>> tiers;
  for (const MakeTier& make : shared.tiers) tiers.push_back(make(loop, routes));
  if (tiers.empty()) tiers.push_back(std::make_unique<lookup::TrieTier>("trie", routes));
  return tiers;
}

}  // namespace

struct Worker::Tls {
  Tls(std::unique_ptr<tls::ServerContext> given, io::Loop& loop,
      const tls::CertCache::Limits& limits, tls::CertCache::Ask ask,
      std::shared_ptr<const tls::Credentials> fallback, tls::CertCacheCounters& counters)
      : context(std::move(given)),
        certificates(loop, limits, std::move(ask), std::move(fallback), counters) {}
  std::unique_ptr<tls::ServerContext> context;
  tls::CertCache certificates;
};

Worker::Worker(Shared& shared, std::shared_ptr<const host::RouteTable> routes, uv_loop_s* host)
    : shared_(shared),
      loop_(host == nullptr ? io::Loop() : io::Loop(*host)),
      http_limits_(limits_of(shared.config)),
      h2_limits_(h2_limits_of(shared.config)),
      counters_(shared.config.metrics.hosts, tier_count(shared)),
      h2_memory_(loop_.slabs(), counters_.h2),
      lookup_(loop_, make_tiers(shared, loop_, routes_), counters_.lookup),
      pool_(loop_, shared.config, shared.targets, shared.verification, shared.failing,
            shared.resolver, counters_.pool),
      access_log_(loop_, shared.access_writer, shared.config.log.access_format),
      id_seed_(random_seed()) {
  routes_.set(std::move(routes));
}

Worker::~Worker() {
  close_all();
  loop_.sweep();
}

void Worker::listen(const Socket& socket) {
  listeners_.push_back(std::make_unique<io::Listener>(
      loop_, socket.fd, socket.is_unix, static_cast<unsigned>(socket.service), *this));
}

void Worker::serve_tls(std::unique_ptr<tls::ServerContext> context, tls::CertCache::Ask ask,
                       std::shared_ptr<const tls::Credentials> fallback) {
  const TlsConfig& limits = shared_.config.tls;
  tls_ = std::make_unique<Tls>(std::move(context), loop_,
                               tls::CertCache::Limits{limits.certificates, limits.certificate_wait},
                               std::move(ask), std::move(fallback), counters_.certificates);
}

void Worker::set_ticket_keys(std::shared_ptr<const tls::TicketKeys> keys) {
  loop_.post([this, keys = std::move(keys)]() mutable {
    if (tls_) tls_->context->set_ticket_keys(std::move(keys));
  });
}

void Worker::forget_certificates(std::vector<std::string> names) {
  loop_.post([this, names = std::move(names)] {
    if (tls_) tls_->certificates.forget(names);
  });
}

void Worker::set_fallback(std::shared_ptr<const tls::Credentials> fallback) {
  loop_.post([this, next = std::move(fallback)]() mutable {
    if (tls_) tls_->certificates.set_fallback(std::move(next));
  });
}

void Worker::forget_authorities() {
  loop_.post([this] { pool_.forget_authorities(); });
}

void Worker::on_accept(int fd, const io::Address& peer, io::Listener& from) {
  const auto service = static_cast<Service>(from.kind());
  const bool admin = is_admin(service);
  // Operators must get in when everything is full: they have a small bound of their own.
  const Admitted admitted = !admin                                   ? shared_.admission.enter(peer)
                            : admin_connections_ < shared_.operators ? Admitted::yes
                                                                     : Admitted::no;
  if (admitted == Admitted::over_total) counters_.connections_refused_total.add();
  if (admitted == Admitted::over_address) counters_.connections_refused_address.add();
  if (admitted == Admitted::no) {
    counters_.connections_refused_total.add();
    ::close(fd);
    return;
  }
  auto socket = io::Socket::adopt(loop_, fd, from.is_unix());
  if (!socket) {
    if (!admin) shared_.admission.leave(peer);
    return;
  }
  std::unique_ptr<io::Transport> transport = *std::move(socket);
  const bool tls = service == Service::tls || service == Service::admin_tls;
  if (tls) {
    transport = std::make_unique<tls::Transport>(loop_, std::move(transport), *tls_->context,
                                                 tls_->certificates);
  }
  take(std::move(transport),
       {peer, from.is_unix(), tls, admitted != Admitted::yes, admin ? shared_.admin : nullptr});
}

void Worker::take(std::unique_ptr<io::Transport> transport,
                  const ClientConnection::Accepted& from) {
  const bool admin = from.handler != nullptr;
  if (admin) {
    ++admin_connections_;
  } else {
    counters_.connections_accepted.add();
    counters_.connections_open.add(1);
  }
  // The list holds it; remove() takes it out again.
  auto connection = std::make_unique<ClientConnection>(*this, std::move(transport), from);
  (admin ? operators_ : connections_).push_back(*connection.release());
}

void Worker::connection_closed(const ClientConnection& connection, const io::Address& peer) {
  if (connection.handler() != nullptr) {
    --admin_connections_;
    return;
  }
  counters_.connections_open.add(-1);
  shared_.admission.leave(peer);
}

void Worker::remove(ClientConnection& connection) {
  static_cast<base::ListNode<ConnectionTag>&>(connection).unlink();
  loop_.retire(std::unique_ptr<io::Retired>(&connection));
  if (draining_) loop_.later(*this);
}

Exchange& Worker::take_exchange() {
  if (free_exchanges_.empty()) {
    return *exchanges_.emplace_back(std::make_unique<Exchange>(*this));
  }
  return free_exchanges_.pop_front();
}

void Worker::give_back(Exchange& exchange) {
  // Frames further up the stack may still be its own: it is not used again in this turn.
  ended_exchanges_.push_back(exchange);
  loop_.later(*this);
}

void Worker::on_later() {
  // The last used first: its memory is warm.
  while (!ended_exchanges_.empty()) free_exchanges_.push_front(ended_exchanges_.pop_front());
  check_drained();
}

void Worker::set_routes(std::shared_ptr<const host::RouteTable> routes) {
  loop_.post([this, next = std::move(routes)]() mutable { routes_.set(std::move(next)); });
}

void Worker::forget(std::vector<std::string> patterns) {
  loop_.post([this, changed = std::move(patterns)] {
    if (changed.empty()) return lookup_.forget_all();
    lookup_.forget(changed);
  });
}

void Worker::drain(std::function<void()> drained) {
  loop_.post([this, then = std::move(drained)]() mutable {
    drained_ = std::move(then);
    draining_ = true;
    std::erase_if(listeners_, [](const auto& listener) {
      if (is_admin(static_cast<Service>(listener->kind()))) return false;
      listener->accept_rest();
      return true;
    });
    connections_.for_each([](ClientConnection& connection) { connection.drain(); });
    check_drained();
  });
}

void Worker::check_drained() {
  if (!draining_ || !connections_.empty() || !drained_) return;
  pool_.drain();
  std::exchange(drained_, nullptr)();
}

void Worker::stop() {
  loop_.post([this] {
    close_all();
    loop_.stop();
  });
}

void Worker::close_all() {
  listeners_.clear();
  for (auto* list : {&connections_, &operators_}) {
    list->for_each([](ClientConnection& connection) { connection.close(); });
  }
  pool_.drain();
  access_log_.flush();
}

std::string_view Worker::date() {
  const std::int64_t second = loop_.wall() / 1000;
  if (second != date_second_) {
    date_second_ = second;
    date_ = base::http_date(static_cast<std::time_t>(second));
  }
  return date_;
}

std::string_view Worker::next_id(std::array<char, 32>& into) {
  hex(id_seed_, into.data());
  hex(mix(id_seed_ + ++id_count_), into.data() + 16);
  // Eight digits tell the worker, sixteen the request.
  return {into.data() + 8, 24};
}

}  // namespace proxycore::proxy
