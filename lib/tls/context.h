// ServerContext and ClientContext: what all TLS connections of a worker, in one role, have in
// common: versions, suites, groups, ALPN, tickets, authorities.
//
// TLS 1.2 and 1.3 with forward secrecy and AEAD only (RFC 9325); no renegotiation, no compression,
// no early data. Contexts outlive their engines. Not here: certificates, which are per connection.
// Thread: their worker's; Authorities and TicketKeys are shared.
#pragma once

#include "tls/tickets.h"
#include <proxycore/result.h>
#include <proxycore/tls.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct mbedtls_ssl_config;
struct mbedtls_x509_crt;

namespace proxycore::tls {

// Whether an origin has to show a certificate that the authorities vouch for.
enum class Verify : std::uint8_t { yes, no };

class ServerContext {
 public:
  // Errors: invalid (tls.alpn, tls.ticket_lifetime), io (no memory).
  static Result<std::unique_ptr<ServerContext>> create(const TlsConfig& config);
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;
  ~ServerContext();

  // Tickets are given and taken with these from now on; not null. Before the first, or where the
  // configuration has no tickets, none are.
  void set_ticket_keys(std::shared_ptr<const TicketKeys> keys) noexcept;

  // For the engine: whose handshake goes on next, as tickets are bound to that name.
  void set_name(std::string_view name) noexcept;
  [[nodiscard]] mbedtls_ssl_config& config() noexcept;

 private:
  struct Parts;
  explicit ServerContext(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// The certificates that origins are verified by.
class Authorities {
 public:
  // Errors: invalid (no certificate in `pem`).
  static Result<std::shared_ptr<const Authorities>> load(const std::string& pem);
  // From a PEM file. Errors: those of base::read_file, invalid.
  static Result<std::shared_ptr<const Authorities>> load_file(const std::string& path);
  // Those that the system trusts. Errors: not_found (none where systems keep them), invalid.
  static Result<std::shared_ptr<const Authorities>> system();
  // Those, and the ones in `pem`. Errors: invalid (no certificate in `pem`).
  static Result<std::shared_ptr<const Authorities>> system_and(const std::string& pem);
  Authorities(const Authorities&) = delete;
  Authorities& operator=(const Authorities&) = delete;
  ~Authorities();

  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  friend class ClientContext;
  Authorities();
  std::unique_ptr<mbedtls_x509_crt> chain_;
  std::size_t count_ = 0;
};

class ClientContext {
 public:
  struct Settings {
    TlsVersion min_version = TlsVersion::tls_1_2;
    std::vector<std::string> alpn = {"http/1.1"};         // the preferred first; empty: no ALPN
    std::shared_ptr<const Authorities> authorities = {};  // null: nothing can be verified
  };
  // Errors: invalid (alpn), io (no memory).
  static Result<std::unique_ptr<ClientContext>> create(const Settings& settings);
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;
  ~ClientContext();

  // For the engine. Precondition of Verify::yes: there are authorities.
  [[nodiscard]] mbedtls_ssl_config& config(Verify verify) noexcept;
  [[nodiscard]] bool has_authorities() const noexcept;

 private:
  struct Parts;
  explicit ClientContext(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace proxycore::tls
