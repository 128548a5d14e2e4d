#include "origin/connection.h"

#include "base/assert.h"
#include "io/socket.h"
#include "origin/pool.h"

#include <utility>

namespace proxycore::origin {

namespace {
// A session is resumed without a look at the certificate: a full handshake comes as often as this.
constexpr std::int64_t session_life = 3'600'000;  // milliseconds
}  // namespace

Connection::Connection(Pool& pool, Endpoint& endpoint)
    : pool_(pool),
      endpoint_(endpoint),
      loop_(pool.loop_),
      timer_(pool.loop_.timers(), *this,
             [](Connection& self) {
               if (self.state_ == State::idle) {
                 self.die();
               } else if (self.state_ == State::shaking_hands) {
                 self.handshake_failed({Errc::timeout, "tls: handshake: no answer in time"});
               } else {
                 self.connect_failed({Errc::timeout, "connect: no answer in time"});
               }
             }),
      codec_(http::Role::client, pool.limits_, pool.loop_.slabs(), pool.parsers_, *this) {
  pool_.counters_.open.add(1);
}

Connection::~Connection() {
  pool_.counters_.open.add(-1);
}

std::optional<Error> Connection::open(Millis limit, origin::Waiter& waiter) {
  connect_limit_ = limit;
  pool_.counters_.connects.add(1);
  if (const KeptSession& kept = endpoint_.session; loop_.now() - kept.shaken < session_life) {
    resume_session_ = kept.session;
    shaken_ = kept.shaken;
  }
  std::optional<Error> failed;
  if (endpoint_.address) {
    addresses_.push_back(*endpoint_.address);
    failed = connect_next();
  } else {
    timer_.arm(limit);
    if (auto known = pool_.resolver_.find(endpoint_.target.name, *this)) {
      if (*known) {
        addresses_ = **std::move(known);
        failed = connect_next();
      } else {
        failed = std::move(*known).error();
      }
    }
  }
  if (failed) {
    pool_.counters_.connect_failures.add(1);
    die();
    return failed;
  }
  waiter_.push_back(waiter);
  return std::nullopt;
}

void Connection::on_resolved(const io::Addresses& answer) {
  if (!answer) {
    connect_failed(answer.error());
    return;
  }
  addresses_ = *answer;
  if (auto failed = connect_next()) connect_failed(*std::move(failed));
}

// Tries addresses until one of them can at least be waited for.
std::optional<Error> Connection::connect_next() {
  state_ = State::connecting;
  Error last{Errc::io, "no address"};
  while (next_address_ < addresses_.size()) {
    io::Address to = addresses_[next_address_++];
    to.set_port(endpoint_.target.port);
    if (auto refused = pool_.objection(endpoint_, to)) {
      last = *std::move(refused);
      continue;
    }
    auto socket = io::Socket::connect(loop_, to);
    if (socket) {
      transport_ = *std::move(socket);
      transport_->start(*this);
      timer_.arm(connect_limit_);
      return std::nullopt;
    }
    last = std::move(socket).error();
  }
  return last;
}

void Connection::connect_failed(Error why) {
  tls_ = nullptr;
  transport_.reset();
  if (state_ != State::resolving && next_address_ < addresses_.size()) {
    if (auto failed = connect_next()) {
      why = *std::move(failed);
    } else {
      return;
    }
  }
  pool_.counters_.connect_failures.add(1);
  base::List<origin::Waiter> waiting;
  waiting.splice(waiter_);
  die();
  if (!waiting.empty()) waiting.pop_front().on_lease(std::move(why));
}

void Connection::on_open() {
  if (endpoint_.speech != Speech::plain && state_ == State::connecting) {
    shake_hands();
  } else {
    opened();
  }
}

// The time limit of connecting goes on.
void Connection::shake_hands() {
  state_ = State::shaking_hands;
  auto context = pool_.client_context();
  if (!context) return handshake_failed(context.error());
  context_ = *std::move(context);
  tls::ClientOptions options;
  const std::string& name = endpoint_.server_name;
  options.server_name = name.find(':') == std::string::npos ? name : "[" + name + "]";
  options.verify = endpoint_.speech == Speech::verified ? tls::Verify::yes : tls::Verify::no;
  if (options.verify == tls::Verify::yes && !context_->has_authorities()) {
    return handshake_failed({Errc::denied, "tls: there are no authorities to verify it by"});
  }
  options.resume = std::exchange(resume_session_, nullptr);
  auto over =
      std::make_unique<tls::Transport>(loop_, std::move(transport_), *context_, std::move(options));
  tls_ = over.get();
  transport_ = std::move(over);
  transport_->start(*this);
}

void Connection::handshake_failed(Error why) {
  endpoint_.session = {};  // should it be the reason
  if (why.code != Errc::denied && why.code != Errc::timeout) why.code = Errc::protocol;
  PoolCounters& counters = pool_.counters_;
  (why.code == Errc::denied ? counters.handshakes_denied : counters.handshakes_failed).add();
  connect_failed(std::move(why));
}

void Connection::opened() {
  timer_.cancel();
  if (tls_ != nullptr) {
    const bool resumed = tls_->resumed();
    if (!resumed) shaken_ = loop_.now();
    (resumed ? pool_.counters_.handshakes_resumed : pool_.counters_.handshakes_full).add();
    keep_session();
  }
  if (waiter_.empty()) {  // nobody waits any more; somebody else may
    settle();
    return;
  }
  origin::Waiter& waiter = waiter_.pop_front();
  in_event_ = true;
  waiter.on_lease(Lease(*this));
  in_event_ = false;
  if (returned_) settle();
}

// In TLS 1.3 they come whenever the target likes.
void Connection::keep_session() {
  // One that was verified by authorities that are no more is of no use.
  if (tls_ == nullptr || context_ != pool_.client_context_) return;
  if (auto session = tls_->take_session()) endpoint_.session = {std::move(session), shaken_};
}

void Connection::lend() noexcept {
  PX_ASSERT(state_ != State::resolving && state_ != State::lent && state_ != State::dead);
  if (state_ == State::idle) {
    base::ListNode<IdleTag>::unlink();
    --endpoint_.idle_count;
    pool_.counters_.idle.add(-1);
    pool_.counters_.reuses.add(1);
    timer_.cancel();
  }
  state_ = State::lent;
  returned_ = false;
  ++exchanges_;
}

void Connection::give_back() {
  if (state_ != State::lent) return;
  returned_ = true;
  if (!in_event_) settle();
}

// The exchange is over: keep the connection for the next one, or close it.
void Connection::settle() {
  returned_ = false;
  keep_session();
  const bool keep = codec_.reusable() && !pool_.draining_ &&
                    endpoint_.idle_count < pool_.config_.origins.idle_connections;
  if (!keep) {
    die();
    return;
  }
  state_ = State::idle;
  endpoint_.idle.push_front(*this);
  ++endpoint_.idle_count;
  pool_.counters_.idle.add(1);
  timer_.arm(pool_.config_.timeouts.origin_keepalive);
}

void Connection::die() {
  if (state_ == State::dead) return;
  keep_session();
  if (state_ == State::idle) {
    base::ListNode<IdleTag>::unlink();
    --endpoint_.idle_count;
    pool_.counters_.idle.add(-1);
  }
  state_ = State::dead;
  timer_.cancel();
  io::Later::unlink();
  io::Resolver::Waiter::unlink();
  pool_.remove(*this);
}

void Connection::on_bytes(base::Bytes in) {
  if (state_ ==
      State::idle) {  // an answer to no question (RFC 9112 §9.3.2 leaves us no use for it)
    die();
    return;
  }
  if (state_ == State::dead) return;
  in_event_ = true;
  codec_.feed(in);
  in_event_ = false;
  if (returned_) settle();
}

void Connection::on_end() {
  if (state_ != State::lent) {
    die();
    return;
  }
  in_event_ = true;
  codec_.end_of_input();
  in_event_ = false;
  if (returned_) settle();
}

void Connection::on_writable() {
  if (state_ != State::dead) flush();
}

void Connection::on_closed(const Error& why) {
  if (state_ == State::connecting) {
    connect_failed(why);
    return;
  }
  if (state_ == State::shaking_hands) {
    handshake_failed(why);
    return;
  }
  if (state_ == State::lent) {
    in_event_ = true;
    codec_.abort({why.code, 0, "the connection to the target broke"});
    in_event_ = false;
  }
  die();
}

void Connection::on_later() {
  if (resume_ && state_ == State::lent) {
    resume_ = false;
    on_bytes({});
  }
  if (state_ != State::dead) flush();
}

bool Connection::push() {
  if (state_ != State::lent || !transport_) return false;
  transport_->write(codec_.output());
  return codec_.output().size() < pool_.limits_.high_water;
}

void Connection::flush() {
  if (!transport_) return;
  if (!codec_.output().empty()) transport_->write(codec_.output());
  in_event_ = true;
  codec_.written();
  in_event_ = false;
  if (returned_) {
    settle();
    return;
  }
  if (codec_.output().empty() && codec_.after_output() == http::After::finish) {
    transport_->finish();
  }
}

http::StreamEvents& Connection::on_stream(http::Stream& /*opened_by_peer*/) {
  // HTTP/1.1 and HTTP/2 origins open no streams; the codec of the client role never asks.
  std::abort();
}

void Connection::on_receive(bool on) {
  if (!transport_) return;
  transport_->receive(on);
  if (on) {
    resume_ = true;
    loop_.later(*this);
  }
}

}  // namespace proxycore::origin
