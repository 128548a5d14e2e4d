// Certificate: a parsed chain and its private key. gate(): whether one may be served.
//
// Immutable and shared by the workers. It keeps the parsed certificates (DER) and the key, not the
// PEM text; what follows the first certificate is shared by all that have the same, as the chains
// of one authority do. Not here: which name gets which certificate (certs/), making keys (keys.h).
// Source: RFC 5280, RFC 7468, RFC 9525. Thread: any.
#pragma once

#include <proxycore/cert.h>
#include <proxycore/result.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct mbedtls_x509_crt;
struct mbedtls_x509_time;
struct mbedtls_pk_context;

namespace proxycore::tls {

enum class KeyType : std::uint8_t { ecdsa, rsa };

class Certificate {
 public:
  // Parses, checks that the key belongs to the first certificate, that each is signed by the next,
  // and that the key is one that is served: RSA of 2048 to 8192 bits, P-256 or P-384.
  // Errors: invalid (what, and which certificate of the chain; never bytes of the key).
  static Result<std::shared_ptr<const Certificate>> load(const CertBundle& bundle);
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  ~Certificate();

  [[nodiscard]] KeyType key_type() const noexcept;
  // The DNS names and the addresses it is for, canonical; "*." is kept. Of a certificate without
  // subject alternative names the common name, if that is a name.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  // Whether one of them is that name: the same, or "*." for exactly one label (RFC 9525 §6.3).
  [[nodiscard]] bool matches(std::string_view canonical_name) const noexcept;
  // Seconds since 1970, both included.
  [[nodiscard]] std::int64_t not_before() const noexcept { return not_before_; }
  [[nodiscard]] std::int64_t not_after() const noexcept { return not_after_; }
  [[nodiscard]] std::string subject() const;      // "CN=example.com"
  [[nodiscard]] std::string issuer() const;       // "C=..., O=..., CN=..."
  [[nodiscard]] std::string serial() const;       // hex
  [[nodiscard]] std::string fingerprint() const;  // of the first certificate: SHA-256, hex
  [[nodiscard]] bool self_signed() const;
  [[nodiscard]] std::size_t chain_length() const;

  // For the engine, which mbedTLS wants to have them without const from.
  [[nodiscard]] mbedtls_x509_crt* chain() const noexcept;
  [[nodiscard]] mbedtls_pk_context* key() const noexcept;

 private:
  struct Parsed;
  explicit Certificate(std::unique_ptr<Parsed> parsed);

  std::unique_ptr<Parsed> parsed_;
  std::vector<std::string> names_;
  std::int64_t not_before_ = 0;
  std::int64_t not_after_ = 0;
};

// As Certificate::names(), of any certificate.
std::vector<std::string> names_in(const mbedtls_x509_crt& certificate);
// Since 1970.
std::int64_t seconds_of(const mbedtls_x509_time& time);
// Whether a name of a certificate is for `name`: the same, or "*." for one label. Both canonical.
bool covers(std::string_view presented, std::string_view name) noexcept;

// Before a certificate is served: it covers `name` (canonical; empty: not asked), is valid at `now`
// (seconds since 1970), and a TLS 1.3 handshake with it succeeds.
// Errors: invalid (says which of these).
Result<void> gate(const std::shared_ptr<const Certificate>& certificate, std::string_view name,
                  std::int64_t now);

}  // namespace proxycore::tls
