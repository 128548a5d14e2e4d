#include "tls/transport.h"

#include "base/text.h"
#include "tls/cert.h"
#include "tls/context.h"
#include <proxycore/host.h>

#include <utility>

namespace proxycore::tls {

namespace {
// Ciphertext that waits for the lower transport; beyond it, plaintext stays with the owner.
constexpr std::size_t high_water = 128 << 10;
// A connection whose peer is silent for so long gives its buffers back.
constexpr Millis park_after{20};

constexpr std::string_view http_answer =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 59\r\n"
    "Connection: close\r\n\r\nThis port speaks TLS: use https:// and not http:// for it.\n";

// A fatal alert in the clear (RFC 8446 §6).
constexpr char alert_unexpected_message = 10;
constexpr char alert_decode_error = 50;
constexpr char alert_internal_error = 80;
constexpr char alert_unrecognized_name = 112;
std::string alert(char what) {
  return {21, 3, 3, 0, 2, 2, what};
}
}  // namespace

Transport::Transport(io::Loop& loop, std::unique_ptr<io::Transport> lower, ServerContext& context,
                     CredentialsSource& source)
    : loop_(loop),
      server_(&context),
      source_(&source),
      hello_(std::make_unique<ClientHelloReader>()),
      out_(loop.slabs()),
      kept_(loop.slabs()),
      park_timer_(loop.timers(), *this, [](Transport& self) { self.park(); }),
      state_(State::hello),
      lower_(std::move(lower)) {}

Transport::Transport(io::Loop& loop, std::unique_ptr<io::Transport> lower, ClientContext& context,
                     ClientOptions options)
    : loop_(loop),
      client_(&context),
      options_(std::make_unique<ClientOptions>(std::move(options))),
      out_(loop.slabs()),
      kept_(loop.slabs()),
      park_timer_(loop.timers(), *this, [](Transport& self) { self.park(); }),
      state_(State::handshake),
      lower_(std::move(lower)) {}

Transport::~Transport() {
  // So that the peer need not take the end for a cut; as much as the socket takes of it.
  const bool is_open = state_ == State::open || state_ == State::ended;
  if (!is_open || closing_ || aborted_ || !out_.empty()) return;
  engine_->close();
  lower_->write(out_);
}

void Transport::start(io::Transport::Owner& owner) {
  owner_ = &owner;
  lower_->start(*this);
  if (client_ == nullptr) return;
  auto engine = Engine::client(*client_, *options_, out_);
  options_.reset();
  if (!engine) {
    fail(std::move(engine).error());
    return;
  }
  engine_ = *std::move(engine);
  Bytes nothing;
  if (engine_->next(nothing) == Engine::Event::failed) fail(engine_->error());
  flush();
}

void Transport::on_open() {
  flush();
}

void Transport::on_bytes(Bytes in) {
  switch (state_) {
    case State::hello:
      read_hello(in);
      return;
    case State::handshake:
    case State::open:
      if (kept_.empty() && !step(in)) return;
      keep(in);
      return;
    case State::credentials:
      keep(in);
      return;
    case State::ended:
    case State::closed:
      return;
  }
}

void Transport::keep(const Bytes& in) {
  if (in.empty() || (state_ != State::open && state_ != State::credentials)) return;
  kept_.append(in);
  update_receiving();
}

void Transport::read_hello(Bytes in) {
  const auto taken = hello_->feed(in.text());
  if (!taken) {
    const bool is_http = hello_->is_http();
    const bool is_tls = !hello_->message().empty();
    refuse(taken.error(), is_http ? std::string(http_answer)
                                  : alert(is_tls ? alert_decode_error : alert_unexpected_message));
    return;
  }
  if (!hello_->complete()) return;
  const auto hello = parse_client_hello(hello_->message());
  if (!hello) {
    refuse(hello.error(), alert(alert_decode_error));
    return;
  }
  std::string scratch;
  // Some clients ask for an address, which is no name (RFC 6066 §3).
  name_ = HostName::normalize(hello->server_name, scratch);
  if (base::is_address(name_)) name_.clear();
  state_ = State::credentials;
  keep(in.from(*taken));
  if (auto found = source_->find(name_, *this)) {
    shake_hands(std::move(found));
  } else {
    update_receiving();
  }
}

void Transport::on_credentials(std::shared_ptr<const Credentials> found) {
  shake_hands(std::move(found));
}

void Transport::shake_hands(std::shared_ptr<const Credentials> found) {
  if (!found) {
    refuse({Errc::not_found, "no certificate for the name"}, alert(alert_unrecognized_name));
    return;
  }
  credentials_ = std::move(found);
  auto engine = Engine::server(*server_, credentials_, name_, out_);
  if (!engine) {
    refuse(std::move(engine).error(), alert(alert_internal_error));
    return;
  }
  engine_ = *std::move(engine);
  state_ = State::handshake;
  // As one record, whatever it came as; the transcript has no records in it.
  const std::string& message = hello_->message();
  std::string record{22, 3, 1, static_cast<char>(message.size() >> 8),
                     static_cast<char>(message.size())};
  record += message;
  hello_.reset();
  Bytes in{std::string_view(record)};
  if (!step(in)) return;
  if (!kept_.empty()) {
    loop_.later(*this);
  } else {
    update_receiving();
  }
}

// Goes on with what came, until all of it is taken, or the owner wants no more. false: the owner
// was told that this is closed, and may have destroyed it.
bool Transport::step(Bytes& in) {
  bool opened = false;
  for (;;) {
    switch (engine_->next(in)) {
      case Engine::Event::wait:
        if (!opened) flush();
        park_timer_.arm(park_after);
        return true;
      case Engine::Event::opened:
        state_ = State::open;
        opened = true;
        owner_->on_open();
        // The handshake's last words go with the owner's first, if it has some in this turn.
        loop_.later(*this);
        break;
      case Engine::Event::bytes:
        owner_->on_bytes(engine_->plaintext());
        break;
      case Engine::Event::ended:
        state_ = State::ended;
        kept_.clear();
        update_receiving();
        owner_->on_end();
        return true;
      case Engine::Event::failed:
        flush();
        close(engine_->error());
        return false;
    }
    if (state_ != State::open || !wanted_) return true;
  }
}

void Transport::on_later() {
  if (state_ == State::closed) {
    if (!told_) close(why_);
    return;
  }
  flush();
  while (!kept_.empty() && (state_ == State::handshake || (state_ == State::open && wanted_))) {
    Bytes piece = kept_.front();
    const base::SlabRef hold(piece.slab);
    const std::size_t size = piece.size;
    if (!step(piece)) return;
    if (state_ == State::ended) return;  // and with it kept_
    kept_.consume(size - piece.size);
  }
  update_receiving();
}

void Transport::on_end() {
  switch (state_) {
    case State::hello:
    case State::credentials:
    case State::handshake:
      close({Errc::closed, "tls: the peer left during the handshake"});
      return;
    case State::open:
      close({Errc::closed, "tls: the peer ended without close_notify"});
      return;
    case State::ended:
    case State::closed:
      return;
  }
}

void Transport::on_closed(const Error& why) {
  close(why);
}

// The last thing that the owner is told.
void Transport::close(Error why) {
  if (told_) return;
  told_ = true;
  state_ = State::closed;
  why_ = std::move(why);
  owner_->on_closed(why_);
}

// As close(), where the owner cannot be told at once.
void Transport::fail(Error why) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  why_ = std::move(why);
  loop_.later(*this);
}

void Transport::refuse(Error why, std::string_view last_words) {
  out_.append(last_words);
  state_ = State::closed;
  flush();
  lower_->receive(false);
  close(std::move(why).within("tls: handshake"));
}

void Transport::flush() {
  if (!out_.empty()) lower_->write(out_);
  if (finishing_ && out_.empty()) {
    finishing_ = false;
    lower_->finish();
  }
}

void Transport::receive(bool on) {
  wanted_ = on;
  if (state_ != State::open) return;
  if (on && !kept_.empty()) loop_.later(*this);
  update_receiving();
}

void Transport::update_receiving() {
  switch (state_) {
    case State::hello:
    case State::handshake:
    case State::ended:  // a reset is still of interest
      lower_->receive(kept_.empty());
      return;
    case State::open:
      lower_->receive(wanted_ && kept_.empty());
      return;
    case State::credentials:
      lower_->receive(false);
      return;
    case State::closed:
      return;
  }
}

void Transport::write(Chain& out) {
  if (state_ == State::closed || closing_) {
    out.clear();
    return;
  }
  if (state_ != State::open && state_ != State::ended) return;  // on_open() is the time for it
  for (;;) {
    engine_->write(out, high_water);
    if (engine_->failed()) {
      out.clear();
      fail(engine_->error());
      return;
    }
    flush();
    if (out.empty() || !out_.empty()) break;
  }
  blocked_ = !out.empty();
}

void Transport::on_writable() {
  flush();
  if (!blocked_ || state_ == State::closed || out_.size() > high_water / 2) return;
  blocked_ = false;
  owner_->on_writable();
}

void Transport::finish() {
  if (state_ == State::closed || closing_) return;
  closing_ = true;
  finishing_ = true;
  if (engine_) engine_->close();
  flush();
}

void Transport::abort() {
  aborted_ = true;
  lower_->abort();
}

std::size_t Transport::unsent() const noexcept {
  return out_.size() + lower_->unsent();
}

void Transport::park() {
  if (state_ != State::closed) engine_->park();
}

std::string_view Transport::alpn() const noexcept {
  return engine_ ? engine_->alpn() : std::string_view();
}

bool Transport::covers(std::string_view host) const noexcept {
  if (!credentials_ || name_.empty() || host == name_) return true;
  return (credentials_->ecdsa && credentials_->ecdsa->matches(host)) ||
         (credentials_->rsa && credentials_->rsa->matches(host));
}

std::optional<TlsVersion> Transport::version() const noexcept {
  return engine_ ? engine_->version() : std::nullopt;
}

bool Transport::resumed() const noexcept {
  return engine_ && engine_->resumed();
}

std::shared_ptr<const Session> Transport::take_session() {
  return engine_ ? engine_->take_session() : nullptr;
}

}  // namespace proxycore::tls
