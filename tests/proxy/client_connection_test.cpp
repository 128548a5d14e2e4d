#include "proxy/client_connection.h"

#include "support/any_client.h"
#include "support/h2_frames.h"
#include "support/proxy_rig.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

// Answers one request on `at`.
void answer(Peer& at, std::string_view body = "ok") {
  at.message();
  at.send(ok(body));
}

const std::string unknown = "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n";

}  // namespace

// --- time

TEST_CASE("client connection: who sends nothing is closed without a word") {
  ProxyRig rig([](Config& config) { config.timeouts.client_header = Millis{80}; });
  Peer client = rig.client();
  CHECK(client.gone());
  CHECK_FALSE(client.was_reset());
  CHECK(rig.counters().client_timeouts.value() == 0);
}

TEST_CASE("client connection: a head that does not come to its end is 408") {
  ProxyRig rig([](Config& config) { config.timeouts.client_header = Millis{150}; });
  Peer client = rig.client();
  client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-A: ");
  SUBCASE("and then nothing") {}
  SUBCASE("drop by drop") {
    const std::int64_t begin = rig.worker().loop().now();
    rig.until([&] {
      client.send_some("x");
      client.pump();
      return !client.unread().empty() || rig.worker().loop().now() > begin + 5'000;
    });
  }
  CHECK(status_of(client.head()) == 408);
  CHECK(rig.counters().client_timeouts.value() == 1);
  CHECK(rig.origin.nobody_comes());
}

TEST_CASE("client connection: a kept connection without a request is closed after its time") {
  ProxyRig rig([](Config& config) {
    config.timeouts.client_idle = Millis{120};
    config.timeouts.client_header = Millis{10'000};
  });
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  answer(at);
  client.message();
  const std::int64_t begin = rig.worker().loop().now();
  CHECK(client.gone());
  CHECK_FALSE(client.was_reset());
  CHECK(rig.worker().loop().now() - begin >= 80);
}

TEST_CASE("client connection: the time for a head begins with its first byte") {
  ProxyRig rig([](Config& config) { config.timeouts.client_header = Millis{300}; });
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  answer(at);
  client.message();
  rig.pass(Millis{500});
  client.send("GET / HTTP/1.1\r\n");
  CHECK(client.quiet());
  client.send("Host: a.test\r\n\r\n");
  answer(at);
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("client connection: a client that takes nothing is closed, and its target with it") {
  ProxyRig rig([](Config& config) { config.timeouts.client_write = Millis{150}; });
  Peer client = rig.client();
  client.stop_reading();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  const std::string body(1 << 20, 'x');
  at.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
  rig.until([&] {
    const ssize_t count = ::send(at.fd().get(), body.data(), body.size(), MSG_NOSIGNAL);
    return count < 0 && errno != EAGAIN;
  });
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
  CHECK(rig.counters().client_timeouts.value() == 1);
}

TEST_CASE("client connection: a client that takes little but steadily is not closed") {
  ProxyRig rig([](Config& config) { config.timeouts.client_write = Millis{1'000}; });
  Peer client = rig.client();
  // With small buffers of its own, all the waiting is on our side.
  const int small = 16 << 10;
  ::setsockopt(client.fd().get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  client.stop_reading();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  const std::string body(8 << 20, 'x');
  at.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
  std::size_t sent = 0;
  std::size_t got = 0;
  std::int64_t next = rig.worker().loop().now();
  const std::int64_t end = next + 2'500;
  rig.until([&] {
    sent += at.send_some(std::string_view{body}.substr(sent));
    if (rig.worker().loop().now() >= next) {
      next = rig.worker().loop().now() + 50;
      client.read_on();
      client.pump(16 << 10);
      client.stop_reading();
    }
    return rig.worker().loop().now() >= end;
  });
  got = client.unread().size();
  CHECK(got < body.size());
  CHECK(rig.counters().connections_open.value() == 1);
  client.read_on();
  rig.until([&] {
    sent += at.send_some(std::string_view{body}.substr(sent));
    client.pump();
    return sent == body.size();
  });
  client.head();
  CHECK(client.take(body.size()) == body);
}

// --- limits

TEST_CASE("client connection: what is too large is refused with its own status") {
  ProxyRig rig([](Config& config) {
    config.limits.header_count = 10;
    config.limits.header_size = 2048;
    config.limits.target_size = 100;
    config.limits.body_size = 1000;
  });
  const auto status = [&](std::string_view request) {
    Peer client = rig.client();
    client.send(request);
    const int answered = status_of(client.message());
    CHECK(client.gone());
    return answered;
  };
  std::string lines;
  for (int i = 0; i < 11; ++i) lines += "A: b\r\n";
  CHECK(status(get("/", lines)) == 431);
  CHECK(status(get("/", "A: " + std::string(3000, 'x') + "\r\n")) == 431);
  CHECK(status(get("/" + std::string(100, 'x'))) == 414);
  CHECK(status("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n") == 413);
  CHECK(rig.origin.nobody_comes());
  CHECK(rig.counters().over_head_limit.value() == 2);
  CHECK(rig.counters().over_target_limit.value() == 1);
  CHECK(rig.counters().over_body_limit.value() == 1);
}

TEST_CASE("client connection: chunks that add up to too much are refused on the way") {
  ProxyRig rig([](Config& config) { config.limits.body_size = 1000; });
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
  Peer at = rig.origin.accept();
  client.send("384\r\n" + std::string(900, 'x') + "\r\n");
  at.until(std::string(900, 'x') + "\r\n");
  client.send("384\r\n");
  CHECK(status_of(client.message()) == 413);
  CHECK(at.gone());
}

TEST_CASE("client connection: an answer arrives though its request is not read") {
  ProxyRig rig([](Config& config) { config.limits.body_size = 1000; });
  Peer client = rig.client();
  // More than is read at once, less than is worth a reset.
  const std::string body(512 << 10, 'x');
  const std::string request = post(body);
  std::size_t sent = 0;
  rig.until([&] {
    sent += client.send_some(std::string_view{request}.substr(sent));
    return sent == request.size();
  });
  rig.turns(20);
  const std::string answered = client.rest();  // fails if it was a reset
  CHECK(status_of(answered) == 413);
  CHECK(field_of(answered, "Connection") == "close");
  client.close();
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
}

TEST_CASE("client connection: who goes on sending after the answer is closed in the end") {
  ProxyRig rig([](Config& config) { config.limits.body_size = 1000; });
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
  CHECK(status_of(client.message()) == 413);
  SUBCASE("for its much") {
    const std::string part(64 << 10, 'x');
    std::size_t sent = 0;
    rig.until([&] {
      const ssize_t count = ::send(client.fd().get(), part.data(), part.size(), MSG_NOSIGNAL);
      if (count > 0) sent += static_cast<std::size_t>(count);
      return (count < 0 && errno != EAGAIN) || sent > 90'000'000;
    });
    CHECK(sent < 90'000'000);
  }
  SUBCASE("for its time") {
    const std::int64_t begin = rig.worker().loop().now();
    rig.until([&] {
      if (rig.counters().connections_open.value() > 0)
        ::send(client.fd().get(), "x", 1, MSG_NOSIGNAL);
      return rig.counters().connections_open.value() == 0;
    });
    CHECK(rig.worker().loop().now() - begin < 4'000);
  }
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
}

TEST_CASE("client connection: after so many requests it says so and ends") {
  ProxyRig rig([](Config& config) { config.limits.requests_per_connection = 3; });
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  for (int i = 0; i < 3; ++i) {
    if (i > 0) client.send(get());
    answer(at);
    CHECK(field_of(client.message(), "Connection") == (i == 2 ? "close" : "-"));
  }
  CHECK(client.gone());
  CHECK_FALSE(client.was_reset());
}

// --- pipelining

TEST_CASE("client connection: pipelined requests are answered one after the other, in order") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/1") + post("two") + "GET /3 HTTP/1.1\r\nHost: unknown.test\r\n\r\n" +
              get("/4"));
  Peer at = rig.origin.accept();
  CHECK(at.message().starts_with("GET /1 "));
  CHECK(at.quiet());
  at.send(ok("one"));
  CHECK(client.message().ends_with("one"));
  CHECK(at.message().ends_with("two"));
  at.send(ok("TWO"));
  CHECK(client.message().ends_with("TWO"));
  CHECK(status_of(client.message()) == 404);
  CHECK(at.message().starts_with("GET /4 "));
  at.send(ok("four"));
  CHECK(client.message().ends_with("four"));
  CHECK(client.quiet());
}

TEST_CASE("client connection: many pipelined requests answered here are all answered") {
  ProxyRig rig;
  Peer client = rig.client();
  constexpr int count = 4'000;
  std::string all;
  for (int i = 0; i < count; ++i) all += unknown;
  std::size_t sent = 0;
  SUBCASE("to a client that reads") {
    int answers = 0;
    rig.until([&] {
      sent += client.send_some(std::string_view{all}.substr(sent));
      client.pump();
      return sent == all.size();
    });
    while (answers < count) {
      CHECK(status_of(client.message()) == 404);
      ++answers;
    }
  }
  SUBCASE("to a client that reads late, and not all at once") {
    client.stop_reading();
    for (int idle = 0; idle < 20; ++idle) {
      const std::size_t more = client.send_some(std::string_view{all}.substr(sent));
      if (more > 0) idle = 0;
      sent += more;
      rig.turns(1);
    }
    CHECK(rig.worker().loop().slabs().allocated() < 2 << 20);
    client.read_on();
    rig.until([&] {
      sent += client.send_some(std::string_view{all}.substr(sent));
      client.pump();
      return sent == all.size();
    });
    for (int answers = 0; answers < count; ++answers) CHECK(status_of(client.message()) == 404);
  }
  client.send(get());
  Peer at = rig.origin.accept();
  answer(at);
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("client connection: what is pipelined behind a slow answer is not read without end") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/slow"));
  Peer at = rig.origin.accept();
  at.head();
  std::string all;
  while (all.size() < 16 << 20) all += get("/next", "X: " + std::string(1000, 'x') + "\r\n");
  std::size_t sent = 0;
  for (int idle = 0; idle < 20; ++idle) {
    const std::size_t more = client.send_some(std::string_view{all}.substr(sent));
    if (more > 0) idle = 0;
    sent += more;
    rig.turns(1);
  }
  CHECK(sent < all.size());
  CHECK(rig.worker().loop().slabs().allocated() < 2 << 20);
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
  CHECK(at.head().starts_with("GET /next "));
}

TEST_CASE("client connection: a malformed request behind a good one does not harm it") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/good") + "BAD\r\n\r\n" + get("/never"));
  Peer at = rig.origin.accept();
  CHECK(at.message().starts_with("GET /good "));
  at.send(ok("good"));
  CHECK(client.message().ends_with("good"));
  const std::string bad = client.message();
  CHECK(status_of(bad) == 400);
  CHECK(field_of(bad, "Connection") == "close");
  CHECK(client.gone());
  CHECK(at.quiet());
}

TEST_CASE("client connection: TLS on this port is told so at once") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(std::string_view{"\x16\x03\x01\x02\x00\x01\x00", 7});
  CHECK(status_of(client.message()) == 400);
  CHECK(client.gone());
}

// --- the end

TEST_CASE("client connection: FIN without a request ends it") {
  ProxyRig rig;
  Peer client = rig.client();
  SUBCASE("fresh") {}
  SUBCASE("kept") {
    client.send(get());
    Peer at = rig.origin.accept();
    answer(at);
    client.message();
  }
  SUBCASE("in the middle of a head") {
    client.send("GET / HT");
  }
  SUBCASE("after empty lines") {
    client.send("\r\n\r\n");
  }
  rig.turns();
  client.send_end();
  client.gone();
  CHECK_FALSE(client.was_reset());
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
}

TEST_CASE("client connection: FIN behind pipelined requests waits for all their answers") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/1") + get("/2") + unknown);
  client.send_end();
  Peer at = rig.origin.accept();
  answer(at, "one");
  answer(at, "two");
  CHECK(client.message().ends_with("one"));
  CHECK(client.message().ends_with("two"));
  CHECK(status_of(client.message()) == 404);
  CHECK(client.gone());
  CHECK_FALSE(client.was_reset());
}

TEST_CASE("client connection: a client's Connection: close is kept") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/", "Connection: close\r\n"));
  Peer at = rig.origin.accept();
  answer(at, "last");
  const std::string all = client.rest();
  CHECK(all.ends_with("last"));
  CHECK(field_of(all, "Connection") == "close");
}

TEST_CASE("client connection: the target's Connection: close is the target's alone") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok("ok", "Connection: close\r\n"));
  CHECK(field_of(client.message(), "Connection") == "-");
  CHECK(at.gone());
  client.send(get());
  Peer next = rig.origin.accept();
  answer(next);
  CHECK(status_of(client.message()) == 200);
}

// --- TLS and HTTP/2

TEST_CASE("client connection: ALPN chooses between HTTP/2 and HTTP/1.1") {
  ProxyRig rig;
  for (const std::string alpn : {"http/1.1", ""}) {
    auto transport = rig.memory_client(alpn);
    struct Plain final : io::Transport::Owner {
      void on_bytes(base::Bytes in) override { text += in.text(); }
      void on_end() override {}
      void on_writable() override {}
      void on_closed(const Error&) override {}
      std::string text;
    } client;
    transport->start(client);
    base::Chain out(rig.worker().loop().slabs());
    out.append(unknown);
    transport->write(out);
    rig.until([&] { return client.text.find("\r\n\r\n") != std::string::npos; });
    CHECK(status_of(client.text) == 404);
  }
  H2Client client(rig);
  client.send(h2::get(1));
  Peer at = rig.origin.accept();
  answer(at);
  CHECK(client.response(1).body == "ok");
  CHECK(rig.counters().h2.connections.value() == 1);
  CHECK(rig.counters().h2.streams.value() == 1);
}

TEST_CASE("client connection: a handshake that is not done in time is closed") {
  ProxyRig rig([](Config& config) {
    config.timeouts.tls_handshake = Millis{80};
    config.timeouts.client_header = Millis{10'000};
  });
  H2Client client(rig, rig.memory_client("h2", 256 << 10, false));
  CHECK(client.ends());
  CHECK(rig.counters().handshake_timeouts.value() == 1);
  CHECK(rig.counters().connections_open.value() == 0);
}

TEST_CASE("client connection: one that leaves during the handshake is forgotten") {
  ProxyRig rig;
  SUBCASE("by itself") {
    H2Client client(rig, rig.memory_client("h2", 256 << 10, false));
    rig.turns();
    client.close();
    rig.until([&] { return rig.counters().connections_open.value() == 0; });
  }
  SUBCASE("with the worker") {
    H2Client client(rig, rig.memory_client("h2", 256 << 10, false));
    rig.worker().stop();
    rig.until([&] { return rig.counters().connections_open.value() == 0; });
  }
}

TEST_CASE("client connection, h2: a client without a request is closed after its time") {
  ProxyRig rig([](Config& config) {
    config.timeouts.client_idle = Millis{80};
    config.timeouts.client_header = Millis{80};
  });
  SUBCASE("that has sent no preface") {
    auto transport = rig.memory_client("h2");
    struct Silent final : io::Transport::Owner {
      void on_bytes(base::Bytes) override {}
      void on_end() override { ended = true; }
      void on_writable() override {}
      void on_closed(const Error&) override { ended = true; }
      bool ended = false;
    } client;
    transport->start(client);
    rig.until([&] { return client.ended; });
  }
  SUBCASE("that is idle") {
    H2Client client(rig);
    CHECK(client.ends());
    CHECK_FALSE(client.was_reset);
  }
  SUBCASE("that has begun a header block") {
    H2Client client(rig);
    client.send(h2::request(1, "GET", "/", {}, h2::end_stream));
    CHECK(client.ends());
    CHECK(client.in.went_away);
  }
}

TEST_CASE("client connection, h2: many requests at once, to one target or several") {
  ProxyRig rig;
  H2Client client(rig);
  constexpr std::uint32_t count = 128;
  std::string all;
  for (std::uint32_t i = 0; i < count; ++i) all += h2::get(2 * i + 1, "/" + std::to_string(i));
  client.send(all);
  std::vector<Peer> targets;
  std::vector<std::string> asked;
  for (std::uint32_t i = 0; i < count; ++i) {
    targets.push_back(rig.origin.accept());
    const std::string request = targets.back().head();
    asked.push_back(request.substr(5, request.find(' ', 5) - 5));
  }
  CHECK(rig.counters().exchanges_open.value() == count);
  // In any order.
  for (std::size_t i = count; i-- > 0;) targets[i].send(ok("answer " + asked[i]));
  for (std::uint32_t i = 0; i < count; ++i) {
    CHECK(client.response(2 * i + 1).body == "answer " + std::to_string(i));
  }
  CHECK(rig.counters().exchanges_open.value() == 0);
  // The connections are kept, and taken again.
  client.send(h2::get(301));
  rig.turns();
  CHECK(rig.origin.nobody_comes());
}

TEST_CASE("client connection, h2: as many requests at once as limits.http2_streams says") {
  ProxyRig rig([](Config& config) { config.limits.http2_streams = 2; });
  H2Client client(rig);
  client.send(h2::get(1) + h2::get(3));
  rig.until([&] { return rig.counters().exchanges_open.value() == 2; });
  client.send(h2::get(5));  // it has been told
  CHECK(client.ends());
}

TEST_CASE("client connection, h2: a reset ends its exchange and no other") {
  ProxyRig rig;
  H2Client client(rig);
  client.send(h2::get(1, "/1"));
  Peer first = rig.origin.accept();
  first.head();
  client.send(h2::get(3, "/3"));
  Peer second = rig.origin.accept();
  second.head();
  SUBCASE("before the response") {}
  SUBCASE("within the response") {
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    rig.until([&] { return client.in.messages[1].body == "half"; });
  }
  client.send(h2::reset(1, 8));
  CHECK(first.gone());
  second.send(ok("three"));
  CHECK(client.response(3).body == "three");
  CHECK(rig.counters().client_aborts.value() == 1);
  CHECK(rig.counters().exchanges_open.value() == 0);
}

TEST_CASE("client connection, h2: small requests are answered beside a large download") {
  ProxyRig rig;
  H2Client client(rig, 64 << 10);
  client.send(h2::window(0, 512 << 20) + h2::setting(4, 512 << 20));
  client.send(h2::get(1, "/large"));
  Peer large = rig.origin.accept();
  large.head();
  constexpr std::size_t size = 100 << 20;
  const std::string part = std::string(1 << 20, 'x');
  large.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
  std::size_t sent = 0;
  std::size_t got = 0;
  const auto pump = [&] {
    if (sent < size) {
      sent += large.send_some(std::string_view{part}.substr(0, std::min(part.size(), size - sent)));
    }
    std::string& body = client.in.messages[1].body;
    got += std::exchange(body, {}).size();
  };
  std::uint32_t id = 3;
  std::optional<Peer> small;
  std::size_t most = 0;
  while (got < size) {
    rig.until([&, until = got + (4 << 20)] {
      pump();
      return got >= std::min(until, size);
    });
    if (got >= size) break;
    const std::size_t before = got;
    client.send(h2::get(id, "/small"));
    if (!small) small = rig.origin.accept();
    small->head();
    small->send(ok());
    rig.until([&] {
      pump();
      return client.in.messages[id].ended;
    });
    most = std::max(most, got - before);
    id += 2;
  }
  CHECK(id > 20);
  // What was on its way already: here, in the pipe, and in the turns of both.
  CHECK(most <= 3 << 20);
  CHECK(client.response(1).ended);
  CHECK(rig.worker().loop().slabs().allocated() < 8 << 20);
}

TEST_CASE("client connection, h2: a client that takes nothing is closed") {
  ProxyRig rig([](Config& config) { config.timeouts.client_write = Millis{100}; });
  H2Client client(rig, 16 << 10);
  client.stop_reading();
  client.send(h2::get(1));
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok(std::string(200'000, 'x')));
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
  CHECK(rig.counters().client_timeouts.value() == 1);
}

TEST_CASE("client connection, h2: a stream that is kept waiting is reset, others go on") {
  ProxyRig rig([](Config& config) { config.timeouts.client_write = Millis{100}; });
  H2Client client(rig, rig.memory_client("h2"));
  client.send(h2::window(0, 10 << 20) + h2::get(1));
  Peer at = rig.origin.accept();
  at.head();
  // Far more than the window, so that the target waits, too.
  const std::string body(30 << 20, 'x');
  at.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
  std::size_t sent = 0;
  rig.until([&] {
    const std::string_view rest = std::string_view{body}.substr(sent);
    const ssize_t count = ::send(at.fd().get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<std::size_t>(count);
    return client.in.messages[1].reset;
  });
  CHECK(client.in.messages[1].body.size() == 65'535);
  CHECK(client.in.messages[1].code == 8);
  CHECK(rig.worker().loop().slabs().allocated() < 4 << 20);
  client.send(h2::get(3));
  Peer next = rig.origin.accept();
  answer(next);
  CHECK(client.response(3).body == "ok");
  CHECK(rig.counters().exchanges_open.value() == 0);
}

TEST_CASE("client connection, h2: a connection whose window stays closed is ended") {
  ProxyRig rig([](Config& config) { config.timeouts.client_write = Millis{100}; });
  H2Client client(rig, rig.memory_client("h2"));
  client.send(h2::setting(4, 1 << 20) + h2::get(1));
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok(std::string(100'000, 'x')));
  CHECK(client.ends());
  CHECK(client.in.goaway_code == 11);
  CHECK(rig.counters().h2.abuse.value() == 1);
  rig.until([&] { return rig.counters().exchanges_open.value() == 0; });
}

TEST_CASE("client connection, h2: content waits at the client while the target takes nothing") {
  ProxyRig rig;
  H2Client client(rig);
  client.send(h2::request(1, "POST", "/", {}, h2::end_headers));
  Peer at = rig.origin.accept();
  at.head();
  at.stop_reading();
  // All that the windows let pass; the target's socket takes some of it.
  const std::string part(16384, 'x');
  std::size_t credit = 256 << 10;
  std::size_t sent = 0;
  const auto fill = [&] {
    const std::string lines = client.in.lines();
    constexpr std::string_view mark = "WINDOW_UPDATE 1 ";
    for (std::size_t i = lines.find(mark); i != std::string::npos; i = lines.find(mark, i + 1)) {
      credit += std::strtoul(lines.c_str() + i + mark.size(), nullptr, 10);
    }
    while (credit >= part.size() && client.sent() && sent < 24 << 20) {
      client.send(h2::frame(h2::data, h2::none, 1, part));
      credit -= part.size();
      sent += part.size();
    }
  };
  for (int i = 0; i < 300; ++i) {
    fill();
    rig.turns(1);
  }
  CHECK(sent < 16 << 20);
  CHECK(rig.worker().loop().slabs().allocated() < 4 << 20);
  CHECK_FALSE(client.in.went_away);
  // Another request is not held up.
  client.send(h2::get(3));
  Peer other = rig.origin.accept();
  answer(other);
  CHECK(client.response(3).body == "ok");
  at.read_on();
  rig.until([&] {
    fill();
    at.pump();
    return sent >= 24 << 20;
  });
  client.send(h2::frame(h2::data, h2::end_stream, 1));
  at.until("\r\n0\r\n\r\n");
  at.send(ok());
  CHECK(client.response(1).status == "200");
}

TEST_CASE("client connection, h2: after an early response the rest of the request is not wanted") {
  ProxyRig rig;
  H2Client client(rig);
  client.send(h2::request(1, "POST", "/", {{"content-length", "100000"}}, h2::end_headers) +
              h2::frame(h2::data, h2::none, 1, "begun"));
  Peer at = rig.origin.accept();
  at.until("begun");
  at.send(ok("enough"));
  rig.until([&] { return client.in.messages[1].ended; });
  CHECK_FALSE(client.in.messages[1].reset);
  rig.until([&] { return client.in.messages[1].reset; });
  CHECK(client.in.messages[1].body == "enough");
  CHECK(client.in.messages[1].code == 0);
  CHECK(at.gone());
  CHECK(rig.counters().exchanges_open.value() == 0);
  client.send(h2::get(3));
  Peer next = rig.origin.accept();
  answer(next);
  CHECK(client.response(3).body == "ok");
}

TEST_CASE("client connection, h2: the rest of a request may come soon after its response") {
  ProxyRig rig;
  H2Client client(rig);
  client.send(h2::request(1, "POST", "/", {{"content-length", "9"}}, h2::end_headers) +
              h2::frame(h2::data, h2::none, 1, "begun"));
  Peer at = rig.origin.accept();
  at.until("begun");
  at.send(ok("enough"));
  rig.until([&] { return client.in.messages[1].ended; });
  client.send(h2::frame(h2::data, h2::end_stream, 1, "rest"));
  at.until("rest");
  rig.until([&] { return rig.counters().exchanges_open.value() == 0; });
  client.send(h2::get(3));
  answer(at);
  CHECK(client.response(3).body == "ok");
  CHECK_FALSE(client.in.messages[1].reset);
}

TEST_CASE("client connection, h2: after so many requests GOAWAY comes, and then the end") {
  ProxyRig rig([](Config& config) { config.limits.requests_per_connection = 3; });
  H2Client client(rig);
  client.send(h2::get(1) + h2::get(3));
  Peer first = rig.origin.accept();
  Peer second = rig.origin.accept();
  answer(first);
  answer(second);
  client.response(1);
  client.response(3);
  CHECK_FALSE(client.in.went_away);
  client.send(h2::get(5));
  answer(first.unread().empty() ? second : first);
  CHECK(client.response(5).body == "ok");
  CHECK(client.in.went_away);
  CHECK(client.in.goaway_code == 0);
}

TEST_CASE("client connection, h2: draining says GOAWAY, serves what runs, and ends") {
  ProxyRig rig;
  H2Client busy(rig);
  H2Client idle(rig);
  busy.send(h2::get(1));
  Peer at = rig.origin.accept();
  at.head();
  rig.turns();
  bool drained = false;
  rig.worker().drain([&] { drained = true; });
  rig.until([&] { return busy.in.went_away && idle.in.went_away; });
  CHECK(busy.in.goaway_code == 0);
  // What was on its way is still served.
  idle.send(h2::get(1));
  Peer next = rig.origin.accept();
  answer(next);
  CHECK(idle.response(1).body == "ok");
  at.send(ok());
  CHECK(busy.response(1).body == "ok");
  CHECK(busy.ends());
  CHECK(idle.ends());
  CHECK_FALSE(busy.was_reset);
  rig.until([&] { return drained; });
}

TEST_CASE(
    "client connection, h2: over the limit of connections requests are told 503, and then "
    "it ends") {
  ProxyRig rig([](Config& config) { config.limits.connections = 1; });
  H2Client inside(rig);
  H2Client surplus(rig);
  surplus.send(h2::get(1));
  CHECK(surplus.response(1).status == "503");
  CHECK(surplus.ends());
  CHECK(surplus.in.went_away);
  inside.send(h2::get(1));
  Peer at = rig.origin.accept();
  answer(at);
  CHECK(inside.response(1).status == "200");
}

TEST_CASE("client connection, h2: CONNECT and content that is too much end their stream alone") {
  ProxyRig rig([](Config& config) { config.limits.body_size = 1000; });
  H2Client client(rig);
  client.send(h2::frame(h2::headers, h2::end_headers, 1,
                        h2::block({{":method", "CONNECT"}, {":authority", "a.test:443"}})));
  CHECK(client.response(1).status == "501");
  client.send(h2::request(3, "POST", "/", {{"content-length", "2000"}}, h2::end_headers));
  CHECK(client.response(3).status == "413");
  client.send(h2::request(5, "POST", "/", {}, h2::end_headers) +
              h2::frame(h2::data, h2::none, 5, std::string(2000, 'x')));
  CHECK(client.response(5).status == "413");
  client.send(h2::get(7));
  Peer at = rig.origin.accept();
  if (at.until("\r\n\r\n").starts_with("POST")) {
    CHECK(at.gone());
    Peer next = rig.origin.accept();
    answer(next);
  } else {
    at.send(ok());
  }
  CHECK(client.response(7).body == "ok");
  CHECK_FALSE(client.in.went_away);
  for (const std::uint32_t id : {1U, 3U, 5U}) CHECK(client.in.messages[id].code == 0);
}

TEST_CASE("client connection, h2: abuse ends the connection and all its exchanges") {
  ProxyRig rig;
  H2Client client(rig);
  client.send(h2::get(1));
  Peer at = rig.origin.accept();
  at.head();
  std::string flood;
  for (int i = 0; i < 1100; ++i) flood += h2::frame(h2::ping, h2::none, 0, "12345678");
  client.send(flood);
  CHECK(client.ends());
  CHECK(client.in.goaway_code == 11);
  CHECK(at.gone());
  CHECK(rig.counters().h2.abuse.value() == 1);
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
}

TEST_CASE("client connection, h2: clients come and go in the middle of everything") {
  ProxyRig rig;
  for (int round = 0; round < 20; ++round) {
    H2Client client(rig);
    std::string all;
    for (std::uint32_t id = 1; id < 60; id += 2) {
      all += id % 4 == 1 ? h2::get(id) : h2::request(id, "POST", "/", {}, h2::end_headers);
      if (id % 6 == 1) all += h2::reset(id, 8);
    }
    client.send(all);
    rig.turns(round % 5);
    if (round % 3 == 0) client.send_end();
    rig.turns(round % 3);
  }
  rig.until([&] {
    return rig.counters().connections_open.value() == 0 &&
           rig.counters().exchanges_open.value() == 0;
  });
}
