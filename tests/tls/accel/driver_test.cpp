// Whole connections with OpenSSL over the driver, or over mbedTLS alone without tls_accel.
#include "tls/accel/driver.h"

#include "support/tls_ends.h"

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore::test;

namespace {

constexpr int tls_1_2 = 0x0303;
constexpr int tls_1_3 = 0x0304;
const std::array<std::string, 2> groups = {"X25519", "P-256"};

// In OpenSSL's words.
std::array<std::string, 3> suites(int version, KeyKind kind) {
  if (version == tls_1_3)
    return {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"};
  const std::string start = kind == KeyKind::rsa ? "ECDHE-RSA-" : "ECDHE-ECDSA-";
  return {start + "AES128-GCM-SHA256", start + "AES256-GCM-SHA384", start + "CHACHA20-POLY1305"};
}

std::string text(std::size_t size) {
  std::string all(size, ' ');
  for (std::size_t i = 0; i < size; ++i) all[i] = static_cast<char>('a' + i % 23);
  return all;
}

// Says something of every kind of size both ways, and ends properly.
bool converse(TlsEnd& one, TlsEnd& other) {
  for (const std::size_t size : {1U, 100U, 16384U, 50'000U}) {
    one.write(text(size));
    if (deliver(one, other) != text(size)) return false;
    other.write(text(size / 2 + 1));
    if (deliver(other, one) != text(size / 2 + 1)) return false;
    one.idle();
    other.idle();
  }
  one.close();
  if (!deliver(one, other).empty() || !other.ended) return false;
  other.close();
  return deliver(other, one).empty() && one.ended;
}

// A full handshake, then one that resumes. What OpenSSL says of both is what counts.
bool connects_and_resumes(TlsMaker& clients, TlsMaker& servers, bool openssl_is_client) {
  const auto client = clients.make();
  const auto server = servers.make();
  if (!shake_hands(*client, *server)) return false;
  if ((openssl_is_client ? client : server)->resumed()) return false;
  if (!converse(*client, *server)) return false;
  const auto session = client->session();
  if (session == nullptr) return false;
  const auto again = clients.make(session);
  const auto server_again = servers.make();
  return shake_hands(*again, *server_again) &&
         (openssl_is_client ? again : server_again)->resumed() && converse(*again, *server_again);
}

}  // namespace

TEST_CASE("driver: every version, certificate, group and suite, full and resumed, as server") {
  for (const int version : {tls_1_2, tls_1_3}) {
    for (const KeyKind kind : {KeyKind::p256, KeyKind::p384, KeyKind::rsa}) {
      const auto servers = mbedtls({.identity = &identity(kind), .version = version});
      for (const std::string& group : groups) {
        for (const std::string& suite : suites(version, kind)) {
          INFO(suite, " ", group);
          // In TLS 1.2 the groups limit the certificate's curve too.
          const std::string curves = group == groups[1] ? ":P-384" : ":P-256:P-384";
          const std::string offered = group + curves;
          const auto clients =
              openssl({.client = true, .version = version, .group = offered, .suite = suite});
          CHECK(connects_and_resumes(*clients, *servers, true));
        }
      }
    }
  }
}

TEST_CASE("driver: the same as client") {
  for (const int version : {tls_1_2, tls_1_3}) {
    const auto clients = mbedtls({.client = true, .version = version});
    for (const KeyKind kind : {KeyKind::p256, KeyKind::p384, KeyKind::rsa}) {
      for (const std::string& group : groups) {
        for (const std::string& suite : suites(version, kind)) {
          INFO(suite, " ", group);
          const auto servers = openssl(
              {.identity = &identity(kind), .version = version, .group = group, .suite = suite});
          CHECK(connects_and_resumes(*clients, *servers, false));
        }
      }
    }
  }
}

TEST_CASE("driver: threads share configurations and keys") {
  const auto tls_1_2_servers = mbedtls({.identity = &identity(KeyKind::rsa), .version = tls_1_2});
  const auto tls_1_3_servers = mbedtls({.identity = &identity(KeyKind::p256), .version = tls_1_3});
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 4; ++round) {
        const int version = round % 2 == 0 ? tls_1_2 : tls_1_3;
        const auto clients = openssl({.client = true, .version = version});
        TlsMaker& servers = version == tls_1_2 ? *tls_1_2_servers : *tls_1_3_servers;
        if (!connects_and_resumes(*clients, servers, true)) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
}
