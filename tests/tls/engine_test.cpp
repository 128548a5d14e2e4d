#include "tls/engine.h"

#include "support/openssl_peer.h"
#include "support/tls_ends.h"
#include "support/tls_rig.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <mbedtls/ssl.h>

using namespace proxycore;
using base::Bytes;
using base::Chain;
using test::OpensslOptions;
using test::OpensslPeer;
using tls::Engine;

namespace {

constexpr int tls12 = 0x0303;
constexpr int tls13 = 0x0304;

std::string taken(Chain& chain) {
  std::string all;
  while (!chain.empty()) {
    const Bytes piece = chain.front();
    all.append(piece.text());
    chain.consume(piece.size);
  }
  return all;
}

// One of our ends, with what it sends and what it has read.
struct End {
  // What came of it: the last event that says more than bytes do.
  Engine::Event take(std::string_view from, std::size_t step = SIZE_MAX) {
    Engine::Event last = Engine::Event::wait;
    do {
      Bytes in(from.substr(0, step));
      from.remove_prefix(in.size);
      for (;;) {
        const Engine::Event event = engine->next(in);
        if (event == Engine::Event::bytes) received += engine->plaintext().text();
        if (event == Engine::Event::wait) break;
        if (event == Engine::Event::bytes) continue;
        last = event;
        if (event != Engine::Event::opened) return last;
      }
      CHECK(in.empty());
    } while (!from.empty());
    return last;
  }
  void write(std::string_view text) {
    Chain plain(slabs);
    plain.append(text);
    engine->write(plain, SIZE_MAX);
    CHECK(plain.empty());
  }

  base::Slabs slabs;
  Chain out{slabs};
  std::unique_ptr<Engine> engine;
  std::string received;
};

struct Server : End {
  explicit Server(tls::ServerContext& context,
                  std::shared_ptr<const tls::Credentials> credentials = test::test_credentials(),
                  std::string_view name = "a.test") {
    engine = Engine::server(context, std::move(credentials), name, out).value();
  }
};

struct Client : End {
  explicit Client(tls::ClientContext& context,
                  const tls::ClientOptions& options = {.server_name = "a.test"}) {
    engine = Engine::client(context, options, out).value();
  }
};

// Until neither has anything to say; the last event of ours that tells something.
Engine::Event exchange(End& ours, OpensslPeer& peer, std::size_t step = SIZE_MAX) {
  Engine::Event last = Engine::Event::wait;
  do {
    peer.in += taken(ours.out);
    peer.step();
    const Engine::Event event = ours.take(std::exchange(peer.out, {}), step);
    if (event != Engine::Event::wait) last = event;
  } while (!ours.out.empty() || !peer.out.empty());
  return last;
}

Engine::Event exchange(End& one, End& other) {
  Engine::Event last = Engine::Event::wait;
  do {
    one.take(taken(other.out));
    const Engine::Event event = other.take(taken(one.out));
    if (event != Engine::Event::wait) last = event;
  } while (!one.out.empty() || !other.out.empty());
  return last;
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 2654435761U >> 11);
  return text;
}

}  // namespace

TEST_CASE("engine: OpenSSL's client gets on with it, whatever it prefers") {
  struct Case {
    int version;
    std::string key;
    std::string groups;
    std::string suite;
  };
  std::vector<Case> cases;
  for (const std::string key : {"P-256", "P-384", "rsa:2048"}) {
    for (const std::string groups : {"X25519", "P-256", "P-384", "P-384:X25519"}) {
      for (const std::string suite :
           {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
        cases.push_back({tls13, key, groups, suite});
      }
      const std::string kind = key.starts_with("rsa") ? "RSA" : "ECDSA";
      // Before TLS 1.3 they are also the curves of certificates.
      const bool has = kind == "RSA" || groups.find(key) != std::string::npos;
      const std::string curves = has ? groups : groups + ":" + key;
      for (const std::string suite :
           {"AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"}) {
        cases.push_back({tls12, key, curves, "ECDHE-" + kind + "-" + suite});
      }
    }
  }
  const auto context = test::server_context();
  const std::string text = pattern(70'000);
  for (const Case& one : cases) {
    CAPTURE(one.version);
    CAPTURE(one.key);
    CAPTURE(one.groups);
    CAPTURE(one.suite);
    OpensslOptions options{.min_version = one.version,
                           .max_version = one.version,
                           .groups = one.groups,
                           .alpn = {"h2", "http/1.1"},
                           .server_name = "a.test",
                           .authority = test::test_authority().pem()};
    (one.version == tls13 ? options.suites : options.old_suites) = one.suite;
    OpensslPeer peer(options);
    Server server(*context, test::test_credentials({one.key}));
    CHECK(exchange(server, peer) == Engine::Event::opened);
    CHECK(peer.error().empty());
    REQUIRE(peer.open());
    CHECK(peer.alpn() == "h2");
    CHECK(peer.suite() == one.suite);
    CHECK(server.engine->alpn() == "h2");
    CHECK(server.engine->version() ==
          (one.version == tls13 ? TlsVersion::tls_1_3 : TlsVersion::tls_1_2));
    CHECK_FALSE(server.engine->resumed());
    peer.write(text);
    server.write(text);
    exchange(server, peer);
    CHECK(server.received == text);
    CHECK(peer.received == text);
    peer.close();
    CHECK(exchange(server, peer) == Engine::Event::ended);
    CHECK_FALSE(peer.ended());
    server.engine->close();
    exchange(server, peer);
    CHECK(peer.ended());
  }
}

TEST_CASE("engine: every cut of the ciphertext reads the same") {
  const auto context = test::server_context();
  const std::string text = pattern(3000);
  for (const int version : {tls12, tls13}) {
    for (const std::size_t step : {1U, 2U, 5U, 6U, 100U}) {
      OpensslPeer peer({.min_version = version, .max_version = version});
      Server server(*context);
      CHECK(exchange(server, peer, step) == Engine::Event::opened);
      peer.write(text);
      exchange(server, peer, step);
      CHECK(server.received == text);
    }
  }
}

TEST_CASE("engine: of two certificates the client's signature algorithms choose") {
  const auto context = test::server_context();
  const auto both = test::test_credentials({"P-256", "rsa:2048"});
  struct Case {
    std::string signatures;
    std::string key;
  };
  for (const Case& one :
       {Case{"", "EC"}, Case{"ECDSA+SHA256", "EC"}, Case{"rsa_pss_rsae_sha256:RSA+SHA256", "RSA"},
        Case{"ECDSA+SHA256:rsa_pss_rsae_sha256:RSA+SHA256", "EC"}}) {
    for (const int version : {tls12, tls13}) {
      CAPTURE(one.signatures);
      CAPTURE(version);
      OpensslPeer peer(
          {.min_version = version, .max_version = version, .signatures = one.signatures});
      Server server(*context, both);
      CHECK(exchange(server, peer) == Engine::Event::opened);
      CHECK(peer.peer_key() == one.key);
    }
  }
  // Old clients without ECDSA suites.
  OpensslPeer old({.max_version = tls12, .old_suites = "ECDHE-RSA-AES128-GCM-SHA256"});
  Server server(*context, both);
  CHECK(exchange(server, old) == Engine::Event::opened);
  CHECK(old.peer_key() == "RSA");
}

TEST_CASE("engine: the server chooses among the suites of TLS 1.2") {
  const auto context = test::server_context();
  OpensslPeer peer({.max_version = tls12,
                    .old_suites = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:"
                                  "ECDHE-ECDSA-AES128-GCM-SHA256"});
  Server server(*context);
  CHECK(exchange(server, peer) == Engine::Event::opened);
  CHECK(peer.suite() == "ECDHE-ECDSA-AES128-GCM-SHA256");
}

TEST_CASE("engine: old versions, weak suites and weak groups are refused") {
  const auto context = test::server_context();
  const auto both = test::test_credentials({"P-256", "rsa:2048"});
  for (const OpensslOptions& options : {
           OpensslOptions{.min_version = 0x0301, .max_version = 0x0301},
           OpensslOptions{.min_version = 0x0301, .max_version = 0x0302},
           OpensslOptions{.max_version = tls12, .old_suites = "AES128-GCM-SHA256"},
           OpensslOptions{.max_version = tls12, .old_suites = "DHE-RSA-AES128-GCM-SHA256"},
           OpensslOptions{.max_version = tls12, .old_suites = "ECDHE-RSA-AES128-SHA256"},
           OpensslOptions{.max_version = tls12, .old_suites = "ECDHE-ECDSA-AES128-SHA"},
           OpensslOptions{.max_version = tls12, .old_suites = "ECDHE-ECDSA-AES128-CCM"},
           OpensslOptions{.max_version = tls12, .old_suites = "PSK-AES128-GCM-SHA256:aNULL"},
           OpensslOptions{.groups = "P-521"},
           OpensslOptions{.groups = "ffdhe2048"},
           OpensslOptions{.min_version = tls13, .suites = "TLS_AES_128_CCM_SHA256"},
           OpensslOptions{.max_version = tls12, .signatures = "ECDSA+SHA1:RSA+SHA1"},
       }) {
    CAPTURE(options.groups);
    CAPTURE(options.old_suites);
    OpensslPeer peer(options);
    Server server(*context, both);
    CHECK(exchange(server, peer) == Engine::Event::failed);
    CHECK_FALSE(peer.error().empty());
    CHECK(server.engine->error().code == Errc::protocol);
    CAPTURE(server.engine->error().detail);
    CHECK(server.engine->error().detail.starts_with("tls: handshake: "));
    CHECK(server.engine->failed());
    Bytes nothing;
    CHECK(server.engine->next(nothing) == Engine::Event::failed);
  }
}

TEST_CASE("engine: min_version 1.3 refuses 1.2") {
  TlsConfig config;
  config.min_version = TlsVersion::tls_1_3;
  const auto context = test::server_context(config);
  OpensslPeer peer({.max_version = tls12});
  Server server(*context);
  CHECK(exchange(server, peer) == Engine::Event::failed);
  CHECK(server.engine->error().detail == "tls: handshake: no version in common");
}

TEST_CASE("engine: a client that speaks none of our protocols is told so (RFC 7301 §3.2)") {
  const auto context = test::server_context();
  OpensslPeer peer({.alpn = {"spdy/3"}});
  Server server(*context);
  CHECK(exchange(server, peer) == Engine::Event::failed);
  CHECK(server.engine->error().detail == "tls: handshake: no application protocol in common");
  OpensslPeer without({});
  Server other(*context);
  CHECK(exchange(other, without) == Engine::Event::opened);
  CHECK(other.engine->alpn().empty());
}

TEST_CASE("engine: sessions are resumed by tickets, in any context with the keys") {
  const tls::TicketKey old_key = tls::TicketKey::generate().value();
  const tls::TicketKey new_key = tls::TicketKey::generate().value();
  const auto keys = [](std::vector<tls::TicketKey> list) {
    return tls::TicketKeys::create(list).value();
  };
  for (const int version : {tls12, tls13}) {
    CAPTURE(version);
    const auto one = test::server_context();
    const auto other = test::server_context();
    one->set_ticket_keys(keys({old_key}));
    other->set_ticket_keys(keys({old_key}));
    OpensslOptions options{.min_version = version, .max_version = version, .server_name = "a.test"};
    const auto connect = [&](tls::ServerContext& context, std::string_view name = "a.test") {
      OpensslPeer peer(options);
      Server server(context, test::test_credentials(), name);
      CHECK(exchange(server, peer) == Engine::Event::opened);
      CHECK(peer.resumed() == server.engine->resumed());
      server.write("x");
      exchange(server, peer);
      CHECK(peer.received == "x");
      if (peer.session()) options.resume = peer.session();
      return peer.resumed();
    };
    CHECK_FALSE(connect(*one));
    REQUIRE(options.resume != nullptr);
    CHECK(connect(*other));
    CHECK(connect(*one));
    // Rotation: the old key still opens, what is given is sealed with the new one.
    other->set_ticket_keys(keys({new_key, old_key}));
    CHECK(connect(*other));
    if (version == tls12) {  // which renews no ticket that is resumed
      options.resume = nullptr;
      CHECK_FALSE(connect(*other));
    }
    CHECK_FALSE(connect(*one));
    other->set_ticket_keys(keys({new_key}));
    CHECK_FALSE(connect(*other));
    CHECK(connect(*other));
    // Another name's ticket.
    CHECK_FALSE(connect(*other, "b.test"));
  }
}

TEST_CASE("engine: who was shown the fallback does not resume with the real certificate") {
  const auto context = test::server_context();
  context->set_ticket_keys(test::new_ticket_keys());
  auto fallback = std::make_shared<tls::Credentials>(*test::test_credentials());
  fallback->fallback = true;
  for (const int version : {tls12, tls13}) {
    OpensslOptions options{.min_version = version, .max_version = version};
    const auto resumes = [&](std::shared_ptr<const tls::Credentials> credentials) {
      OpensslPeer peer(options);
      Server server(*context, std::move(credentials));
      CHECK(exchange(server, peer) == Engine::Event::opened);
      if (peer.session()) options.resume = peer.session();
      return peer.resumed();
    };
    CHECK_FALSE(resumes(fallback));
    CHECK(resumes(fallback));
    CHECK_FALSE(resumes(test::test_credentials()));
    CHECK(resumes(test::test_credentials()));
  }
}

TEST_CASE("engine: where there shall be no tickets there are none") {
  TlsConfig config;
  config.tickets = false;
  const auto context = test::server_context(config);
  context->set_ticket_keys(test::new_ticket_keys());
  for (const int version : {tls12, tls13}) {
    CAPTURE(version);
    OpensslOptions options{.min_version = version, .max_version = version};
    for (int round = 0; round < 2; ++round) {
      OpensslPeer peer(options);
      Server server(*context);
      CHECK(exchange(server, peer) == Engine::Event::opened);
      CHECK_FALSE(peer.resumed());
      options.resume = peer.session();
    }
  }
}

TEST_CASE("engine: a ticket ends with its life time") {
  const tls::TicketKey key = tls::TicketKey::generate().value();
  const auto keys = tls::TicketKeys::create(std::vector{key}).value();
  TlsConfig config;
  config.ticket_lifetime = Millis{3'600'000};
  const auto server_context = test::server_context(config);
  server_context->set_ticket_keys(keys);
  const auto client_context = test::client_context();
  // A session whose ticket was made so many milliseconds ago.
  const auto session_of = [&](std::int64_t ago) {
    Server server(*server_context);
    Client client(*client_context);
    exchange(client, server);
    auto session = std::make_shared<tls::Session>(*client.engine->take_session());
    const std::size_t at =
        session->state.find({reinterpret_cast<const char*>(key.name.data()), key.name.size()});
    REQUIRE(at != std::string::npos);
    auto* const bytes = reinterpret_cast<unsigned char*>(session->state.data());
    const std::size_t size = static_cast<std::size_t>(bytes[at - 2]) << 8 | bytes[at - 1];
    const auto opened = keys->open({bytes + at, size}, "a.test");
    REQUIRE(opened.has_value());
    const std::vector<unsigned char> content(opened->session.begin(), opened->session.end());
    REQUIRE(keys->seal(content, "a.test", opened->made - ago, {bytes + at, size}) == size);
    return session;
  };
  const auto resumes = [&](std::int64_t ago) {
    Server server(*server_context);
    Client client(*client_context, {.server_name = "a.test", .resume = session_of(ago)});
    CHECK(exchange(client, server) == Engine::Event::opened);
    return client.engine->resumed();
  };
  CHECK(resumes(0));
  CHECK(resumes(-2000));  // made on a machine whose clock is ahead
  CHECK_FALSE(resumes(3'601'000));
  CHECK_FALSE(resumes(-60'000));
}

TEST_CASE("engine: our client gets on with OpenSSL's server, and resumes") {
  for (const int version : {tls12, tls13}) {
    for (const std::string key : {"P-256", "P-384", "rsa:2048"}) {
      CAPTURE(version);
      CAPTURE(key);
      const auto context = test::client_context();
      // One context, or its tickets would be those of another server.
      OpensslPeer peer({.server = true,
                        .min_version = version,
                        .max_version = version,
                        .alpn = {"http/1.1"},
                        .certificate = test::test_bundle(key)});
      Client client(*context);
      CHECK(exchange(client, peer) == Engine::Event::opened);
      CAPTURE(client.engine->error().detail);
      REQUIRE(peer.open());
      CHECK(client.engine->alpn() == "http/1.1");
      CHECK_FALSE(client.engine->resumed());
      const std::string text = pattern(40'000);
      peer.write(text);
      client.write(text);
      exchange(client, peer);
      CHECK(client.received == text);
      CHECK(peer.received == text);
      CHECK(client.engine->take_session() != nullptr);
      peer.close();
      CHECK(exchange(client, peer) == Engine::Event::ended);
    }
  }
}

TEST_CASE("engine: our client resumes at our server, once per ticket given") {
  const auto server_context = test::server_context();
  server_context->set_ticket_keys(test::new_ticket_keys());
  const auto client_context = test::client_context();
  tls::ClientOptions options{.server_name = "a.test"};
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    Server server(*server_context);
    Client client(*client_context, options);
    CHECK(exchange(client, server) == Engine::Event::opened);
    CHECK(client.engine->resumed() == (round > 0));
    CHECK(server.engine->resumed() == (round > 0));
    options.resume = client.engine->take_session();
    CHECK(options.resume != nullptr);
    CHECK(client.engine->take_session() == nullptr);
  }
  // What is no session is not resumed, and nothing else.
  for (const std::string& state :
       {std::string(), std::string("garbage"), options.resume->state.substr(9)}) {
    auto broken = std::make_shared<tls::Session>();
    broken->state = state;
    Server server(*server_context);
    Client client(*client_context, {.server_name = "a.test", .resume = broken});
    CHECK(exchange(client, server) == Engine::Event::opened);
    CHECK_FALSE(client.engine->resumed());
  }
}

TEST_CASE("engine: alerts are told in words, on both sides") {
  const auto context = test::server_context();
  OpensslPeer distrusts({.authority = test::test_bundle("P-256").chain_pem});
  Server server(*context, [] {
    auto credentials = std::make_shared<tls::Credentials>();
    credentials->ecdsa = test::load_certificate(test::lone({.dns = {"a.test"}}));
    return credentials;
  }());
  CHECK(exchange(server, distrusts) == Engine::Event::failed);
  CHECK(server.engine->error().code == Errc::refused);
  CHECK(server.engine->error().detail == "tls: handshake: the peer refused: unknown CA");
}

TEST_CASE("engine: a record that was changed ends the connection with an alert") {
  const auto context = test::server_context();
  for (const int version : {tls12, tls13}) {
    OpensslPeer peer({.min_version = version, .max_version = version});
    Server server(*context);
    exchange(server, peer);
    peer.write("text");
    peer.out.back() = static_cast<char>(peer.out.back() ^ 1);
    CHECK(server.take(std::exchange(peer.out, {})) == Engine::Event::failed);
    CHECK(server.engine->error().detail == "tls: a record that was changed on its way");
    peer.in = taken(server.out);
    peer.step();
    CHECK(peer.error().find("bad record mac") != std::string::npos);
    server.engine->close();  // says nothing more
    CHECK(server.out.empty());
  }
}

TEST_CASE("engine: garbage in the place of a record is refused") {
  const auto context = test::server_context();
  for (const std::string& garbage :
       {std::string(100, 'x'), std::string("\x17\x03\x03\xff\xff", 5),
        std::string("\x17\x03\x03\x00\x00", 5), std::string("\x17\x03\x03\x00\x01x", 6),
        std::string("\x16\x03\x03\x00\x04\x00\x00\x00\x00", 9)}) {
    for (const int version : {tls12, tls13}) {
      OpensslPeer peer({.min_version = version, .max_version = version});
      Server server(*context);
      exchange(server, peer);
      CHECK(server.take(garbage) == Engine::Event::failed);
      CHECK_FALSE(server.engine->error().detail.empty());
    }
  }
}

TEST_CASE("engine: renegotiation is refused") {
  const auto context = test::server_context();
  OpensslPeer peer({.max_version = tls12});
  Server server(*context);
  exchange(server, peer);
  REQUIRE(peer.renegotiate());
  const std::string hello = std::exchange(peer.out, {});
  CHECK(server.take(hello) == Engine::Event::wait);
  CHECK(server.engine->open());
  peer.in = taken(server.out);
  peer.step();
  CHECK(peer.error().find("no renegotiation") != std::string::npos);
}

TEST_CASE("engine: a key update is refused, as mbedTLS 3.6 knows none") {
  const auto context = test::server_context();
  OpensslPeer peer({.min_version = tls13});
  Server server(*context);
  exchange(server, peer);
  peer.update_key();
  CHECK(server.take(std::exchange(peer.out, {})) == Engine::Event::failed);
}

TEST_CASE("engine: records that bring nothing are borne for a while") {
  const auto context = test::server_context();
  for (const int version : {tls12, tls13}) {
    for (const bool alerts : {false, true}) {
      if (alerts && version == tls13) continue;  // every alert is fatal there
      for (const bool flood : {false, true}) {
        CAPTURE(version);
        CAPTURE(alerts);
        CAPTURE(flood);
        const auto maker = test::mbedtls({.client = true, .version = version});
        const auto peer = maker->make();
        Server server(*context);
        do {
          peer->handshake();
          server.take(std::exchange(peer->out, {}));
          peer->in += taken(server.out);
        } while (!peer->in.empty());
        REQUIRE(server.engine->open());
        const int count = flood ? 100 : 2;
        for (int i = 0; i < count; ++i) {
          if (alerts) {
            mbedtls_ssl_send_alert_message(&test::context_of(*peer),
                                           MBEDTLS_SSL_ALERT_LEVEL_WARNING,
                                           MBEDTLS_SSL_ALERT_MSG_USER_CANCELED);
          } else {
            mbedtls_ssl_write(&test::context_of(*peer), nullptr, 0);
          }
        }
        peer->write("text");
        CHECK((server.take(peer->out) == Engine::Event::failed) == flood);
        CHECK((server.received == "text") == !flood);
      }
    }
  }
}

TEST_CASE("engine: pieces of any size are written as they are, in few records") {
  const auto context = test::server_context();
  OpensslPeer peer({.min_version = tls13});
  Server server(*context);
  exchange(server, peer);
  Chain plain(server.slabs);
  std::string all;
  std::vector<base::SlabRef> slabs;
  for (int i = 0; i < 200; ++i) {
    // Shared slabs between short pieces, as bodies between frame headers are.
    const base::SlabRef slab = server.slabs.take(64 << 10);
    slabs.push_back(slab);
    const std::string text = pattern(static_cast<std::size_t>(16'384 + i * 37));
    std::memcpy(slab->data(), text.data(), text.size());
    plain.append(std::string_view("frame"));
    plain.append(Bytes(slab->data(), text.size(), slab.get()));
    all += "frame" + text;
  }
  const std::size_t size = all.size();
  server.engine->write(plain, SIZE_MAX);
  CHECK(plain.empty());
  CHECK(server.out.size() < size + size / 100);
  exchange(server, peer);
  const bool same = peer.received == all;
  CHECK(same);
}

TEST_CASE("engine: no more is encrypted than asked for") {
  const auto context = test::server_context();
  OpensslPeer peer({});
  Server server(*context);
  exchange(server, peer);
  Chain plain(server.slabs);
  plain.append(pattern(1 << 20));
  server.engine->write(plain, 100'000);
  CHECK(server.out.size() >= 100'000);
  CHECK(server.out.size() < 100'000 + 17'000);
  CHECK(plain.size() > 900'000);
}

TEST_CASE("engine: a parked connection reads and writes on, in both versions and roles") {
  for (const int version : {tls12, tls13}) {
    CAPTURE(version);
    const auto server_context = test::server_context();
    const auto client_context = test::client_context();
    OpensslPeer to_server({.min_version = version, .max_version = version});
    Server server(*server_context);
    exchange(server, to_server);
    OpensslPeer to_client({.server = true,
                           .min_version = version,
                           .max_version = version,
                           .certificate = test::test_bundle("P-256")});
    Client client(*client_context);
    exchange(client, to_client);
    for (const auto& [ours, peer] :
         {std::pair<End*, OpensslPeer*>{&server, &to_server}, {&client, &to_client}}) {
      for (int round = 0; round < 3; ++round) {
        ours->engine->park();
        ours->write("from parked");
        ours->engine->park();
        peer->write("to parked");
        exchange(*ours, *peer);
      }
      CHECK(ours->received == "to parkedto parkedto parked");
      CHECK(peer->received == "from parkedfrom parkedfrom parked");
      // Within a record nothing can be parked.
      peer->write("cut");
      const std::string record = std::exchange(peer->out, {});
      ours->take(std::string_view(record).substr(0, 9));
      ours->engine->park();
      ours->take(std::string_view(record).substr(9));
      CHECK(ours->received.ends_with("cut"));
      ours->engine->park();
      ours->engine->close();
      exchange(*ours, *peer);
      CHECK(peer->ended());
    }
  }
}

TEST_CASE("engine: a handshake can be parked wherever it waits") {
  const auto context = test::server_context();
  context->set_ticket_keys(test::new_ticket_keys());
  for (const int version : {tls12, tls13}) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{10}, SIZE_MAX}) {
      CAPTURE(version);
      CAPTURE(step);
      OpensslPeer peer(
          {.min_version = version, .max_version = version, .groups = "P-384:X25519:P-256"});
      Server server(*context);
      do {
        peer.in += taken(server.out);
        peer.step();
        std::string_view all = peer.out;
        while (!all.empty()) {
          server.take(all.substr(0, step));
          server.engine->park();
          all.remove_prefix(std::min(step, all.size()));
        }
        peer.out.clear();
      } while (!server.out.empty());
      CAPTURE(server.engine->error().detail);
      CAPTURE(peer.error());
      REQUIRE(server.engine->open());
      peer.write("text");
      exchange(server, peer);
      CHECK(server.received == "text");
    }
  }
}

TEST_CASE("engine: a client's bytes may be changed anywhere") {
  const auto context = test::server_context();
  const auto credentials = test::test_credentials();
  for (const int version : {tls12, tls13}) {
    // The hello, then what follows it.
    for (const bool hello : {true, false}) {
      std::size_t size = 1;
      for (std::size_t at = 0; at < size; at += 3) {
        OpensslPeer peer(
            {.min_version = version, .max_version = version, .groups = "X25519:P-256"});
        Server server(*context, credentials);
        peer.step();
        if (!hello) {
          server.take(std::exchange(peer.out, {}));
          peer.in = taken(server.out);
          peer.step();
        }
        size = peer.out.size();
        peer.out[at] = static_cast<char>(peer.out[at] ^ (1 << at % 8));
        server.take(std::exchange(peer.out, {}));
        const bool harmless = server.engine->open() || !server.engine->failed();
        CHECK((harmless || !server.engine->error().detail.empty()));
      }
    }
  }
}

TEST_CASE("engine: workers share certificates and ticket keys") {
  const auto credentials = test::test_credentials({"P-256", "rsa:2048"});
  const auto keys = test::new_ticket_keys();
  const auto authorities = tls::Authorities::load(test::test_authority().pem()).value();
  std::atomic<int> good = 0;
  const auto work = [&] {
    const auto server_context = tls::ServerContext::create({}).value();
    server_context->set_ticket_keys(keys);
    const auto client_context = tls::ClientContext::create({.authorities = authorities}).value();
    tls::ClientOptions options{.server_name = "a.test"};
    for (int round = 0; round < 10; ++round) {
      Server server(*server_context, credentials);
      Client client(*client_context, options);
      exchange(client, server);
      if (server.engine->open() && client.engine->resumed() == (round % 5 != 0)) ++good;
      options.resume = round % 5 == 4 ? nullptr : client.engine->take_session();
    }
  };
  std::thread one(work);
  std::thread other(work);
  one.join();
  other.join();
  CHECK(good == 20);
}
