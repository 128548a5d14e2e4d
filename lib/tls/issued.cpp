#include "tls/issued.h"

#include "base/text.h"
#include "tls/accel/start.h"
#include "tls/cert.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <mbedtls/oid.h>
#include <mbedtls/x509_crt.h>

namespace proxycore::tls {

namespace {
constexpr std::size_t max_chain = 10;
constexpr std::size_t max_chain_text = 256 << 10;

struct Parsed {
  Parsed() { mbedtls_x509_crt_init(&first); }
  Parsed(const Parsed&) = delete;
  Parsed& operator=(const Parsed&) = delete;
  ~Parsed() { mbedtls_x509_crt_free(&first); }
  mbedtls_x509_crt first;
};

std::string_view text_of(const mbedtls_x509_buf& buffer) {
  return {reinterpret_cast<const char*>(buffer.p), buffer.len};
}

// The last common name in it, or nothing.
std::string common_name(const mbedtls_x509_name& name) {
  std::string found;
  for (const auto* at = &name; at != nullptr; at = at->next) {
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &at->oid) == 0) found = text_of(at->val);
  }
  return found;
}

bool is_root(const mbedtls_x509_crt& certificate) {
  return text_of(certificate.subject_raw) == text_of(certificate.issuer_raw);
}

std::string pem_of(const mbedtls_x509_crt& certificate) {
  constexpr std::size_t line = 64;
  const std::string text = base::base64(text_of(certificate.raw));
  std::string pem = "-----BEGIN CERTIFICATE-----\n";
  for (std::size_t at = 0; at < text.size(); at += line) {
    pem.append(text, at, line).append("\n");
  }
  return pem.append("-----END CERTIFICATE-----\n");
}

// From the certificate to the last that is no root.
std::vector<const mbedtls_x509_crt*> in_order(std::vector<const mbedtls_x509_crt*> all) {
  const auto first = std::find_if(all.begin(), all.end(), [](const mbedtls_x509_crt* one) {
    return mbedtls_x509_crt_get_ca_istrue(one) <= 0;
  });
  if (first != all.end()) std::swap(*first, all.front());
  std::vector<const mbedtls_x509_crt*> chain = {all.front()};
  all.erase(all.begin());
  while (!is_root(*chain.back())) {
    const auto next = std::find_if(all.begin(), all.end(), [&](const mbedtls_x509_crt* one) {
      return text_of(one->subject_raw) == text_of(chain.back()->issuer_raw);
    });
    if (next == all.end() || is_root(**next)) break;
    chain.push_back(*next);
    all.erase(next);
  }
  return chain;
}
}  // namespace

Result<Issued> read_issued(std::string_view pem) {
  start_crypto();
  if (pem.size() > max_chain_text) return Error{Errc::invalid, "the chain has over 256 KiB"};
  const std::string text(pem);  // its NUL is asked for
  Parsed parsed;
  const int failed = mbedtls_x509_crt_parse(
      &parsed.first, reinterpret_cast<const unsigned char*>(text.c_str()), text.size() + 1);
  if (failed < 0) return Error{Errc::invalid, "no PEM certificate in the chain"};
  if (failed > 0) return Error{Errc::invalid, "a certificate of the chain does not parse"};
  std::vector<const mbedtls_x509_crt*> all;
  for (const auto* at = &parsed.first; at != nullptr; at = at->next) all.push_back(at);
  if (all.size() > max_chain) return Error{Errc::invalid, "the chain has over 10 certificates"};

  Issued issued;
  for (const mbedtls_x509_crt* one : in_order(std::move(all))) {
    if (issued.chain_pem.empty()) {
      issued.certificate_der = text_of(one->raw);
      issued.names = names_in(*one);
      issued.not_before = seconds_of(one->valid_from);
      issued.not_after = seconds_of(one->valid_to);
      issued.authority_key_id = text_of(one->authority_key_id.keyIdentifier);
      issued.serial = text_of(one->serial);
    }
    issued.chain_pem += pem_of(*one);
    issued.issuers.push_back(common_name(one->issuer));
  }
  return issued;
}

Result<std::string> der_of(std::string_view pem, std::string_view label) {
  const std::string name(label);
  const std::string begin = "-----BEGIN " + name + "-----";
  const std::size_t from = pem.find(begin);
  const std::size_t end = pem.find("-----END " + name + "-----", from);
  if (from == std::string_view::npos || end == std::string_view::npos) {
    return Error{Errc::invalid, "expected PEM of " + name};
  }
  std::string text(pem.substr(from + begin.size(), end - from - begin.size()));
  text.erase(std::remove_if(text.begin(), text.end(),
                            [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; }),
             text.end());
  auto bytes = base::parse_base64(text);
  if (!bytes || bytes->empty()) return Error{Errc::invalid, "PEM of " + name + ": no base64"};
  return *std::move(bytes);
}

}  // namespace proxycore::tls
