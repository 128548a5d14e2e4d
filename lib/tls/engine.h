// Engine: one TLS connection without its bytes' way: ciphertext in, plaintext and ciphertext out.
//
// Sans-I/O over mbedTLS, both roles, TLS 1.2 and 1.3. The caller steps it with what came from the
// peer and sends what it appends to the output chain. What a peer may cost is bounded: messages by
// mbedTLS, records that bring nothing here. Not here: waiting for certificates, sockets, time-outs
// (transport.h and its owner). Source: RFC 8446, RFC 5246. Thread: its context's.
#pragma once

#include "base/chain.h"
#include "tls/context.h"
#include "tls/credentials.h"
#include <proxycore/result.h>
#include <proxycore/tls.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct mbedtls_ssl_config;
struct mbedtls_ssl_context;

namespace proxycore::tls {

using base::Bytes;
using base::Chain;

// What a client needs to resume a session: secret, and good for one origin.
struct Session {
  std::string state;
};

// What a client asks of one connection.
struct ClientOptions {
  std::string server_name = {};  // canonical, or an address: what the certificate has to cover
  Verify verify = Verify::yes;
  std::shared_ptr<const Session> resume = {};  // null: a full handshake
};

class Engine {
 public:
  // Server role. `name` is what the client asked for (canonical, or empty). What is to be sent is
  // appended to `out`. All but `name` outlive the engine.
  // Errors: io (no memory).
  static Result<std::unique_ptr<Engine>> server(ServerContext& context,
                                                std::shared_ptr<const Credentials> credentials,
                                                std::string_view name, Chain& out);
  // Client role. The first next() makes the ClientHello. Errors: invalid (options), io.
  static Result<std::unique_ptr<Engine>> client(ClientContext& context,
                                                const ClientOptions& options, Chain& out);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  enum class Event : std::uint8_t {
    wait,    // all of `in` was taken; more is needed
    opened,  // the handshake is done; once
    bytes,   // plaintext() has some
    ended,   // the peer's close_notify; it sends nothing more
    failed,  // error() tells; the output ends in an alert, and nothing can follow
  };
  // Goes on with what came from the peer, taking it off the front of `in`, until there is something
  // to tell.
  Event next(Bytes& in);
  // What the last Event::bytes was about; lives until the next call.
  [[nodiscard]] Bytes plaintext() const noexcept { return plaintext_; }
  [[nodiscard]] const Error& error() const noexcept { return error_; }

  // Encrypts from the front of `plain` while the output has less than `high_water` bytes.
  // Precondition: opened, not closed.
  void write(Chain& plain, std::size_t high_water);
  // Appends close_notify, once; nothing can be written any more.
  void close();

  [[nodiscard]] bool failed() const noexcept { return state_ == State::failed; }
  [[nodiscard]] bool open() const noexcept { return state_ == State::open; }
  [[nodiscard]] std::string_view alpn() const noexcept;
  [[nodiscard]] std::optional<TlsVersion> version() const noexcept;  // once opened
  [[nodiscard]] std::string_view suite()
      const noexcept;  // "TLS1-3-AES-128-GCM-SHA256"; once opened
  [[nodiscard]] bool resumed() const noexcept { return resumed_; }
  // Client role: the newest session that can be resumed later, taken; null: none since.
  [[nodiscard]] std::shared_ptr<const Session> take_session();
  // Gives back what an idle connection does not need; the next call takes it again.
  void park() noexcept;

 private:
  struct Callbacks;
  friend struct Callbacks;
  enum class State : std::uint8_t { handshake, open, ended, failed };
  explicit Engine(Chain& out);
  Result<void> set_up(mbedtls_ssl_config& config);
  Event handshake();
  [[nodiscard]] int clear_alert() const;
  Event refused_by_peer(int alert);
  Event read(Bytes& in);
  Event fail(int status);
  [[nodiscard]] Error describe(int status) const;
  void keep_session();

  std::unique_ptr<mbedtls_ssl_context> ssl_;
  Chain& out_;
  ServerContext* server_ = nullptr;
  std::shared_ptr<const Credentials> credentials_;
  std::shared_ptr<const Session> session_;
  std::string name_;     // client: of the origin; server: what tickets are bound to
  Bytes* in_ = nullptr;  // while next() runs
  Bytes plaintext_;
  Error error_;
  State state_ = State::handshake;
  bool presented_ = false;  // mbedTLS has been given the certificates
  bool resumed_ = true;     // until a certificate is seen to be sent
  bool closed_ = false;     // close_notify was sent
  int idle_records_;        // how many more may bring no bytes
};

}  // namespace proxycore::tls
