// TLS in memory, this project's library beside OpenSSL's: CPU time inside the server only.
//
// A client by OpenSSL is the same for both, and the two servers take turns, so that what else the
// machine does falls on both. Prints microseconds or MB/s, and how many times as fast ours is.
//   bench_tls [SECONDS]    about how long to measure, 10 unless told
#include "support/tls_ends.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include <malloc.h>

using namespace proxycore::test;

namespace {

constexpr int tls_1_2 = 0x0303;
constexpr int tls_1_3 = 0x0304;
constexpr int rounds = 5;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "bench_tls: %s\n", what);
  std::exit(1);
}

struct Handshake {
  const char* name;
  int version;
  KeyKind key;
  const char* group;
  bool resume;
};

struct Bulk {
  const char* name;
  int version;
  const char* suite;
  bool send;  // the server encrypts
  std::size_t size;
};

constexpr std::array handshakes = {
    Handshake{"1.3 EC   X25519 full", tls_1_3, KeyKind::p256, "X25519", false},
    Handshake{"1.3 EC   P-256  full", tls_1_3, KeyKind::p256, "P-256", false},
    Handshake{"1.3 RSA  X25519 full", tls_1_3, KeyKind::rsa, "X25519", false},
    Handshake{"1.3 EC   X25519 resumed", tls_1_3, KeyKind::p256, "X25519", true},
    Handshake{"1.3 EC   P-256  resumed", tls_1_3, KeyKind::p256, "P-256", true},
    Handshake{"1.2 EC   X25519 full", tls_1_2, KeyKind::p256, "X25519:P-256", false},
    Handshake{"1.2 EC   P-256  full", tls_1_2, KeyKind::p256, "P-256", false},
    Handshake{"1.2 RSA  X25519 full", tls_1_2, KeyKind::rsa, "X25519", false},
    Handshake{"1.2 EC   X25519 resumed", tls_1_2, KeyKind::p256, "X25519:P-256", true},
};

constexpr const char* aes_128 = "TLS_AES_128_GCM_SHA256";
constexpr const char* aes_256 = "TLS_AES_256_GCM_SHA384";
constexpr const char* chacha20 = "TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* aes_128_in_1_2 = "ECDHE-ECDSA-AES128-GCM-SHA256";

constexpr std::array bulks = {
    Bulk{"1.3 AES-128 send    16384", tls_1_3, aes_128, true, 16384},
    Bulk{"1.3 AES-128 receive 16384", tls_1_3, aes_128, false, 16384},
    Bulk{"1.3 AES-256 send    16384", tls_1_3, aes_256, true, 16384},
    Bulk{"1.3 AES-256 receive 16384", tls_1_3, aes_256, false, 16384},
    Bulk{"1.3 ChaCha  send    16384", tls_1_3, chacha20, true, 16384},
    Bulk{"1.3 ChaCha  receive 16384", tls_1_3, chacha20, false, 16384},
    Bulk{"1.2 AES-128 send    16384", tls_1_2, aes_128_in_1_2, true, 16384},
    Bulk{"1.3 AES-128 send     4096", tls_1_3, aes_128, true, 4096},
    Bulk{"1.3 AES-128 send     1024", tls_1_3, aes_128, true, 1024},
    Bulk{"1.3 AES-128 receive  1024", tls_1_3, aes_128, false, 1024},
    Bulk{"1.3 AES-128 send      256", tls_1_3, aes_128, true, 256},
};

// One server's CPU seconds for a handshake and what it takes to set it up and tear it down.
double shake_once(TlsMaker& servers, TlsMaker& clients, std::shared_ptr<TlsSession> session) {
  const auto client = clients.make(session);
  double used = -cpu_seconds();
  auto server = servers.make();
  used += cpu_seconds();
  bool opened = false;
  bool accepted = false;
  for (int flight = 0; flight < 8 && !(opened && accepted); ++flight) {
    if (!opened) opened = client->handshake();
    exchange(*client, *server);
    used -= cpu_seconds();
    if (!accepted) accepted = server->handshake();
    used += cpu_seconds();
    exchange(*client, *server);
  }
  if (!opened || !accepted || client->resumed() != (session != nullptr)) fail("no such handshake");
  used -= cpu_seconds();
  server.reset();
  return used + cpu_seconds();
}

// Until `seconds` are over; per handshake.
double shake(TlsMaker& servers, TlsMaker& clients, bool resume, double seconds) {
  std::shared_ptr<TlsSession> session;
  if (resume) {
    const auto client = clients.make();
    const auto server = servers.make();
    if (!shake_hands(*client, *server)) fail("no handshake");
    server->write("-");  // a TLS 1.3 client reads its tickets
    deliver(*server, *client);
    session = client->session();
    if (session == nullptr) fail("no ticket");
  }
  const double end = cpu_seconds() + seconds;
  double used = 0;
  int count = 0;
  for (; cpu_seconds() < end || count < 3; ++count) used += shake_once(servers, clients, session);
  return used / count;
}

// Bytes a second.
double stream(TlsMaker& servers, TlsMaker& clients, const Bulk& how, double seconds) {
  const auto client = clients.make();
  const auto server = servers.make();
  if (!shake_hands(*client, *server)) fail("no handshake");
  deliver(*server, *client);
  TlsEnd& from = how.send ? *server : *client;
  TlsEnd& to = how.send ? *client : *server;
  const std::string record(how.size, 'x');
  const std::size_t records = std::max<std::size_t>(1, (256 << 10) / how.size);
  const double end = cpu_seconds() + seconds;
  double used = 0;
  double bytes = 0;
  while (cpu_seconds() < end) {
    double start = cpu_seconds();
    for (std::size_t i = 0; i < records; ++i) from.write(record);
    if (how.send) used += cpu_seconds() - start;
    exchange(from, to);
    start = cpu_seconds();
    std::size_t got = 0;
    for (std::string_view part = to.read(); !part.empty(); part = to.read()) got += part.size();
    if (!how.send) used += cpu_seconds() - start;
    if (got != records * how.size) fail("something got lost");
    bytes += static_cast<double>(got);
  }
  return bytes / used;
}

// Heap bytes of a server's established connection that waits.
double idle_bytes(TlsMaker& servers, int version) {
  constexpr std::size_t count = 200;
  const auto clients = openssl({.client = true, .version = version});
  std::vector<std::unique_ptr<TlsEnd>> waiting;
  for (std::size_t i = 0; i < count; ++i) {
    const auto client = clients->make();
    auto server = servers.make();
    if (!shake_hands(*client, *server)) fail("no handshake");
    client->write("-");
    deliver(*client, *server);
    server->idle();
    server->in.shrink_to_fit();
    server->out.shrink_to_fit();
    waiting.push_back(std::move(server));
  }
  const std::size_t all = mallinfo2().uordblks;
  waiting.clear();
  return static_cast<double>(all - mallinfo2().uordblks) / count;
}

// Interleaved, and the median of the rounds.
std::array<double, 2> both(const std::function<double(TlsMaker&)>& measure, TlsMaker& theirs,
                           TlsMaker& ours) {
  std::vector<double> first;
  std::vector<double> second;
  for (int round = 0; round < rounds; ++round) {
    first.push_back(measure(theirs));
    second.push_back(measure(ours));
  }
  return {median(first), median(second)};
}

}  // namespace

int main(int argc, char** argv) {
  const double wanted = argc > 1 ? std::atof(argv[1]) : 10;
  const double each = wanted / (2.0 * rounds * (handshakes.size() + bulks.size()));
  std::printf("%-28s %12s %12s %8s\n", "handshake, us of the server", "OpenSSL", "ours", "speed");
  for (const Handshake& how : handshakes) {
    const TlsOptions options{.identity = &identity(how.key), .version = how.version};
    const auto theirs = openssl(options);
    const auto ours = mbedtls(options);
    const auto clients = openssl({.client = true, .version = how.version, .group = how.group});
    const auto result =
        both([&](TlsMaker& servers) { return shake(servers, *clients, how.resume, each); }, *theirs,
             *ours);
    std::printf("%-28s %12.0f %12.0f %7.2fx\n", how.name, 1e6 * result[0], 1e6 * result[1],
                result[0] / result[1]);
  }
  std::printf("\n%-28s %12s %12s %8s\n", "records, MB/s of the server", "OpenSSL", "ours", "speed");
  for (const Bulk& how : bulks) {
    const TlsOptions options{.identity = &identity(KeyKind::p256), .version = how.version};
    const auto theirs = openssl(options);
    const auto ours = mbedtls(options);
    const auto clients = openssl({.client = true, .version = how.version, .suite = how.suite});
    const auto result = both(
        [&](TlsMaker& servers) { return stream(servers, *clients, how, each); }, *theirs, *ours);
    std::printf("%-28s %12.0f %12.0f %7.2fx\n", how.name, 1e-6 * result[0], 1e-6 * result[1],
                result[1] / result[0]);
  }
  std::printf("\n%-28s %12s %12s\n", "idle connection, bytes", "OpenSSL", "ours");
  for (const int version : {tls_1_2, tls_1_3}) {
    const TlsOptions options{.identity = &identity(KeyKind::p256), .version = version};
    const auto theirs = openssl(options);
    const auto ours = mbedtls(options);
    std::printf("%-28s %12.0f %12.0f\n", version == tls_1_2 ? "1.2" : "1.3",
                idle_bytes(*theirs, version), idle_bytes(*ours, version));
  }
  return 0;
}
