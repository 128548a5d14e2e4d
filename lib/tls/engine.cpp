#include "tls/engine.h"

#include "base/assert.h"
#include "base/text.h"
#include "tls/accel/park.h"
#include "tls/accel/record.h"
#include "tls/cert.h"
#include "tls/context.h"
#include <proxycore/host.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

namespace proxycore::tls {

namespace {
constexpr std::size_t max_plain = 16384;  // RFC 8446 §5.1
// Shorter pieces are gathered into one record; longer ones would cost more to copy.
constexpr std::size_t gather_below = 4096;
// Records in a row that bring no bytes: parts of messages before the connection is open, then
// warnings, empty ones, refused handshakes, tickets.
constexpr int max_handshake_records = 128;
constexpr int max_idle_records = 32;

struct Named {
  int value;
  std::string_view text;
};

// RFC 8446 §6, RFC 5246 §7.2.
constexpr Named alerts[] = {
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {22, "record overflow"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "certificate revoked"},
    {45, "certificate expired"},
    {46, "certificate unknown"},
    {47, "illegal parameter"},
    {48, "unknown CA"},
    {49, "access denied"},
    {50, "decode error"},
    {51, "decrypt error"},
    {70, "protocol version"},
    {71, "insufficient security"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {100, "no renegotiation"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

// What mbedTLS found, in the order of how much it tells.
constexpr Named certificate_faults[] = {
    {MBEDTLS_X509_BADCERT_REVOKED, "the certificate has been revoked"},
    {MBEDTLS_X509_BADCERT_EXPIRED, "the certificate has expired"},
    {MBEDTLS_X509_BADCERT_FUTURE, "the certificate is not valid yet"},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, "the certificate is for another name"},
    {MBEDTLS_X509_BADCERT_MISSING, "no certificate was shown"},
    {MBEDTLS_X509_BADCERT_KEY_USAGE, "the certificate may not be used for this"},
    {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "the certificate may not be used for servers"},
    {MBEDTLS_X509_BADCERT_NS_CERT_TYPE, "the certificate may not be used for servers"},
    {MBEDTLS_X509_BADCERT_BAD_MD, "the certificate is signed with a weak hash"},
    {MBEDTLS_X509_BADCERT_BAD_PK, "the certificate is signed with an unknown algorithm"},
    {MBEDTLS_X509_BADCERT_BAD_KEY, "the certificate's key is too weak"},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, "no known authority has signed the certificate"},
};

constexpr Named failures[] = {
    {MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, "no version in common"},
    {MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, "no application protocol in common"},
    {MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, "no parameters in common"},
    {MBEDTLS_ERR_SSL_INVALID_MAC, "a record that was changed on its way"},
    {MBEDTLS_ERR_SSL_INVALID_RECORD, "a malformed record"},
    {MBEDTLS_ERR_SSL_DECODE_ERROR, "a malformed message"},
    {MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, "a message that makes no sense"},
    {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, "a message out of order"},
    {MBEDTLS_ERR_SSL_BAD_CERTIFICATE, "a malformed certificate"},
    {MBEDTLS_ERR_SSL_UNRECOGNIZED_NAME, "a name that is not served"},
};

std::string_view text_of(const Named* begin, const Named* end, int value) {
  const auto* const found =
      std::find_if(begin, end, [&](const Named& one) { return one.value == value; });
  return found != end ? found->text : std::string_view();
}

Error refusal(int alert) {
  const std::string_view name = text_of(std::begin(alerts), std::end(alerts), alert);
  return Error{Errc::refused, name.empty() ? "alert " + std::to_string(alert) : std::string(name)}
      .within("the peer refused");
}
}  // namespace

// What mbedTLS calls.
struct Engine::Callbacks {
  static constexpr int flooded = MBEDTLS_ERR_ERROR_GENERIC_ERROR;

  static int send(void* self, const unsigned char* bytes, std::size_t size) {
    auto* engine = static_cast<Engine*>(self);
    engine->out_.copy(reinterpret_cast<const char*>(bytes), size);
    return static_cast<int>(size);
  }

  static int receive(void* self, unsigned char* room, std::size_t size) {
    auto* engine = static_cast<Engine*>(self);
    if (engine->in_ == nullptr || engine->in_->empty()) return MBEDTLS_ERR_SSL_WANT_READ;
    if (engine->ssl_->in_left == 0 && --engine->idle_records_ < 0) return flooded;
    const std::size_t part = std::min(size, engine->in_->size);
    std::memcpy(room, engine->in_->data, part);
    *engine->in_ = engine->in_->from(part);
    return static_cast<int>(part);
  }

  // The server's: mbedTLS picks one of these by what the client can verify.
  static int choose(mbedtls_ssl_context* ssl) {
    auto* engine = static_cast<Engine*>(mbedtls_ssl_get_user_data_p(ssl));
    if (std::exchange(engine->presented_, true)) return 0;  // a second ClientHello
    for (const auto& one : {engine->credentials_->ecdsa, engine->credentials_->rsa}) {
      if (!one) continue;
      const int status = mbedtls_ssl_set_hs_own_cert(ssl, one->chain(), one->key());
      if (status != 0) return status;
    }
    return 0;
  }

  // The client's: whether the certificate is for the name, by our rules rather than mbedTLS's.
  static int verify(void* self, mbedtls_x509_crt* certificate, int depth, std::uint32_t* flags) {
    const auto* engine = static_cast<const Engine*>(self);
    if (depth != 0) return 0;
    *flags &= ~static_cast<std::uint32_t>(MBEDTLS_X509_BADCERT_CN_MISMATCH);
    const std::vector<std::string> names = names_in(*certificate);
    const bool covered = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return covers(name, engine->name_);
    });
    if (!covered) *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
  }
};

Engine::Engine(Chain& out)
    : ssl_(std::make_unique<mbedtls_ssl_context>()),
      out_(out),
      idle_records_(max_handshake_records) {
  mbedtls_ssl_init(ssl_.get());
}

Engine::~Engine() {
  mbedtls_ssl_free(ssl_.get());
}

Result<void> Engine::set_up(mbedtls_ssl_config& config) {
  const int status = mbedtls_ssl_setup(ssl_.get(), &config);
  if (status != 0) return describe(status);
  mbedtls_ssl_set_user_data_p(ssl_.get(), this);
  mbedtls_ssl_set_bio(ssl_.get(), this, &Callbacks::send, &Callbacks::receive, nullptr);
  return {};
}

Result<std::unique_ptr<Engine>> Engine::server(ServerContext& context,
                                               std::shared_ptr<const Credentials> credentials,
                                               std::string_view name, Chain& out) {
  std::unique_ptr<Engine> engine(new Engine(out));
  engine->server_ = &context;
  engine->name_ = name;
  // Who was shown the fallback shall not resume that session when there is a better one.
  if (credentials->fallback) engine->name_ += "/fallback";
  engine->credentials_ = std::move(credentials);
  mbedtls_ssl_conf_cert_cb(&context.config(), &Callbacks::choose);
  PX_CHECK(engine->set_up(context.config()));
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::client(ClientContext& context, const ClientOptions& options,
                                               Chain& out) {
  if (options.verify == Verify::yes && !context.has_authorities()) {
    return Error{Errc::invalid, "tls: there are no authorities to verify by"};
  }
  std::unique_ptr<Engine> engine(new Engine(out));
  engine->name_ = options.server_name;
  PX_CHECK(engine->set_up(context.config(options.verify)));
  mbedtls_ssl_context* const ssl = engine->ssl_.get();
  mbedtls_ssl_set_verify(ssl, &Callbacks::verify, engine.get());
  // An address is no name to ask for (RFC 6066 §3).
  const std::string& name = options.server_name;
  const bool is_name = !name.empty() && !base::is_address(name);
  const int status = mbedtls_ssl_set_hostname(ssl, is_name ? name.c_str() : nullptr);
  if (status != 0) return engine->describe(status);
  if (options.resume) {
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    const std::string& state = options.resume->state;
    // What cannot be resumed becomes a full handshake.
    if (mbedtls_ssl_session_load(&session, reinterpret_cast<const unsigned char*>(state.data()),
                                 state.size()) == 0) {
      static_cast<void>(mbedtls_ssl_set_session(ssl, &session));
    }
    mbedtls_ssl_session_free(&session);
  }
  return engine;
}

Engine::Event Engine::next(Bytes& in) {
  plaintext_ = {};
  if (state_ == State::failed) return Event::failed;
  if (state_ == State::ended) {
    in = in.from(in.size);
    return Event::ended;
  }
  unpark(*ssl_);
  const std::size_t sent = out_.size();
  in_ = &in;
  const Event event = state_ == State::handshake ? handshake() : read(in);
  in_ = nullptr;
  // Some ends of mbedTLS's are without a word.
  if (event == Event::failed && out_.size() == sent && error_.code == Errc::protocol) {
    static_cast<void>(mbedtls_ssl_send_alert_message(ssl_.get(), MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                                     MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE));
  }
  return event;
}

Engine::Event Engine::handshake() {
  if (server_ != nullptr) server_->set_name(name_);
  if (const int alert = clear_alert(); alert != 0) return refused_by_peer(alert);
  while (ssl_->state != MBEDTLS_SSL_HANDSHAKE_OVER) {
    if (ssl_->state == MBEDTLS_SSL_SERVER_CERTIFICATE) resumed_ = false;
    const int status = mbedtls_ssl_handshake_step(ssl_.get());
    if (status == MBEDTLS_ERR_SSL_WANT_READ) return Event::wait;
    if (status != 0) return fail(status);
  }
  state_ = State::open;
  idle_records_ = max_idle_records;
  if (server_ == nullptr && version() == TlsVersion::tls_1_2) keep_session();
  return Event::opened;
}

// TLS 1.3: a client that dislikes our certificate may say so before it encrypts. mbedTLS would take
// it for a record that was forged. 0: it is no such alert.
int Engine::clear_alert() const {
  if (ssl_->in_left != 0 || ssl_->transform_in == nullptr || in_->size < 7) return 0;
  static constexpr std::string_view start{"\x15\x03\x03\x00\x02\x02", 6};
  return in_->text().starts_with(start) ? static_cast<unsigned char>(in_->data[6]) : 0;
}

Engine::Event Engine::refused_by_peer(int alert) {
  error_ = refusal(alert).within("tls: handshake");
  state_ = State::failed;
  return Event::failed;
}

Engine::Event Engine::read(Bytes& in) {
  for (;;) {
    std::string_view plain;
    const int status = read_record(*ssl_, plain);
    if (status > 0) {
      idle_records_ = max_idle_records;
      plaintext_ = {plain.data(), plain.size()};
      return Event::bytes;
    }
    switch (status) {
      case 0:
        break;
      case MBEDTLS_ERR_SSL_WANT_READ:
        // Also said before a ticket is taken in.
        if (in.empty() && ssl_->state == MBEDTLS_SSL_HANDSHAKE_OVER) return Event::wait;
        break;
      case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
        keep_session();
        break;
      case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        state_ = State::ended;
        in = in.from(in.size);
        return Event::ended;
      default:
        return fail(status);
    }
  }
}

Engine::Event Engine::fail(int status) {
  error_ = describe(status);
  state_ = State::failed;
  return Event::failed;
}

Error Engine::describe(int status) const {
  const std::string_view where =
      state_ == State::handshake ? std::string_view("tls: handshake") : std::string_view("tls");
  if (status == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
    const int number = ssl_->in_msg != nullptr ? ssl_->in_msg[1] : 0;
    return refusal(number).within(where);
  }
  if (status == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
    const std::uint32_t flags = mbedtls_ssl_get_verify_result(ssl_.get());
    for (const Named& fault : certificate_faults) {
      if ((flags & static_cast<std::uint32_t>(fault.value)) != 0) {
        return Error{Errc::denied, std::string(fault.text)}.within(where);
      }
    }
    return Error{Errc::denied, "the certificate cannot be verified"}.within(where);
  }
  if (status == Callbacks::flooded) {
    return Error{Errc::limit, "too many records that bring nothing"}.within(where);
  }
  const std::string_view known = text_of(std::begin(failures), std::end(failures), status);
  if (!known.empty()) return Error{Errc::protocol, std::string(known)}.within(where);
  char why[160] = {};
  mbedtls_strerror(status, why, sizeof why);
  return Error{status == MBEDTLS_ERR_SSL_ALLOC_FAILED ? Errc::io : Errc::protocol, why}.within(
      where);
}

void Engine::keep_session() {
  mbedtls_ssl_session session;
  mbedtls_ssl_session_init(&session);
  std::size_t size = 0;
  if (mbedtls_ssl_get_session(ssl_.get(), &session) == 0) {
    // Asked with no room it says how much it needs.
    static_cast<void>(mbedtls_ssl_session_save(&session, nullptr, 0, &size));
    auto kept = std::make_shared<Session>();
    kept->state.resize(size);
    if (mbedtls_ssl_session_save(&session, reinterpret_cast<unsigned char*>(kept->state.data()),
                                 size, &size) == 0) {
      session_ = std::move(kept);
    }
  }
  mbedtls_ssl_session_free(&session);
}

void Engine::write(Chain& plain, std::size_t high_water) {
  PX_ASSERT(state_ != State::handshake && !closed_);
  while (!plain.empty() && out_.size() < high_water && state_ != State::failed) {
    Bytes piece = plain.front();
    if (piece.size < gather_below && piece.size < plain.size()) {
      static thread_local std::array<char, max_plain> gathered;
      iovec pieces[64];
      const std::size_t count = plain.peek(pieces, std::size(pieces));
      std::size_t size = 0;
      for (std::size_t i = 0; i < count && size < gathered.size(); ++i) {
        const std::size_t part = std::min(pieces[i].iov_len, gathered.size() - size);
        std::memcpy(gathered.data() + size, pieces[i].iov_base, part);
        size += part;
      }
      piece = {gathered.data(), size};
    }
    piece = piece.part(0, std::min(piece.size, max_plain));
    const std::size_t most = piece.size + record_overhead;
    std::size_t record = 0;
    const int taken = write_record(*ssl_, piece.text(), {out_.reserve(most), most}, record);
    if (taken <= 0) {
      fail(taken);
      return;
    }
    out_.commit(record);
    plain.consume(static_cast<std::size_t>(taken));
  }
}

void Engine::close() {
  if (closed_ || state_ == State::failed || state_ == State::handshake) return;
  closed_ = true;
  unpark(*ssl_);
  static_cast<void>(mbedtls_ssl_close_notify(ssl_.get()));
}

void Engine::park() noexcept {
  if (state_ != State::failed) static_cast<void>(tls::park(*ssl_));
}

std::string_view Engine::alpn() const noexcept {
  const char* chosen = mbedtls_ssl_get_alpn_protocol(ssl_.get());
  return chosen != nullptr ? std::string_view(chosen) : std::string_view();
}

std::optional<TlsVersion> Engine::version() const noexcept {
  switch (mbedtls_ssl_get_version_number(ssl_.get())) {
    case MBEDTLS_SSL_VERSION_TLS1_2:
      return TlsVersion::tls_1_2;
    case MBEDTLS_SSL_VERSION_TLS1_3:
      return TlsVersion::tls_1_3;
    default:
      return std::nullopt;
  }
}

std::string_view Engine::suite() const noexcept {
  const char* name = mbedtls_ssl_get_ciphersuite(ssl_.get());
  return name != nullptr ? std::string_view(name) : std::string_view();
}

std::shared_ptr<const Session> Engine::take_session() {
  return std::exchange(session_, nullptr);
}

}  // namespace proxycore::tls
