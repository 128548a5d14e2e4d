// Certificates and keys from outside: PEM of a chain and its key, and DER of one certificate.
//
// Input: a byte that says which; the key is what begins at the first "PRIVATE KEY" mark.
// Claims: what loads has canonical names that cover themselves, and can say what it is; what does
// not load is invalid, and the reason is short.

#include "tls/cert.h"
#include <proxycore/host.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <mbedtls/x509_crt.h>

using namespace proxycore;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

void check_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool wildcard = name.starts_with("*.");
    const auto canonical = HostName::canonical(wildcard ? name.substr(2) : name);
    require(canonical && *canonical == (wildcard ? name.substr(2) : name), "names are canonical");
    require(tls::covers(name, name), "a name covers itself");
    require(!wildcard || !tls::covers(name, name.substr(2)), "a wildcard covers no fewer labels");
  }
}

void check_der(std::string_view der) {
  mbedtls_x509_crt certificate;
  mbedtls_x509_crt_init(&certificate);
  if (mbedtls_x509_crt_parse_der(&certificate, reinterpret_cast<const unsigned char*>(der.data()),
                                 der.size()) == 0) {
    check_names(tls::names_in(certificate));
  }
  mbedtls_x509_crt_free(&certificate);
}

void check_pem(std::string_view text) {
  const std::size_t mark = text.find("PRIVATE KEY-----");
  const std::size_t key = mark == std::string_view::npos ? text.size() : text.rfind("-----", mark);
  const std::size_t cut = key == std::string_view::npos ? text.size() : key;
  const auto loaded =
      tls::Certificate::load({std::string(text.substr(0, cut)), std::string(text.substr(cut))});
  if (!loaded) {
    require(loaded.error().code == Errc::invalid, "what does not load is invalid");
    require(loaded.error().detail.size() < 4096, "the reason is short");
    return;
  }
  const tls::Certificate& certificate = **loaded;
  check_names(certificate.names());
  require(certificate.fingerprint().size() == 64, "it has a fingerprint");
  require(certificate.chain_length() >= 1, "it has a chain");
  static_cast<void>(certificate.subject());
  static_cast<void>(certificate.issuer());
  static_cast<void>(certificate.serial());
  static_cast<void>(certificate.self_signed());
  static_cast<void>(tls::gate(*loaded, "a.test", certificate.not_before()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'D') {
    check_der(rest);
  } else {
    check_pem(rest);
  }
  return 0;
}
