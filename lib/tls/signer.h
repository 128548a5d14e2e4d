// Signer: a private key that signs as JSON Web Signatures have it.
//
// Account keys of ACME, and keys of certificates that are to be revoked. The key is parsed once;
// its text is not kept. Not here: the JWS around a signature (acme/jws.h), making keys (keys.h).
// Source: RFC 7518 §3 (algorithms), §6 (keys), RFC 7638 (thumbprints). Thread: any.
#pragma once

#include <proxycore/result.h>

#include <memory>
#include <string>
#include <string_view>

namespace proxycore::tls {

class Signer {
 public:
  // PEM of RSA of 2048 to 8192 bits, P-256 or P-384, as certificates' keys are.
  // Errors: invalid, io (no memory); never with anything of the key in them.
  static Result<Signer> load(std::string_view key_pem);
  Signer(Signer&& from) noexcept;
  Signer& operator=(Signer&& from) noexcept;
  ~Signer();

  [[nodiscard]] std::string_view algorithm() const noexcept { return algorithm_; }  // "ES256"
  // The public key as JSON, its members as RFC 7638 §3 wants them hashed.
  [[nodiscard]] const std::string& jwk() const noexcept { return jwk_; }
  // SHA-256 of that, base64url.
  [[nodiscard]] std::string thumbprint() const;
  // The bytes of the signature: r and s (RFC 7518 §3.4), or PKCS #1 (§3.3). Errors: io.
  [[nodiscard]] Result<std::string> sign(std::string_view data) const;

 private:
  struct Key;
  Signer(std::unique_ptr<Key> key, std::string algorithm, std::string jwk);

  std::unique_ptr<Key> key_;
  std::string algorithm_;
  std::string jwk_;
};

}  // namespace proxycore::tls
