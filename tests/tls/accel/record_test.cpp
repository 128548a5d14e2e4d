#include "tls/accel/record.h"

#include "support/tls_ends.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <mbedtls/ssl.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

constexpr int versions[] = {0x0303, 0x0304};

// A client by OpenSSL and a server by mbedTLS, after their handshake.
struct Connection {
  explicit Connection(int version, const std::string& suite = {})
      : server_maker(mbedtls({.identity = &identity(KeyKind::p256), .version = version})),
        client_maker(openssl({.client = true, .version = version, .suite = suite})),
        server(server_maker->make()),
        client(client_maker->make()) {
    REQUIRE(shake_hands(*client, *server));
  }
  std::unique_ptr<TlsMaker> server_maker, client_maker;
  std::unique_ptr<TlsEnd> server, client;
};

}  // namespace

TEST_CASE("record: plaintext of every size is read where it was decrypted") {
  for (const int version : versions) {
    Connection connection(version);
    for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 255U, 1000U, 16383U, 16384U}) {
      const std::string sent(size, 'x');
      connection.client->write(sent);
      CHECK(deliver(*connection.client, *connection.server) == sent);
    }
  }
}

TEST_CASE("record: what is written fits the room, and the peer reads it") {
  for (const int version : versions) {
    for (const char* suite : {"", version == 0x0303 ? "ECDHE-ECDSA-CHACHA20-POLY1305"
                                                    : "TLS_CHACHA20_POLY1305_SHA256"}) {
      Connection connection(version, suite);
      const std::string text(40'000, 'y');
      for (const std::size_t room_size : {std::size_t{65}, std::size_t{80}, std::size_t{4096},
                                          std::size_t{16384}, std::size_t{20000}}) {
        // Behind the room nothing may change.
        std::vector<char> room(room_size + 64, '#');
        std::size_t written = 0;
        const int taken = tls::write_record(context_of(*connection.server), text,
                                            {room.data(), room_size}, written);
        REQUIRE(taken > 0);
        // TLS 1.3 in mbedTLS: the type's byte counts as content.
        const std::size_t most = version == 0x0303 ? 16384 : 16383;
        CHECK(static_cast<std::size_t>(taken) ==
              std::min<std::size_t>(room_size - tls::record_overhead, most));
        REQUIRE(written <= room_size);
        CHECK(std::string(room.data() + room_size, 64) == std::string(64, '#'));
        connection.server->out.assign(room.data(), written);
        CHECK(deliver(*connection.server, *connection.client) ==
              text.substr(0, static_cast<std::size_t>(taken)));
      }
    }
  }
}

TEST_CASE("record: alerts still go through the context's own buffer") {
  for (const int version : versions) {
    Connection connection(version);
    connection.server->write("last words");
    connection.server->close();
    CHECK(deliver(*connection.server, *connection.client) == "last words");
    CHECK(connection.client->ended);
    connection.client->write("answer");
    connection.client->close();
    CHECK(deliver(*connection.client, *connection.server) == "answer");
    CHECK(connection.server->ended);
  }
}

TEST_CASE("record: a changed record is an error") {
  for (const int version : versions) {
    Connection connection(version);
    connection.client->write("some text");
    connection.client->out.back() ^= 1;
    CHECK(deliver(*connection.client, *connection.server).empty());
    CHECK(!connection.server->error.empty());
  }
}

TEST_CASE("record: nothing is written before the handshake is done") {
  const auto maker = mbedtls({.identity = &identity(KeyKind::p256)});
  const auto server = maker->make();
  std::vector<char> room(1000);
  std::size_t written = 0;
  CHECK(tls::write_record(context_of(*server), "early", room, written) < 0);
}
