#include "proxy/client_connection.h"

#include "support/proxy_rig.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

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
