// OpensslPeer: the other end of a TLS connection, by another implementation, in memory.
//
// What it is given to read and leaves to be sent are strings; tests carry, cut and change them.
// Not here: two ends of known kind that are measured against each other (tls_ends.h).
// Thread: any, one at a time.
#pragma once

#include <proxycore/cert.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

// What it keeps to resume a session.
struct OpensslSession;

struct OpensslOptions {
  bool server = false;
  int min_version = 0x0303;
  int max_version = 0x0304;
  // OpenSSL's words; empty: its defaults.
  std::string groups = {};
  std::string signatures = {};
  std::string suites = {};      // TLS 1.3
  std::string old_suites = {};  // TLS 1.2 and before
  std::vector<std::string> alpn = {};
  std::string server_name = {};  // client: asked for
  std::string authority = {};    // client: PEM; empty: anything is trusted
  CertBundle certificate = {};   // server
  std::shared_ptr<OpensslSession> resume = {};
  bool tickets = true;
  int record_size = 16384;  // the most plaintext in a record it makes
};

class OpensslPeer {
 public:
  explicit OpensslPeer(const OpensslOptions& options);
  ~OpensslPeer();
  OpensslPeer(const OpensslPeer&) = delete;
  OpensslPeer& operator=(const OpensslPeer&) = delete;

  // Goes on: takes all of `in`, appends to `out` and `received`.
  void step();
  void write(std::string_view plain);
  void close();        // close_notify
  bool renegotiate();  // false: it is not possible
  void update_key();   // TLS 1.3 KeyUpdate, asking for one

  [[nodiscard]] bool open() const;
  [[nodiscard]] bool ended() const;  // close_notify came
  [[nodiscard]] std::string error() const { return error_; }
  [[nodiscard]] std::string alpn() const;
  [[nodiscard]] std::string version() const;  // "TLSv1.3"
  [[nodiscard]] std::string suite() const;
  [[nodiscard]] std::string group() const;
  [[nodiscard]] std::string peer_key() const;  // "RSA", "EC", of the certificate shown; "" none
  [[nodiscard]] bool resumed() const;
  [[nodiscard]] std::shared_ptr<OpensslSession> session() const;  // the newest; null: none

  std::string in;
  std::string out;
  std::string received;

 private:
  struct Parts;
  void collect();
  std::unique_ptr<Parts> parts_;
  std::string error_;
};

}  // namespace proxycore::test
