#include "tls/accel/park.h"

#include "support/tls_ends.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <malloc.h>
#include <mbedtls/ssl.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

constexpr int versions[] = {0x0303, 0x0304};

// One end by mbedTLS, the other by OpenSSL; either may be the server.
struct Connection {
  explicit Connection(int version, bool mbedtls_is_client = false) {
    const TlsOptions for_server{.identity = &identity(KeyKind::p256), .version = version};
    const TlsOptions for_client{.client = true, .version = version};
    ours_maker = mbedtls(mbedtls_is_client ? for_client : for_server);
    theirs_maker = openssl(mbedtls_is_client ? for_server : for_client);
    ours = ours_maker->make();
    theirs = theirs_maker->make();
    REQUIRE((mbedtls_is_client ? shake_hands(*ours, *theirs) : shake_hands(*theirs, *ours)));
  }
  std::unique_ptr<TlsMaker> ours_maker, theirs_maker;
  std::unique_ptr<TlsEnd> ours, theirs;
};

bool parks() {
  Connection connection(0x0304);
  return tls::park(context_of(*connection.ours));
}

}  // namespace

TEST_CASE("park: connections go on after it, both versions and both roles") {
  for (const int version : versions) {
    for (const bool client : {false, true}) {
      Connection connection(version, client);
      mbedtls_ssl_context& context = context_of(*connection.ours);
      const bool parked = tls::park(context);
      for (int round = 0; round < 5; ++round) {
        CHECK(tls::park(context) == parked);
        // Written while parked, then read: the end unparks for that.
        connection.ours->write("from " + std::to_string(round));
        CHECK(deliver(*connection.ours, *connection.theirs) == "from " + std::to_string(round));
        if (round % 2 == 0) tls::unpark(context);
        connection.theirs->write("to " + std::to_string(round));
        CHECK(deliver(*connection.theirs, *connection.ours) == "to " + std::to_string(round));
        CHECK(connection.ours->error.empty());
      }
      tls::park(context);
      connection.theirs->close();
      CHECK(deliver(*connection.theirs, *connection.ours).empty());
      CHECK(connection.ours->ended);
      tls::park(context);
      connection.ours->close();
      CHECK(deliver(*connection.ours, *connection.theirs).empty());
      CHECK(connection.theirs->ended);
    }
  }
}

TEST_CASE("park: not within a record") {
  for (const int version : versions) {
    Connection connection(version);
    mbedtls_ssl_context& context = context_of(*connection.ours);
    connection.theirs->write("cut in two");
    const std::string record = std::exchange(connection.theirs->out, {});
    connection.ours->in = record.substr(0, 8);
    CHECK(connection.ours->read().empty());
    CHECK(!tls::park(context));
    connection.ours->in = record.substr(8);
    CHECK(connection.ours->read() == "cut in two");
  }
}

TEST_CASE("park: sessions can be resumed from a parked connection's tickets") {
  for (const int version : versions) {
    for (const bool client : {false, true}) {
      Connection connection(version, client);
      tls::park(context_of(*connection.ours));
      // A TLS 1.3 client gets its tickets only now.
      connection.theirs->write("-");
      deliver(*connection.theirs, *connection.ours);
      connection.ours->write("-");
      deliver(*connection.ours, *connection.theirs);
      const auto session = (client ? connection.ours : connection.theirs)->session();
      REQUIRE(session != nullptr);
      const auto ours = connection.ours_maker->make(client ? session : nullptr);
      const auto theirs = connection.theirs_maker->make(client ? nullptr : session);
      REQUIRE((client ? shake_hands(*ours, *theirs) : shake_hands(*theirs, *ours)));
      CHECK(theirs->resumed());
    }
  }
}

TEST_CASE("park: a connection that waits costs less than 2 KiB") {
  if (!parks()) return;  // a packaged library
  for (const int version : versions) {
    for (const bool client : {false, true}) {
      constexpr std::size_t count = 200;
      // The first ones fill the pool, which is not counted.
      std::vector<std::unique_ptr<Connection>> warm;
      for (int i = 0; i < 40; ++i) warm.push_back(std::make_unique<Connection>(version, client));
      for (const auto& connection : warm) tls::park(context_of(*connection->ours));

      std::vector<std::unique_ptr<TlsEnd>> parked;
      for (std::size_t i = 0; i < count; ++i) {
        const auto theirs = warm.front()->theirs_maker->make();
        auto ours = warm.front()->ours_maker->make();
        REQUIRE((client ? shake_hands(*ours, *theirs) : shake_hands(*theirs, *ours)));
        REQUIRE(tls::park(context_of(*ours)));
        ours->in.shrink_to_fit();
        ours->out.shrink_to_fit();
        parked.push_back(std::move(ours));
      }
      // What freeing them all gives back is what they cost.
      const std::size_t all = mallinfo2().uordblks;
      parked.clear();
      const std::size_t bytes = (all - mallinfo2().uordblks) / count;
      INFO("bytes: ", bytes);
      // A sanitizer's allocator does not count here.
      CHECK(bytes < 2048);
    }
  }
}
