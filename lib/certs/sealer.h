// Sealer: account keys and DNS credentials as they stand in the store, sealed with a key that is
// not in it.
//
// The key is a file of its own: whoever reads the store, or a copy of it, reads no secret. What is
// sealed is bound to its place, the key of its record and the field. Records of older software,
// which have secrets in plain text, are read as they are.
// Not here: the cryptography (tls/seal). Owner: the runner. Thread: any; immutable.
#pragma once

#include <proxycore/result.h>

#include <string>
#include <string_view>
#include <utility>

namespace proxycore::certs {

class Sealer {
 public:
  // The key in the file: 32 bytes as hex or base64url, readable by its owner alone. If there is no
  // such file it is made, so that processes that start at once agree. A systemd credential,
  // $CREDENTIALS_DIRECTORY/proxycore.key, comes before `path`; systemd says who may read that.
  // Errors: invalid (no such key in it; its mode), limit (a long file), denied, io; each names the
  // file.
  static Result<Sealer> open(const std::string& path);

  // "sealed:1:" and base64url. Errors: io.
  [[nodiscard]] Result<std::string> seal(std::string_view place, std::string_view secret) const;
  // What is not sealed comes back as it is. Errors: invalid (sealed with another key or for another
  // place; names the file of the key).
  [[nodiscard]] Result<std::string> open(std::string_view place, std::string_view text) const;

 private:
  Sealer(std::string key, std::string file) : key_(std::move(key)), file_(std::move(file)) {}

  std::string key_;
  std::string file_;  // where the key was found
};

}  // namespace proxycore::certs
