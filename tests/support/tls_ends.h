// Two ends of a TLS connection in memory, each by OpenSSL or by mbedTLS as the project builds it.
//
// For tests of what lies under the engine, and for the benchmark that compares the two libraries:
// an end takes ciphertext from `in` and leaves some in `out`; exchange() carries it over. The
// mbedTLS end uses the project's key import, random numbers and record functions, and nothing else
// of it. Not here: the engine and the transport, which have tests of their own. Thread: the
// caller's.
#pragma once

#include "base/chain.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct mbedtls_ssl_context;

namespace proxycore::test {

// A certificate for example.test, signed by its own key.
struct Identity {
  std::string chain_pem;
  std::string key_pem;
};
enum class KeyKind { p256, p384, rsa };
// Made once a program.
const Identity& identity(KeyKind kind);

struct TlsOptions {
  bool client = false;
  const Identity* identity = nullptr;  // of a server
  int version = 0x0304;                // the only one
  // What OpenSSL calls them; empty: its default. Restrict the OpenSSL end; mbedTLS follows.
  std::string group = {};
  std::string suite = {};
};

// What a client keeps to resume a session.
struct TlsSession;

class TlsEnd {
 public:
  virtual ~TlsEnd() = default;
  // True once it is done. False: needs more input, or has failed (error() is not empty).
  virtual bool handshake() = 0;
  // Sends all of it. Precondition: the handshake is done.
  virtual void write(std::string_view plain) = 0;
  // What there is to read; views live until the next call of any end. Empty: needs more input, has
  // ended, or has failed.
  virtual std::string_view read() = 0;
  // A good moment to give memory back.
  virtual void idle() {}
  // Sends close_notify.
  virtual void close() = 0;
  [[nodiscard]] virtual bool resumed() const = 0;
  [[nodiscard]] virtual std::string version() const = 0;
  // Client: for the next connection; null if none came.
  virtual std::shared_ptr<TlsSession> session() = 0;

  std::string in, out;
  bool ended = false;  // the peer sent close_notify
  std::string error;
};

// What connections have in common; it outlives them.
class TlsMaker {
 public:
  virtual ~TlsMaker() = default;
  virtual std::unique_ptr<TlsEnd> make(const std::shared_ptr<TlsSession>& resume) = 0;
  std::unique_ptr<TlsEnd> make() { return make(nullptr); }
};

std::unique_ptr<TlsMaker> openssl(const TlsOptions& options);
std::unique_ptr<TlsMaker> mbedtls(const TlsOptions& options);

// The context of an end that mbedtls() made.
mbedtls_ssl_context& context_of(TlsEnd& end);

// Moves what each has sent to the other.
void exchange(TlsEnd& one, TlsEnd& other);
// Both ways until both are done; false if either failed.
bool shake_hands(TlsEnd& client, TlsEnd& server);
// Everything that `to` reads of what `from` has sent by now.
std::string deliver(TlsEnd& from, TlsEnd& to);

}  // namespace proxycore::test
