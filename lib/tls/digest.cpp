#include "tls/digest.h"

#include "tls/accel/start.h"

#include <mbedtls/md.h>
#include <psa/crypto.h>
extern "C" {  // which the header forgets
#include <mbedtls/constant_time.h>
}

namespace proxycore::tls {

namespace {
mbedtls_md_type_t type_of(Hash hash) {
  switch (hash) {
    case Hash::sha1:
      return MBEDTLS_MD_SHA1;
    case Hash::sha224:
      return MBEDTLS_MD_SHA224;
    case Hash::sha256:
      return MBEDTLS_MD_SHA256;
    case Hash::sha384:
      return MBEDTLS_MD_SHA384;
    case Hash::sha512:
      return MBEDTLS_MD_SHA512;
  }
  return MBEDTLS_MD_NONE;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
}  // namespace

std::array<std::uint8_t, 32> sha256(std::string_view bytes) {
  start_crypto();
  std::array<std::uint8_t, 32> digest{};
  std::size_t size = 0;
  psa_hash_compute(PSA_ALG_SHA_256, bytes_of(bytes), bytes.size(), digest.data(), digest.size(),
                   &size);
  return digest;
}

Result<std::string> hmac(Hash hash, std::string_view key, std::string_view data) {
  start_crypto();
  const mbedtls_md_info_t* const kind = mbedtls_md_info_from_type(type_of(hash));
  std::string code(mbedtls_md_get_size(kind), '\0');
  if (mbedtls_md_hmac(kind, bytes_of(key), key.size(), bytes_of(data), data.size(),
                      reinterpret_cast<unsigned char*>(code.data())) != 0) {
    return Error{Errc::io, "hmac: no memory"};
  }
  return code;
}

bool equal(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && mbedtls_ct_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace proxycore::tls
