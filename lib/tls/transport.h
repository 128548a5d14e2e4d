// Transport: a byte stream over TLS over another Transport; the same type as a plain one.
//
// Server role: keeps the first bytes until the ClientHello is whole, asks for the certificates of
// the name in it, waits for them without any of mbedTLS's memory, then shakes hands. Who speaks
// plain HTTP here is told so. Both roles: the owner gets on_open() when the handshake is done, or
// on_closed() with the reason. on_end() is the peer's close_notify; an end without it may be an
// attacker's cut and is on_closed(). The owner times the handshake, and may destroy this at the end
// of a turn only, or in on_closed(). Thread: its loop's.
#pragma once

#include "base/chain.h"
#include "io/loop.h"
#include "io/timers.h"
#include "io/transport.h"
#include "tls/client_hello.h"
#include "tls/credentials.h"
#include "tls/engine.h"
#include <proxycore/result.h>
#include <proxycore/tls.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::tls {

class Transport final : public io::Transport, io::Transport::Owner, CredentialsWaiter, io::Later {
 public:
  // Server role. `context` and `source` outlive this.
  Transport(io::Loop& loop, std::unique_ptr<io::Transport> lower, ServerContext& context,
            CredentialsSource& source);
  // Client role. `context` outlives this.
  Transport(io::Loop& loop, std::unique_ptr<io::Transport> lower, ClientContext& context,
            ClientOptions options);
  ~Transport() override;

  void start(io::Transport::Owner& owner) override;
  void receive(bool on) override;
  void write(Chain& out) override;
  void finish() override;
  void abort() override;
  [[nodiscard]] std::size_t unsent() const noexcept override;

  // Once open.
  [[nodiscard]] std::string_view alpn() const noexcept override;
  [[nodiscard]] bool covers(std::string_view host) const noexcept override;
  [[nodiscard]] std::optional<TlsVersion> version() const noexcept;
  [[nodiscard]] bool resumed() const noexcept override;
  // Server role: the canonical name that the client asked for; empty: none, or no host name.
  [[nodiscard]] std::string_view sni() const noexcept { return name_; }
  // Server role: what was presented; null before.
  [[nodiscard]] const std::shared_ptr<const Credentials>& credentials() const noexcept {
    return credentials_;
  }
  // Client role: as Engine::take_session().
  [[nodiscard]] std::shared_ptr<const Session> take_session();

 private:
  enum class State : std::uint8_t {
    hello,        // server role: the ClientHello is not whole
    credentials,  // it waits for certificates
    handshake,
    open,
    ended,   // the peer's close_notify came
    closed,  // broken; the owner was told, or is on a later turn
  };
  void on_open() override;
  void on_bytes(Bytes in) override;
  void on_end() override;
  void on_writable() override;
  void on_closed(const Error& why) override;
  void on_credentials(std::shared_ptr<const Credentials> found) override;
  void on_later() override;

  void read_hello(Bytes in);
  void shake_hands(std::shared_ptr<const Credentials> found);
  [[nodiscard]] bool step(Bytes& in);
  void keep(const Bytes& in);
  void flush();
  void refuse(Error why, std::string_view last_words);
  void close(Error why);
  void fail(Error why);
  void update_receiving();
  void park();

  io::Loop& loop_;
  ServerContext* server_ = nullptr;
  ClientContext* client_ = nullptr;
  CredentialsSource* source_ = nullptr;
  std::unique_ptr<ClientOptions> options_;  // until start()
  io::Transport::Owner* owner_ = nullptr;
  std::unique_ptr<ClientHelloReader> hello_;  // until there are credentials
  std::string name_;
  std::shared_ptr<const Credentials> credentials_;
  Chain out_;   // ciphertext that the lower transport has not taken
  Chain kept_;  // ciphertext that waits for receive(true), or for the certificates
  std::unique_ptr<Engine> engine_;
  io::Timer park_timer_;
  Error why_;
  State state_;
  bool wanted_ = true;      // the level of receive()
  bool blocked_ = false;    // write() left something with the owner
  bool closing_ = false;    // finish() was called
  bool finishing_ = false;  // FIN follows what is in out_
  bool aborted_ = false;
  bool told_ = false;                     // on_closed() was called
  std::unique_ptr<io::Transport> lower_;  // dies first: it may be writing out_
};

}  // namespace proxycore::tls
