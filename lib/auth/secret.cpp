#include "auth/secret.h"

#include "base/text.h"
#include "tls/digest.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>

#include <sys/random.h>

namespace proxycore::auth {

Result<std::string> random_hex(std::size_t bytes) {
  std::array<unsigned char, 64> random;
  const std::span<unsigned char> wanted = std::span(random).first(bytes);
  if (getentropy(wanted.data(), wanted.size()) != 0) {
    return Error{Errc::io, std::string{"random bytes: "} + std::strerror(errno)};
  }
  return base::hex(wanted);
}

std::string digest(std::string_view secret) {
  return base::hex(tls::sha256(secret));
}

bool equal(std::string_view a, std::string_view b) noexcept {
  return tls::equal(a, b);
}

}  // namespace proxycore::auth
