#include "tls/engine.h"

#include "support/tls_rig.h"

#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using base::Bytes;
using base::Chain;
using tls::Engine;

namespace {

// One end with what it sends and what it has read.
struct End {
  explicit End(base::Slabs& slabs) : out(slabs) {}
  // Takes everything of `from`; the last event that was not bytes.
  Engine::Event take(Chain& from) {
    Engine::Event last = Engine::Event::wait;
    do {
      Bytes in = from.empty() ? Bytes() : from.front();
      const std::size_t size = in.size;
      for (;;) {
        const Engine::Event event = engine->next(in);
        if (event == Engine::Event::bytes) {
          received += engine->plaintext().text();
          continue;
        }
        if (event != Engine::Event::wait) last = event;
        if (event != Engine::Event::opened) break;
      }
      if (!from.empty()) from.consume(size - in.size);
    } while (!from.empty() && last != Engine::Event::failed);
    return last;
  }
  void write(base::Slabs& slabs, std::string_view text) {
    Chain plain(slabs);
    plain.append(text);
    engine->write(plain, SIZE_MAX);
    CHECK(plain.empty());
  }
  Chain out;
  std::unique_ptr<Engine> engine;
  std::string received;
};

struct Pair {
  Pair(tls::ServerContext& for_server, tls::ClientContext& for_client,
       const tls::ClientOptions& options = {.server_name = "a.test"},
       std::shared_ptr<const tls::Credentials> credentials = test::test_credentials(),
       std::string_view name = "a.test") {
    server.engine = Engine::server(for_server, std::move(credentials), name, server.out).value();
    client.engine = Engine::client(for_client, options, client.out).value();
  }
  // Until neither has anything to say.
  void exchange() {
    do {
      client.take(server.out);
      server.take(client.out);
    } while (!server.out.empty() || !client.out.empty());
  }
  base::Slabs slabs;
  End server{slabs};
  End client{slabs};
};

}  // namespace

TEST_CASE("engine: both versions, bytes both ways, and the end") {
  for (const TlsVersion version : {TlsVersion::tls_1_2, TlsVersion::tls_1_3}) {
    const auto server = test::server_context();
    const auto client = test::client_context({.min_version = version});
    Pair pair(*server, *client);
    pair.exchange();
    REQUIRE(pair.server.engine->open());
    REQUIRE(pair.client.engine->open());
    CHECK(pair.server.engine->alpn() == "http/1.1");
    CHECK(pair.server.engine->version() == TlsVersion::tls_1_3);
    const std::string much(100'000, 'x');
    pair.client.write(pair.slabs, much);
    pair.server.write(pair.slabs, "short");
    pair.exchange();
    CHECK(pair.server.received == much);
    CHECK(pair.client.received == "short");
    pair.client.engine->close();
    CHECK(pair.server.take(pair.client.out) == Engine::Event::ended);
  }
}
