// What tests of TLS have in common: certificates made once a program, credentials, contexts.
//
// Thread: any.
#pragma once

#include "support/authority.h"
#include "tls/cert.h"
#include "tls/context.h"
#include "tls/credentials.h"
#include "tls/engine.h"
#include "tls/tickets.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

// The authority that signs what tests present.
inline const Authority& test_authority() {
  static const Authority authority({.common_name = "Test Authority"});
  return authority;
}

inline std::shared_ptr<const tls::Certificate> load_certificate(const CertBundle& bundle) {
  auto loaded = tls::Certificate::load(bundle);
  if (!loaded) FAIL(loaded.error().message());
  return *std::move(loaded);
}

// For "*.test" and "test"; "P-256", "P-384" or "rsa:2048".
inline const CertBundle& test_bundle(const std::string& key) {
  const auto make = [](const std::string& kind) {
    return test_authority().issue(
        {.dns = {"test", "*.test"}, .addresses = {"127.0.0.1"}, .key = kind});
  };
  static const CertBundle p256 = make("P-256");
  static const CertBundle p384 = make("P-384");
  static const CertBundle rsa = make("rsa:2048");
  return key == "P-256" ? p256 : key == "P-384" ? p384 : rsa;
}

inline std::shared_ptr<const tls::Credentials> test_credentials(
    const std::vector<std::string>& keys = {"P-256"}) {
  auto credentials = std::make_shared<tls::Credentials>();
  for (const std::string& key : keys) {
    auto certificate = load_certificate(test_bundle(key));
    (certificate->key_type() == tls::KeyType::rsa ? credentials->rsa : credentials->ecdsa) =
        std::move(certificate);
  }
  return credentials;
}

inline std::unique_ptr<tls::ServerContext> server_context(const TlsConfig& config = {}) {
  auto made = tls::ServerContext::create(config);
  if (!made) FAIL(made.error().message());
  return *std::move(made);
}

inline std::unique_ptr<tls::ClientContext> client_context(
    tls::ClientContext::Settings settings = {}) {
  if (!settings.authorities) {
    settings.authorities = tls::Authorities::load(test_authority().pem()).value();
  }
  auto made = tls::ClientContext::create(settings);
  if (!made) FAIL(made.error().message());
  return *std::move(made);
}

inline std::shared_ptr<const tls::TicketKeys> new_ticket_keys() {
  return tls::TicketKeys::create(std::vector{tls::TicketKey::generate().value()}).value();
}

}  // namespace proxycore::test
