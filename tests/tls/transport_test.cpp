#include "tls/transport.h"

#include "io/socket.h"
#include "support/count_allocations.h"
#include "support/memory_transport.h"
#include "support/openssl_peer.h"
#include "support/sockets.h"
#include "support/tls_ends.h"
#include "support/tls_rig.h"
#include "support/turns.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using base::Bytes;
using base::Chain;
using io::Loop;
using test::MemoryTransport;
using test::run_turns;
using test::run_until;

namespace {

struct End final : io::Transport::Owner {
  void on_open() override {
    events += "open ";
    if (opened) opened();
  }
  void on_bytes(Bytes in) override {
    received += in.text();
    if (bytes) bytes();
  }
  void on_end() override { events += "end "; }
  void on_writable() override {
    events += "writable ";
    if (writable) writable();
  }
  void on_closed(const Error& why) override {
    events += "closed ";
    error = why;
    transport.reset();
  }
  [[nodiscard]] bool is(std::string_view seen) const { return events == seen; }
  void write(Loop& loop, std::string_view text) const {
    Chain out(loop.slabs());
    out.append(text);
    transport->write(out);
    CHECK(out.empty());
  }

  // Through whatever little room there is.
  void write_all(Loop& loop, std::string_view text, const End& far) {
    Chain out(loop.slabs());
    out.append(text);
    writable = [&] { transport->write(out); };
    transport->write(out);
    run_until(loop, [&] { return far.received == text; });
    writable = nullptr;
    CHECK(out.empty());
  }

  std::string received;
  std::string events;
  Error error;
  std::function<void()> opened;
  std::function<void()> bytes;
  std::function<void()> writable;
  std::unique_ptr<io::Transport> transport;
};

// Gives credentials at once, or when told to.
class Source final : public tls::CredentialsSource {
 public:
  std::shared_ptr<const tls::Credentials> find(std::string_view name,
                                               tls::CredentialsWaiter& later) override {
    asked.emplace_back(name);
    if (!parks) return credentials;
    waiting_.push_back(later);
    return nullptr;
  }
  void answer(const std::shared_ptr<const tls::Credentials>& found) {
    while (!waiting_.empty()) waiting_.pop_front().on_credentials(found);
  }
  [[nodiscard]] bool anybody_waits() const { return !waiting_.empty(); }

  std::shared_ptr<const tls::Credentials> credentials = test::test_credentials();
  std::vector<std::string> asked;
  bool parks = false;

 private:
  base::List<tls::CredentialsWaiter, tls::CredentialsTag> waiting_;
};

struct Options {
  std::size_t room = 256 << 10;
  bool sockets = false;
  tls::ClientOptions client = {.server_name = "a.test"};
  TlsConfig config = {};
};

// Both ends are ours.
struct Rig {
  explicit Rig(Options options = {}) : contexts(test::server_context(options.config)) {
    std::unique_ptr<io::Transport> near;
    std::unique_ptr<io::Transport> far;
    if (options.sockets) {
      const test::Door door;
      near = *io::Socket::adopt(loop, door.connect().release(), false);
      far = *io::Socket::adopt(loop, door.accept().release(), false);
    } else {
      auto both = MemoryTransport::pair(loop, options.room);
      lower_client = both.first.get();
      lower_server = both.second.get();
      near = std::move(both.first);
      far = std::move(both.second);
    }
    auto made =
        std::make_unique<tls::Transport>(loop, std::move(near), *client_context, options.client);
    tls_client = made.get();
    client.transport = std::move(made);
    made = std::make_unique<tls::Transport>(loop, std::move(far), *contexts, source);
    tls_server = made.get();
    server.transport = std::move(made);
  }
  void start() {
    server.transport->start(server);
    client.transport->start(client);
  }
  void open() {
    start();
    run_until(loop, [&] { return client.is("open ") && server.is("open "); });
  }

  Loop loop;
  std::unique_ptr<tls::ServerContext> contexts;
  std::unique_ptr<tls::ClientContext> client_context = test::client_context();
  Source source;
  MemoryTransport* lower_client = nullptr;
  MemoryTransport* lower_server = nullptr;
  tls::Transport* tls_client = nullptr;
  tls::Transport* tls_server = nullptr;
  End client;
  End server;
};

template <class Case>
void both_ways(Case&& run) {
  for (const bool sockets : {false, true}) {
    CAPTURE(sockets);
    Rig rig({.sockets = sockets});
    run(rig);
  }
}

// A server's transport with bytes by hand on the other side.
struct RawRig {
  RawRig() {
    auto both = MemoryTransport::pair(loop);
    raw.transport = std::move(both.first);
    server.transport =
        std::make_unique<tls::Transport>(loop, std::move(both.second), *context, source);
    server.transport->start(server);
    raw.transport->start(raw);
  }
  Loop loop;
  std::unique_ptr<tls::ServerContext> context = test::server_context();
  Source source;
  End raw;
  End server;
};

}  // namespace

TEST_CASE("tls: after the handshake bytes flow both ways") {
  both_ways([](Rig& rig) {
    rig.open();
    CHECK(rig.tls_server->sni() == "a.test");
    CHECK(rig.source.asked == std::vector<std::string>{"a.test"});
    CHECK(rig.tls_server->credentials() == rig.source.credentials);
    CHECK(rig.tls_server->alpn() == "http/1.1");
    CHECK(rig.tls_client->alpn() == "http/1.1");
    CHECK(rig.tls_server->version() == TlsVersion::tls_1_3);
    CHECK_FALSE(rig.tls_server->resumed());
    CHECK(rig.tls_server->covers("a.test"));
    CHECK(rig.tls_server->covers("b.test"));
    CHECK_FALSE(rig.tls_server->covers("b.example"));
    rig.client.write(rig.loop, "to you");
    rig.server.write(rig.loop, "to me");
    run_until(rig.loop,
              [&] { return rig.server.received == "to you" && rig.client.received == "to me"; });
    CHECK(rig.client.is("open "));
    CHECK(rig.server.is("open "));
  });
}

TEST_CASE("tls: each half ends by itself, with close_notify") {
  both_ways([](Rig& rig) {
    rig.open();
    rig.client.write(rig.loop, "request");
    rig.client.transport->finish();
    run_until(rig.loop, [&] { return rig.server.is("open end "); });
    CHECK(rig.server.received == "request");
    rig.server.write(rig.loop, "response");
    rig.server.transport->finish();
    run_until(rig.loop, [&] { return rig.client.is("open end "); });
    CHECK(rig.client.received == "response");
  });
}

TEST_CASE("tls: who dies says goodbye, who is cut off does not") {
  both_ways([](Rig& rig) {
    rig.open();
    rig.client.transport.reset();
    run_until(rig.loop, [&] { return rig.server.is("open end "); });
  });
  both_ways([](Rig& rig) {
    rig.open();
    rig.client.transport->abort();
    rig.client.transport.reset();
    run_until(rig.loop, [&] { return rig.server.is("open closed "); });
    CHECK(rig.server.error.code == Errc::closed);
  });
  Rig rig;
  rig.open();
  rig.lower_client->finish();  // FIN alone
  run_until(rig.loop, [&] { return rig.server.is("open closed "); });
  CHECK(rig.server.error.detail == "tls: the peer ended without close_notify");
}

TEST_CASE("tls: much is written as the far end reads, and backpressure comes through") {
  for (const bool sockets : {false, true}) {
    CAPTURE(sockets);
    Rig rig({.sockets = sockets});
    rig.open();
    std::string much(20 << 20, '\0');
    for (std::size_t i = 0; i < much.size(); ++i)
      much[i] = static_cast<char>(i * 2654435761U >> 13);
    rig.server.transport->receive(false);
    run_turns(rig.loop);
    Chain out(rig.loop.slabs());
    out.append(much);
    rig.client.transport->write(out);
    CHECK_FALSE(out.empty());
    CHECK(rig.client.transport->unsent() > 0);
    rig.client.writable = [&] { rig.client.transport->write(out); };
    run_turns(rig.loop, 50);
    CHECK_FALSE(out.empty());
    CHECK(rig.server.received.empty());
    CHECK(out.size() > (10U << 20));
    rig.server.transport->receive(true);
    run_until(rig.loop, [&] { return rig.server.received.size() == much.size(); });
    const bool same = rig.server.received == much;
    CHECK(same);
    CHECK(out.empty());
  }
}

TEST_CASE("tls: receive(false) in the middle keeps the rest, and its order") {
  Rig rig;
  rig.open();
  rig.server.bytes = [&] { rig.server.transport->receive(false); };
  std::string sent;
  for (int i = 0; i < 20; ++i) {
    const std::string part =
        std::to_string(i) + std::string(static_cast<std::size_t>(i) * 100, 'x');
    rig.client.write(rig.loop, part);
    sent += part;
  }
  rig.client.transport->finish();
  run_turns(rig.loop, 5);
  CHECK(rig.server.received == "0");
  while (rig.server.received != sent) {
    const std::size_t before = rig.server.received.size();
    run_turns(rig.loop, 5);
    CHECK(rig.server.received.size() == before);
    rig.server.transport->receive(true);
    run_turns(rig.loop, 5);
    REQUIRE(rig.server.received.size() > before);
  }
  CHECK(rig.server.is("open "));
  rig.server.transport->receive(true);
  run_until(rig.loop, [&] { return rig.server.is("open end "); });
}

TEST_CASE("tls: what is written before it is open stays with the owner") {
  Rig rig;
  Chain out(rig.loop.slabs());
  out.append(std::string_view("early"));
  rig.start();
  rig.client.transport->write(out);
  rig.server.transport->write(out);
  CHECK(out.size() == 5);
  rig.client.opened = [&] { rig.client.transport->write(out); };
  run_until(rig.loop, [&] { return rig.server.received == "early"; });
}

TEST_CASE("tls: a handshake waits for its certificates") {
  Rig rig;
  rig.source.parks = true;
  rig.start();
  run_until(rig.loop, [&] { return rig.source.anybody_waits(); });
  run_turns(rig.loop, 10);
  CHECK(rig.client.events.empty());
  CHECK(rig.tls_server->sni() == "a.test");
  rig.source.answer(rig.source.credentials);
  run_until(rig.loop, [&] { return rig.client.is("open ") && rig.server.is("open "); });
}

TEST_CASE("tls: who is destroyed while it waits is forgotten") {
  Rig rig;
  rig.source.parks = true;
  rig.start();
  run_until(rig.loop, [&] { return rig.source.anybody_waits(); });
  rig.server.transport.reset();
  CHECK_FALSE(rig.source.anybody_waits());
  run_until(rig.loop, [&] { return rig.client.is("closed "); });
}

TEST_CASE("tls: without any certificate the name is refused") {
  Rig rig;
  rig.source.parks = true;
  rig.start();
  run_until(rig.loop, [&] { return rig.source.anybody_waits(); });
  rig.source.answer(nullptr);
  run_until(rig.loop, [&] { return rig.client.is("closed ") && rig.server.is("closed "); });
  CHECK(rig.server.error.code == Errc::not_found);
  CHECK(rig.client.error.detail == "tls: handshake: the peer refused: unrecognized name");
}

TEST_CASE("tls: a handshake byte by byte is one, too") {
  Rig rig({.room = 1});
  rig.open();
  rig.client.write_all(rig.loop, "slowly", rig.server);
}

TEST_CASE("tls: what comes behind the ClientHello waits with it for the certificates") {
  test::OpensslPeer peer({.server_name = "a.test"});
  peer.step();
  for (const bool garbage : {false, true}) {
    RawRig rig;
    rig.source.parks = true;
    // As old middleboxes like to see it (RFC 8446 §D.4).
    const std::string more = garbage ? "garbage" : std::string("\x14\x03\x03\x00\x01\x01", 6);
    rig.raw.write(rig.loop, peer.out + more);
    run_until(rig.loop, [&] { return rig.source.anybody_waits(); });
    rig.source.answer(rig.source.credentials);
    run_until(rig.loop, [&] { return rig.raw.received.size() > 300; });
    run_turns(rig.loop, 5);
    CHECK(rig.server.is(garbage ? "closed " : ""));
  }
}

TEST_CASE("tls: a client that says nothing after its handshake has all that it needs") {
  for (const int version : {0x0303, 0x0304}) {
    CAPTURE(version);
    RawRig rig;
    rig.context->set_ticket_keys(test::new_ticket_keys());
    test::OpensslPeer peer({.min_version = version, .max_version = version});
    run_until(rig.loop, [&] {
      peer.in += std::exchange(rig.raw.received, {});
      peer.step();
      if (!peer.out.empty()) rig.raw.write(rig.loop, std::exchange(peer.out, {}));
      return peer.open() && peer.session() != nullptr;
    });
    CHECK(rig.server.is("open "));
  }
}

TEST_CASE("tls: plain HTTP is answered in plain text") {
  RawRig rig;
  rig.raw.write(rig.loop, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  run_until(rig.loop, [&] { return rig.server.is("closed ") && rig.raw.is("end "); });
  CHECK(rig.server.error.code == Errc::protocol);
  CHECK(rig.raw.received.starts_with("HTTP/1.1 400 Bad Request\r\n"));
  const std::size_t head = rig.raw.received.find("\r\n\r\n") + 4;
  CHECK(rig.raw.received.find("Content-Length: " +
                              std::to_string(rig.raw.received.size() - head)) != std::string::npos);
}

TEST_CASE("tls: what is no ClientHello gets an alert") {
  for (const std::string& text :
       {std::string("SSH-2.0-x\r\n"), std::string("\x16\x03\x01\x00\x04\x01\x00\x50\x00", 9),
        std::string("\x16\x03\x01\x00\x05\x01\x00\x00\x01x", 10)}) {
    RawRig rig;
    rig.raw.write(rig.loop, text);
    run_until(rig.loop, [&] { return rig.server.is("closed ") && !rig.raw.events.empty(); });
    CHECK(rig.raw.received.size() == 7);
    CHECK(rig.raw.received.starts_with(std::string("\x15\x03\x03\x00\x02\x02", 6)));
  }
}

TEST_CASE("tls: a client that leaves or breaks off during the handshake is no more than that") {
  for (const bool reset : {false, true}) {
    for (const std::string_view text : {"", "\x16\x03\x01"}) {
      RawRig rig;
      if (!text.empty()) rig.raw.write(rig.loop, text);
      run_turns(rig.loop, 3);
      if (reset) rig.raw.transport->abort();
      rig.raw.transport.reset();
      run_until(rig.loop, [&] { return rig.server.is("closed "); });
      CHECK(rig.server.error.code == Errc::closed);
    }
  }
}

TEST_CASE("tls: an origin that cannot be verified is refused, with the reason") {
  struct Bad {
    CertBundle bundle;
    std::string why;
  };
  const auto& authority = test::test_authority();
  const std::vector<Bad> cases = {
      {authority.issue({.dns = {"a.test"}, .not_before = -1000, .not_after = -10}),
       "the certificate has expired"},
      {authority.issue({.dns = {"a.test"}, .not_before = 1000, .not_after = 2000}),
       "the certificate is not valid yet"},
      {authority.issue({.dns = {"b.test"}}), "the certificate is for another name"},
      {authority.issue({.common_name = "a.example"}), "the certificate is for another name"},
      {test::lone({.dns = {"a.test"}}), "no known authority has signed the certificate"},
  };
  for (const Bad& bad : cases) {
    CAPTURE(bad.why);
    Rig rig;
    auto credentials = std::make_shared<tls::Credentials>();
    credentials->ecdsa = test::load_certificate(bad.bundle);
    rig.source.credentials = credentials;
    rig.start();
    run_until(rig.loop, [&] { return rig.client.is("closed ") && rig.server.is("closed "); });
    CHECK(rig.client.error.code == Errc::denied);
    CHECK(rig.client.error.detail == "tls: handshake: " + bad.why);

    Rig trusting({.client = {.server_name = "a.test", .verify = tls::Verify::no}});
    trusting.source.credentials = credentials;
    trusting.open();
  }
}

TEST_CASE("tls: an address is verified, but not asked for by name (RFC 6066 §3)") {
  Rig rig({.client = {.server_name = "127.0.0.1"}});
  rig.open();
  CHECK(rig.source.asked == std::vector<std::string>{""});
  Rig other({.client = {.server_name = "127.0.0.2"}});
  other.start();
  run_until(other.loop, [&] { return other.client.is("closed "); });
  CHECK(other.client.error.code == Errc::denied);
}

TEST_CASE("tls: a client that asks for an address has named nobody (RFC 6066 §3)") {
  for (const char* address : {"127.0.0.1", "::1", "[::1]"}) {
    CAPTURE(address);
    RawRig rig;
    test::OpensslPeer peer({.server_name = address});
    peer.step();
    rig.raw.write(rig.loop, peer.out);
    run_until(rig.loop, [&] { return !rig.source.asked.empty(); });
    CHECK(rig.source.asked == std::vector<std::string>{""});
  }
}

TEST_CASE("tls: a connection works on after its buffers were given back") {
  Rig rig;
  rig.open();
  rig.client.write(rig.loop, "one");
  run_until(rig.loop, [&] { return rig.server.received == "one"; });
  const std::int64_t until = rig.loop.now() + 600;
  run_until(rig.loop, [&] { return rig.loop.now() > until; });
  rig.server.write(rig.loop, "back");
  rig.client.write(rig.loop, "two");
  run_until(rig.loop,
            [&] { return rig.server.received == "onetwo" && rig.client.received == "back"; });
  run_until(rig.loop, [&] { return rig.loop.now() > until + 600; });
  rig.client.transport->finish();
  run_until(rig.loop, [&] { return rig.server.is("open end "); });
}

TEST_CASE("tls: a warm record takes no memory of ours") {
  Rig rig;
  rig.open();
  std::string_view text = "GET / HTTP/1.1\r\n\r\n";
  Chain out(rig.loop.slabs());
  const auto round = [&] {
    rig.server.received.clear();
    out.append(text);
    rig.client.transport->write(out);
    while (rig.server.received.size() < text.size()) uv_run(&rig.loop.uv(), UV_RUN_NOWAIT);
  };
  for (int i = 0; i < 10; ++i) round();
  const std::size_t before = test::allocations();
  for (int i = 0; i < 100; ++i) round();
  CHECK(test::allocations() == before);
}
