// Authority: makes certificates for tests, of any kind that the library itself has no use for.
//
// Chains, other curves, dates, wrong usages. Written with libcrypto, so that what is tested is read
// by another implementation than it was written by. Thread: any, one at a time.
#pragma once

#include <proxycore/cert.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

namespace proxycore::test {

struct Wanted {
  std::vector<std::string> dns = {};
  std::vector<std::string> addresses = {};  // IP
  std::string common_name = "test";
  std::string key = "P-256";    // "P-384", "P-521", "secp256k1", "rsa:2048", "ed25519", ...
  std::int64_t not_before = 0;  // seconds from now
  std::int64_t not_after = 86'400;
  bool is_authority = false;
  std::string key_usage = {};  // OpenSSL's words: "digitalSignature,keyEncipherment"
  std::string extended_key_usage = {};
  bool key_ids = false;  // says whose key it has, and by whose it is signed
};

class Authority {
 public:
  // Signed by itself.
  explicit Authority(Wanted wanted);
  // Signed by another.
  Authority(const Authority& parent, Wanted wanted);
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  // What it signs for, and itself without the root.
  [[nodiscard]] CertBundle issue(const Wanted& wanted) const;
  // The chain for the key of a request (PKCS #10, DER); what else the request says does not count.
  [[nodiscard]] std::string certify(const std::string& csr_der, const Wanted& wanted) const;
  // The chain for a key that somebody else has; `wanted.key` is not looked at.
  [[nodiscard]] std::string issue_for(const std::string& key_pem, const Wanted& wanted) const;
  [[nodiscard]] const std::string& pem() const { return pem_; }
  [[nodiscard]] const std::string& key_pem() const { return key_pem_; }

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
  const Authority* parent_ = nullptr;
  std::string pem_;
  std::string key_pem_;
};

// A key as PEM: PKCS #8, or with `traditional` PKCS #1 or SEC 1.
std::string make_key(const std::string& kind, bool traditional = false);

// A certificate signed by itself, which is no authority.
CertBundle lone(Wanted wanted);

}  // namespace proxycore::test
