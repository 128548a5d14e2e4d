#include "proxy/client_connection.h"

#include "http/h1_codec.h"
#include "http/h2_codec.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

#include <utility>

namespace proxycore::proxy {

namespace {
// A client that was answered before it had sent everything gets this much time and room to notice,
// so that a reset does not destroy our last words (RFC 9112 §9.6).
constexpr Millis linger_limit{2'000};
constexpr std::uint64_t linger_bytes = 1 << 20;
// While draining, how long an idle connection is kept for a request already on its way.
constexpr Millis drain_grace{1'000};
}  // namespace

ClientConnection::ClientConnection(Worker& worker, std::unique_ptr<io::Transport> transport,
                                   const Accepted& from)
    : worker_(worker),
      transport_(std::move(transport)),
      timer_(worker.loop().timers(), *this, [](ClientConnection& self) { self.on_timeout(); }),
      info_{from.is_unix ? "unix" : from.peer.ip(), worker.trust().trusts(from.peer), from.tls},
      peer_(from.peer),
      handler_(from.handler),
      surplus_(from.surplus) {
  if (from.tls) {
    timer_.arm(worker_.config().timeouts.tls_handshake);
  } else {
    begin(false);
  }
  transport_->start(*this);
}

// From here on requests may come.
void ClientConnection::begin(bool http2) {
  http2_ = http2;
  http::Codec::Peer& peer = *this;
  if (http2) {
    codec_ = std::make_unique<http::H2Codec>(http::Role::server, worker_.http_limits(),
                                             worker_.h2_limits(), worker_.h2_memory(), peer);
    worker_.loop().later(*this);  // our settings go first
  } else {
    codec_ = std::make_unique<http::H1Codec>(http::Role::server, worker_.http_limits(),
                                             worker_.loop().slabs(), worker_.parsers(), peer);
  }
  // A client that connects and sends nothing has as long as one that starts a head.
  phase_ = Phase::head;
  timer_.arm(worker_.config().timeouts.client_header);
  if (draining_ || worker_.draining()) drain();
  if (surplus_) codec_->drain();
}

ClientConnection::~ClientConnection() {
  worker_.connection_closed(*this, peer_);
}

http::StreamEvents& ClientConnection::on_stream(http::Stream& opened_by_peer) {
  const std::uint32_t most = worker_.config().limits.requests_per_connection;
  if (++requests_ == most) codec_->drain();
  Exchange& exchange = worker_.take_exchange();
  exchanges_.push_back(exchange);
  return exchange.begin(*this, opened_by_peer);
}

void ClientConnection::exchange_ended(Exchange& exchange) {
  static_cast<base::ListNode<ExchangeTag>&>(exchange).unlink();
  worker_.give_back(exchange);
  if (closed_) return;
  if (surplus_) codec_->drain();  // it was told, and that is all
  resume_ = true;
  worker_.loop().later(*this);
}

void ClientConnection::on_output() {
  worker_.loop().later(*this);
}

void ClientConnection::on_receive(bool on) {
  transport_->receive(on);
  if (on) {
    resume_ = true;
    worker_.loop().later(*this);
  }
}

void ClientConnection::close_after_response() {
  // In HTTP/2 what follows belongs to another stream; this one is reset.
  if (!http2_) codec_->drain();
}

void ClientConnection::on_open() {
  if (closed_) return;
  worker_.counters().handshakes.add();
  if (transport_->resumed()) worker_.counters().handshakes_resumed.add();
  begin(transport_->alpn() == "h2");
}

void ClientConnection::on_bytes(base::Bytes in) {
  if (closed_) return;
  if (phase_ == Phase::linger) {
    lingered_ += in.size;
    if (lingered_ > linger_bytes) close();
    return;
  }
  codec_->feed(in);
  update();
}

void ClientConnection::on_end() {
  if (closed_) return;
  ended_ = true;
  if (phase_ == Phase::linger || phase_ == Phase::handshake) {
    close();
    return;
  }
  codec_->end_of_input();
  // Half-closed clients get their answer; without a request there is none to wait for.
  if (exchanges_.empty() && codec_->output().empty()) {
    close();
    return;
  }
  update();
}

void ClientConnection::on_writable() {
  if (closed_ || phase_ == Phase::handshake) return;
  codec_->written();
  if (closed_) return;
  worker_.loop().later(*this);
  moved_ = true;
}

void ClientConnection::on_closed(const Error& /*why*/) {
  if (closed_) return;
  if (phase_ == Phase::handshake) worker_.counters().handshake_failures.add();
  if (codec_) codec_->abort({Errc::closed, 0, "the client went away"});
  close();
}

// The end of a turn in which something was written, or may be read on.
void ClientConnection::on_later() {
  // One exchange a call, while pipelined ones are answered at once. A client that does not read
  // waits for its own backlog.
  do {
    resume_ = false;
    codec_->feed({});
  } while (resume_ && !closed_ && codec_->output().size() < worker_.http_limits().high_water);
  if (closed_) return;
  flush();
  if (!closed_) update();
}

void ClientConnection::flush() {
  // What was taken may make room for more.
  while (!codec_->output().empty()) {
    transport_->write(codec_->output());
    const bool blocked = !codec_->output().empty();
    codec_->written();
    if (closed_ || blocked) return;
  }
  switch (codec_->after_output()) {
    case http::After::keep:
      if (ended_ && exchanges_.empty()) close();
      return;
    case http::After::finish:
      if (!finished_) transport_->finish();
      finished_ = true;
      return;
    case http::After::abort:
      transport_->abort();
      close();
      return;
    case http::After::close:
      close();
      return;
    case http::After::linger:
      if (!finished_) transport_->finish();
      finished_ = true;
      enter(Phase::linger);
      transport_->receive(true);
      return;
  }
}

bool ClientConnection::push(http::Stream& stream) {
  if (closed_) return false;
  transport_->write(codec_->output());
  return stream.flow() == http::Flow::ok;
}

// Which time-out applies now.
void ClientConnection::update() {
  if (closed_ || phase_ == Phase::linger) return;
  if (codec_->backlog()) {
    enter(Phase::blocked);
  } else if (!exchanges_.empty()) {
    enter(Phase::exchange);
  } else if (codec_->idle()) {
    enter(Phase::idle);
  } else {
    enter(Phase::head);
  }
}

void ClientConnection::enter(Phase next) {
  if (phase_ == next) return;
  phase_ = next;
  const Config::Timeouts& limits = worker_.config().timeouts;
  switch (next) {
    case Phase::handshake:
      return;
    case Phase::idle:
      timer_.arm(draining_ ? drain_grace : limits.client_idle);
      return;
    case Phase::head:
      timer_.arm(limits.client_header);
      return;
    case Phase::exchange:
      timer_.cancel();
      return;
    case Phase::blocked:
      moved_ = false;
      unsent_ = transport_->unsent();
      timer_.arm(limits.client_write);
      return;
    case Phase::linger:
      timer_.arm(linger_limit);
      return;
  }
}

void ClientConnection::on_timeout() {
  if (phase_ == Phase::head && !codec_->idle()) {
    // Some of a head came: it is told what was wrong before it is closed.
    codec_->refuse({Errc::timeout, 408, "the request's head did not arrive in time"});
    worker_.loop().later(*this);
    return;
  }
  if (phase_ == Phase::handshake) worker_.counters().handshake_timeouts.add();
  if (phase_ == Phase::blocked && watch_blocked()) return;
  close();
}

// Whether a client that is slow to take what we have for it may go on.
bool ClientConnection::watch_blocked() {
  const std::size_t left = transport_->unsent();
  const bool takes = std::exchange(moved_, false) || left < unsent_ || codec_->output().empty();
  if (!takes) {
    worker_.counters().client_timeouts.add();
    codec_->abort({Errc::timeout, 0, "the client took no bytes in time"});
    return false;
  }
  unsent_ = left;
  timer_.arm(worker_.config().timeouts.client_write);
  // It may take bytes and keep single streams waiting.
  codec_->drop_stalled();
  worker_.loop().later(*this);
  return true;
}

void ClientConnection::drain() {
  draining_ = true;
  if (!codec_) return;
  codec_->drain();
  if (phase_ == Phase::idle || (phase_ == Phase::head && codec_->idle())) timer_.arm(drain_grace);
}

void ClientConnection::close() {
  if (closed_) return;
  closed_ = true;
  if (!exchanges_.empty()) codec_->abort({Errc::closed, 0, "the connection was closed"});
  timer_.cancel();
  io::Later::unlink();
  worker_.remove(*this);
}

}  // namespace proxycore::proxy
