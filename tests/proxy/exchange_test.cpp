#include "proxy/exchange.h"

#include "lookup/cache_tier.h"
#include "support/any_client.h"
#include "support/count_allocations.h"
#include "support/proxy_rig.h"
#include "support/tiers.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>
#include <uv.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

// Answers one request on `at` and expects the answer at `client`.
void serve(Peer& client, Peer& at, std::string_view body = "ok") {
  at.message();
  at.send(ok(body));
  const std::string answer = client.message();
  CHECK(status_of(answer) == 200);
  CHECK(answer.ends_with(body));
}

// A client whose first request was answered, and the connection to the target that is idle now.
struct Warm {
  explicit Warm(ProxyRig& rig) : client(rig.client()), origin(begin(rig, client)) {
    serve(client, origin);
  }
  static Peer begin(ProxyRig& rig, Peer& client) {
    client.send(get());
    return rig.origin.accept();
  }
  Peer client;
  Peer origin;
};

std::string request_to(std::string_view host, std::string_view method = "GET") {
  return std::string(method) + " / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n";
}

Host two_targets(const Origin& first, const Origin& second) {
  return {.host = "two.test",
          .ip = "127.0.0.1",
          .target_port = first.port(),
          .targets = {second.target()}};
}

std::string some_bytes(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (char& c : text)
    c = static_cast<char>('a' + (state = state * 1103515245 + 12345) / 65536 % 26);
  return text;
}

}  // namespace

// --- the way through

TEST_CASE("exchange: a request goes to the target and its response comes back") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/a?b", "X-A: 1\r\n"));
  Peer at = rig.origin.accept();
  const std::string request = at.head();
  CHECK(request.starts_with("GET /a?b HTTP/1.1\r\nHost: a.test\r\n"));
  CHECK(field_of(request, "X-A") == "1");
  CHECK(field_of(request, "X-Forwarded-For") == "127.0.0.1");
  CHECK(field_of(request, "Via") == "1.1 proxycore");
  at.send(ok("hello", "X-B: 2\r\n"));
  const std::string response = client.message();
  CHECK(status_of(response) == 200);
  CHECK(field_of(response, "X-B") == "2");
  CHECK(field_of(response, "X-Request-Id") == field_of(request, "X-Request-Id"));
  CHECK(response.ends_with("hello"));
}

TEST_CASE("exchange: both connections are kept for the next request") {
  ProxyRig rig;
  Warm warm(rig);
  for (int i = 0; i < 3; ++i) {
    warm.client.send(get());
    serve(warm.client, warm.origin);
  }
  CHECK(rig.origin.nobody_comes());
  CHECK(rig.counters().pool.reuses.value() == 3);
  CHECK(rig.counters().requests.value() == 4);
}

TEST_CASE("exchange: content passes both ways as it comes") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nfirst");
  Peer at = rig.origin.accept();
  at.until("first");
  client.send("12345");
  at.until("12345");
  at.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  client.until("hello");
  at.send("0\r\n\r\n");
  client.until("0\r\n\r\n");
  client.send(get());
  serve(client, at);
}

TEST_CASE("exchange: trailers pass both ways (RFC 9110 §6.5)") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(
      "POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
      "1\r\na\r\n0\r\nHost: b.test\r\nX-Sum: 7\r\n\r\n");
  Peer at = rig.origin.accept();
  const std::string request = at.until("X-Sum: 7\r\n\r\n");
  CHECK(request.find("b.test") == std::string::npos);
  at.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-End: 1\r\n\r\n");
  client.until("0\r\nX-End: 1\r\n\r\n");
}

TEST_CASE("exchange: HEAD, 204 and 304 end with their head (RFC 9112 §6.3)") {
  ProxyRig rig;
  Warm warm(rig);
  const auto answer = [&](std::string_view request, std::string_view response) {
    warm.client.send(request);
    warm.origin.head();
    warm.origin.send(response);
    return warm.client.head();
  };
  const std::string head = answer("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
                                  "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  CHECK(field_of(head, "Content-Length") == "1000");
  CHECK(status_of(answer(get(), "HTTP/1.1 204 No Content\r\n\r\n")) == 204);
  CHECK(status_of(answer(get(), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")) == 304);
  warm.client.send(get());
  serve(warm.client, warm.origin);
}

TEST_CASE("exchange: a target's name is sent as Host where the host wants it") {
  ProxyRig rig;
  rig.add_host(
      {.host = "b.test", .ip = "127.0.0.1", .target_port = rig.origin.port(), .pass_host = false});
  Peer client = rig.client();
  client.send(request_to("b.test"));
  Peer at = rig.origin.accept();
  const std::string request = at.head();
  CHECK(field_of(request, "Host") == rig.origin.target());
  CHECK(field_of(request, "X-Forwarded-Host") == "b.test");
}

TEST_CASE("exchange: what the proxy refuses never reaches a target") {
  ProxyRig rig;
  const auto status = [&](std::string_view request) {
    Peer client = rig.client();
    client.send(request);
    const std::string response = client.message();
    CHECK(field_of(response, "X-Request-Id") != "-");
    CHECK(field_of(response, "Date") != "-");
    CHECK(response.find("127.0.0.1") == std::string::npos);
    return status_of(response);
  };
  CHECK(status(request_to("unknown.test")) == 404);
  CHECK(status(request_to("-.test!")) == 400);
  CHECK(status("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n") == 501);
  CHECK(status(request_to("a.test", "TRACE")) == 405);
  std::string loop;
  for (int i = 0; i < 8; ++i) loop += "Via: 1.1 proxycore\r\n";
  CHECK(status(get("/", loop)) == 508);
  CHECK(status("GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n") == 400);
  CHECK(status("GET / HTTP/2.0\r\nHost: a.test\r\n\r\n") == 505);
  CHECK(rig.origin.nobody_comes());
}

TEST_CASE("exchange: OPTIONS with Max-Forwards: 0 is answered here (RFC 9110 §7.6.2)") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n");
  const std::string response = client.head();
  CHECK(status_of(response) == 204);
  CHECK(field_of(response, "Allow") != "-");
  CHECK(rig.origin.nobody_comes());
  client.send("OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 3\r\n\r\n");
  Peer at = rig.origin.accept();
  CHECK(field_of(at.head(), "Max-Forwards") == "2");
}

TEST_CASE("exchange: a trusted proxy's request id is kept if it is one and only one") {
  ProxyRig rig([](Config& config) { config.forwarding.trusted = {"127.0.0.1"}; });
  Warm warm(rig);
  const auto id = [&](std::string_view lines) {
    warm.client.send(get("/", lines));
    const std::string request = warm.origin.head();
    warm.origin.send(ok());
    CHECK(field_of(warm.client.message(), "X-Request-Id") == field_of(request, "X-Request-Id"));
    return field_of(request, "X-Request-Id");
  };
  CHECK(id("X-Request-Id: abc-123_456.7890\r\n") == "abc-123_456.7890");
  const std::string ours = id("");
  CHECK(ours.size() == 24);
  CHECK(id("") != ours);
  CHECK(id("X-Request-Id: a b\r\n").size() == 24);
  CHECK(id("X-Request-Id: \r\n").size() == 24);
  CHECK(id("X-Request-Id: " + std::string(129, 'a') + "\r\n").size() == 24);
  CHECK(id("X-Request-Id: one\r\nX-Request-Id: two\r\n").size() == 24);
}

// --- HTTP/1.1 and HTTP/2 clients alike

TEST_CASE("exchange: what a target sees and a client gets is the same over either version") {
  for (const bool http2 : {false, true}) {
    CAPTURE(http2);
    ProxyRig rig;
    AnyClient client(rig, http2);
    client.ask({.target = "/a?b", .fields = {{"X-A", "1"}, {"Cookie", "a=b"}}});
    Peer at = rig.origin.accept();
    std::string request = at.message();
    CHECK(request.starts_with("GET /a?b HTTP/1.1\r\nHost: a.test\r\n"));
    CHECK(request.find("1\r\n") != std::string::npos);
    CHECK(field_of(request, "X-Forwarded-For") == "127.0.0.1");
    CHECK(field_of(request, "X-Forwarded-Proto") == (http2 ? "https" : "http"));
    CHECK(field_of(request, "Via") == (http2 ? "2 proxycore" : "1.1 proxycore"));
    CHECK(field_of(request, "Transfer-Encoding") == "-");
    at.send(ok("hello", "X-B: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"));
    AnyAnswer answer = client.answer();
    CHECK(answer.status == 200);
    CHECK(answer.body == "hello");
    CHECK(answer.field("x-b") == "2");
    CHECK(answer.field("x-hop") == "-");
    CHECK(answer.field("keep-alive") == "-");
    CHECK(answer.field("content-length") == "5");
    CHECK(answer.field("x-request-id") == field_of(request, "X-Request-Id"));

    const std::string body = some_bytes(100'000);
    client.ask({.method = "POST", .body = body});
    request = at.message();
    CHECK(field_of(request, "Content-Length") == "100000");
    CHECK(request.ends_with(body));
    at.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n");
    at.send("2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n");
    answer = client.answer();
    CHECK(answer.status == 201);
    CHECK(answer.body == "ok");
    CHECK(answer.field("x-sum") == "1");
    CHECK(answer.field("transfer-encoding") == (http2 ? "-" : "chunked"));

    client.ask({.method = "PUT", .body = "unknown", .length = false});
    request = at.until("0\r\n\r\n");
    CHECK(field_of(request, "Transfer-Encoding") == "chunked");
    CHECK(request.find("unknown") != std::string::npos);
    at.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(body));
    answer = client.answer();
    CHECK(client.interim == 1);
    CHECK(answer.body == body);

    for (const auto& [method, response, status, length] :
         {std::tuple{"HEAD", "200 OK\r\nContent-Length: 1000", 200, "1000"},
          std::tuple{"GET", "204 No Content", 204, "-"},
          std::tuple{"GET", "304 Not Modified\r\nContent-Length: 5", 304, "5"}}) {
      client.ask({.method = method});
      at.head();
      at.send("HTTP/1.1 " + std::string(response) + "\r\n\r\n");
      answer = client.answer();
      CHECK(answer.status == status);
      CHECK(answer.field("content-length") == length);
      CHECK(answer.body.empty());
    }
    CHECK(rig.origin.nobody_comes());
    CHECK(rig.counters().pool.reuses.value() == 5);
    CHECK(rig.counters().exchanges_open.value() == 0);
  }
}

TEST_CASE("exchange: what the proxy answers itself, over either version") {
  for (const bool http2 : {false, true}) {
    CAPTURE(http2);
    ProxyRig rig([](Config& config) {
      config.limits.body_size = 1000;
      config.limits.header_size = 4096;
      config.limits.target_size = 100;
    });
    const auto status = [&](const AnyClient::Ask& ask) {
      AnyClient client(rig, http2);
      client.ask(ask);
      const AnyAnswer answer = client.answer();
      CHECK(answer.whole);
      CHECK(answer.field("x-request-id") != "-");
      return answer.status;
    };
    CHECK(status({.host = "unknown.test"}) == 404);
    CHECK(status({.host = "-.test!"}) == 400);
    CHECK(status({.method = "TRACE"}) == 405);
    CHECK(status({.target = "/" + std::string(200, 'x')}) == 414);
    const std::string large(5000, 'x');
    CHECK(status({.fields = {{"X", large}}}) == 431);
    CHECK(status({.method = "POST", .body = large}) == 413);
    CHECK(rig.origin.nobody_comes());
    CHECK(rig.counters().over_body_limit.value() == 1);
    CHECK(rig.counters().over_head_limit.value() == 1);
    CHECK(rig.counters().over_target_limit.value() == 1);
    rig.origin.shut();
    CHECK(status({}) == 502);
  }
}

TEST_CASE("exchange: a target that fails, over either version") {
  for (const bool http2 : {false, true}) {
    CAPTURE(http2);
    ProxyRig rig([](Config& config) { config.timeouts.origin_first_byte = Millis{150}; });
    AnyClient client(rig, http2);
    // A kept connection that breaks is tried again.
    client.ask({});
    Peer first = rig.origin.accept();
    first.head();
    first.send(ok());
    CHECK(client.answer().status == 200);
    client.ask({});
    first.head();
    first.close();
    Peer second = rig.origin.accept();
    second.head();
    second.send(ok("again"));
    CHECK(client.answer().body == "again");
    // One that says nothing is given up.
    client.ask({});
    second.head();
    CHECK(client.answer().status == 504);
    CHECK(second.gone());
    // What is not HTTP is not passed on.
    client.ask({.method = "POST", .body = "x"});
    Peer third = rig.origin.accept();
    third.message();
    third.send("nonsense\r\n\r\n");
    CHECK(client.answer().status == 502);
    // A response that is cut is seen to be.
    client.ask({});
    Peer fourth = rig.origin.accept();
    fourth.head();
    fourth.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    rig.turns();
    fourth.close();
    const AnyAnswer cut = client.answer();
    CHECK(cut.status == 200);
    CHECK(cut.body == "half");
    CHECK_FALSE(cut.whole);
  }
}

TEST_CASE("exchange: a handler answers over either version") {
  class Echo final : public Handler {
    void handle(Request request, Responder responder) override {
      responder.respond({.status = 200,
                         .fields = {{"X-Tls", request.tls ? "yes" : "no"}},
                         .body = request.method + " " + request.body});
    }
  } echo;
  for (const bool http2 : {false, true}) {
    CAPTURE(http2);
    ProxyRig rig;
    rig.mount("local.test", echo);
    AnyClient client(rig, http2);
    client.ask({.method = "POST", .host = "local.test", .body = "content"});
    const AnyAnswer answer = client.answer();
    CHECK(answer.body == "POST content");
    CHECK(answer.field("x-tls") == (http2 ? "yes" : "no"));
  }
}

// --- memory

namespace {

// Reads at least `size` bytes, turning the loop, without touching the heap.
void read_bytes(uv_loop_t& loop, const Fd& from, std::size_t size) {
  static char buffer[1 << 16];
  std::size_t got = 0;
  for (int turns = 0; got < size && turns < 1'000'000; ++turns) {
    uv_run(&loop, UV_RUN_NOWAIT);
    const ssize_t count = ::recv(from.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0) got += static_cast<std::size_t>(count);
  }
  if (got < size) FAIL("the bytes do not come");
}

void send_bytes(const Fd& to, std::string_view text) {
  if (::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size())) {
    FAIL("the kernel does not take it at once");
  }
}

// Allocations of `count` exchanges on warm connections. How the kernel cuts the bytes decides how
// many slabs are in use at once, so that the worker's supply may still grow by one, once: of three
// rounds the best counts, and whatever every exchange allocates is in all of them.
std::size_t allocations_of(ProxyRig& rig, const std::string& request, const std::string& response,
                           int count) {
  Warm warm(rig);
  warm.client.send(request);
  const std::size_t request_size = warm.origin.message().size();
  warm.origin.send(response);
  const std::size_t response_size = warm.client.message().size();
  uv_loop_t& loop = rig.worker().loop().uv();
  const auto exchange = [&] {
    send_bytes(warm.client.fd(), request);
    read_bytes(loop, warm.origin.fd(), request_size);
    send_bytes(warm.origin.fd(), response);
    read_bytes(loop, warm.client.fd(), response_size);
  };
  for (int i = 0; i < 100; ++i) exchange();
  std::size_t fewest = SIZE_MAX;
  for (int round = 0; round < 3; ++round) {
    const std::size_t before = allocations();
    for (int i = 0; i < count; ++i) exchange();
    fewest = std::min(fewest, allocations() - before);
  }
  return fewest;
}

const std::string_view browser =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://a.test/some/where\r\nConnection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n";

}  // namespace

TEST_CASE("exchange: a warm exchange on kept connections allocates nothing") {
  ProxyRig rig;
  SUBCASE("GET") {
    CHECK(allocations_of(rig, get(), ok(std::string(1024, 'x')), 1000) == 0);
  }
  SUBCASE("GET of a browser") {
    CHECK(allocations_of(rig, get("/some/where?with=a&query=1", browser),
                         ok(std::string(1024, 'x'),
                            "Content-Type: text/html\r\nServer: x\r\n"
                            "Cache-Control: max-age=60\r\nETag: \"1\"\r\n"),
                         1000) == 0);
  }
  SUBCASE("POST") {
    CHECK(allocations_of(rig, post(std::string(16 << 10, 'x')), ok(), 1000) == 0);
  }
  SUBCASE("64 KiB") {
    CHECK(allocations_of(rig, get(), ok(std::string(64 << 10, 'x')), 300) == 0);
  }
  SUBCASE("a Via from before us, and a name in another case") {
    CHECK(allocations_of(rig, "GET / HTTP/1.1\r\nHost: A.TEST:80\r\nVia: 1.1 another.proxy\r\n\r\n",
                         ok(), 1000) == 0);
  }
}

namespace {

// A client of HTTP/2 that only counts the responses that have come to their end, so that it
// allocates nothing itself.
class Counting final : public io::Transport::Owner {
 public:
  std::size_t ended = 0;

 private:
  void on_bytes(base::Bytes in) override {
    for (std::size_t at = 0; at < in.size;) {
      if (have_ < head_.size()) {
        head_[have_++] = static_cast<unsigned char>(in.data[at++]);
        left_ = std::size_t{head_[0]} << 16U | std::size_t{head_[1]} << 8U | head_[2];
      } else {
        const std::size_t part = std::min(left_, in.size - at);
        left_ -= part;
        at += part;
      }
      if (have_ < head_.size() || left_ > 0) continue;
      have_ = 0;
      if (head_[3] == h2::data && (head_[4] & h2::end_stream) != 0) ++ended;
    }
  }
  void on_end() override {}
  void on_writable() override {}
  void on_closed(const Error& /*why*/) override { FAIL("the connection broke"); }

  std::array<unsigned char, 9> head_{};
  std::size_t have_ = 0;
  std::size_t left_ = 0;
};

}  // namespace

TEST_CASE("exchange: a warm exchange over HTTP/2 allocates nothing either") {
  ProxyRig rig;
  uv_loop_t& loop = rig.worker().loop().uv();
  Counting client;
  auto transport = rig.memory_client("h2");
  transport->start(client);
  base::Chain out(rig.worker().loop().slabs());
  const auto send = [&](std::string_view frames) {
    out.append(frames);
    transport->write(out);
  };
  send(h2::preface() + h2::frame(h2::settings, h2::ack, 0) + h2::window(0, 1 << 30));
  const h2::Lines browser_fields = {{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"},
                                    {"accept", "text/html,application/xhtml+xml,*/*;q=0.8"},
                                    {"cookie", "session=0123456789abcdef"},
                                    {"cookie", "theme=dark"},
                                    {"priority", "u=0, i"}};
  std::vector<std::string> requests;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    requests.push_back(h2::get(2 * i + 1, "/some/where?with=a&query=1", browser_fields));
  }
  const std::string response = ok(std::string(1024, 'x'), "Content-Type: text/html\r\n");
  send(requests[0]);
  Peer at = rig.origin.accept();
  const std::size_t request_size = at.message().size();
  at.send(response);
  const auto answered = [&](std::size_t count) {
    for (int turn = 0; client.ended < count && turn < 1'000'000; ++turn) {
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    if (client.ended < count) FAIL("the response does not come");
  };
  answered(1);
  std::size_t fewest = SIZE_MAX;
  for (std::size_t i = 1, before = 0; i < requests.size(); ++i) {
    if (i % 300 == 99) before = allocations();
    send(requests[i]);
    read_bytes(loop, at.fd(), request_size);
    send_bytes(at.fd(), response);
    answered(i + 1);
    if (i % 300 == 98 && i > 300) fewest = std::min(fewest, allocations() - before);
  }
  CHECK(fewest == 0);
}

TEST_CASE("exchange: behind a trusted proxy a warm exchange allocates nothing either") {
  ProxyRig rig([](Config& config) { config.forwarding.trusted = {"127.0.0.0/8"}; });
  CHECK(allocations_of(rig,
                       get("/",
                           "X-Forwarded-For: 192.0.2.1, 127.0.0.9\r\n"
                           "X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.1\r\n"
                           "X-Request-Id: 0123456789abcdef0123456789abcdef\r\n"),
                       ok(), 1000) == 0);
}

TEST_CASE("exchange: with an access log, memory is taken per batch of lines, not per request") {
  ProxyRig rig([](Config& config) { config.log.access = "file"; });
  const std::size_t count = allocations_of(rig, get("/", browser), ok(), 1000);
  CHECK(count <= 50);
}

TEST_CASE("exchange: an answer waits at the target while the client takes nothing") {
  ProxyRig rig;
  Peer client = rig.client();
  client.stop_reading();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  const std::string body = some_bytes(48 << 20);
  at.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
  std::size_t sent = 0;
  for (int idle = 0; idle < 20; ++idle) {
    const std::size_t more = at.send_some(std::string_view{body}.substr(sent));
    if (more > 0) idle = 0;
    sent += more;
    rig.turns(1);
  }
  CHECK(sent < body.size());
  CHECK(rig.worker().loop().slabs().allocated() < 2 << 20);
  client.read_on();
  std::string got;
  rig.until([&] {
    sent += at.send_some(std::string_view{body}.substr(sent));
    client.pump();
    return sent == body.size();
  });
  client.head();
  CHECK(client.take(body.size()) == body);
  client.send(get());
  serve(client, at);
}

TEST_CASE("exchange: content waits at the client while the target takes nothing") {
  ProxyRig rig;
  Peer client = rig.client();
  const std::string body = some_bytes(48 << 20);
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n");
  Peer at = rig.origin.accept();
  at.stop_reading();
  std::size_t sent = 0;
  for (int idle = 0; idle < 20; ++idle) {
    const std::size_t more = client.send_some(std::string_view{body}.substr(sent));
    if (more > 0) idle = 0;
    sent += more;
    rig.turns(1);
  }
  CHECK(sent < body.size());
  CHECK(rig.worker().loop().slabs().allocated() < 2 << 20);
  at.read_on();
  rig.until([&] {
    sent += client.send_some(std::string_view{body}.substr(sent));
    at.pump();
    return sent == body.size();
  });
  at.head();
  CHECK(at.take(body.size()) == body);
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
}

// --- interim responses and upgrades

TEST_CASE("exchange: interim responses pass, without what is for one hop (RFC 9110 §15.2)") {
  ProxyRig rig;
  Warm warm(rig);
  warm.client.send(post("", "Expect: 100-continue\r\n"));
  CHECK(field_of(warm.origin.head(), "Expect") == "100-continue");
  warm.origin.send(
      "HTTP/1.1 100 Continue\r\n\r\n"
      "HTTP/1.1 103 Early Hints\r\nConnection: X-Hop\r\nX-Hop: 1\r\nLink: </a.css>\r\n\r\n");
  CHECK(warm.client.head() == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(warm.client.head() == "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
  warm.origin.send(ok());
  CHECK(status_of(warm.client.message()) == 200);
}

TEST_CASE("exchange: interim responses without end are a bad target, and its end") {
  ProxyRig rig;
  Warm warm(rig);
  warm.client.send(get());
  warm.origin.head();
  std::string flood;
  for (int i = 0; i < 20; ++i) flood += "HTTP/1.1 103 Early Hints\r\n\r\n";
  warm.origin.send(flood + ok("too late"));
  int hints = 0;
  std::string head = warm.client.head();
  for (; status_of(head) == 103; head = warm.client.head()) ++hints;
  CHECK(hints == 16);
  CHECK(status_of(head) == 502);
  CHECK(warm.origin.gone());
}

TEST_CASE("exchange: an HTTP/1.0 client gets no interim response (RFC 9110 §15.2)") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
  Peer at = rig.origin.accept();
  at.head();
  at.send("HTTP/1.1 103 Early Hints\r\n\r\n" + ok());
  const std::string answer = client.rest();
  CHECK(status_of(answer) == 200);
  CHECK(field_of(answer, "Connection") == "close");
}

TEST_CASE("exchange: an HTTP/1.0 client gets content of unknown length until the end") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
  Peer at = rig.origin.accept();
  at.head();
  at.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n");
  const std::string answer = client.rest();
  CHECK(answer.ends_with("\r\n\r\nok"));
  CHECK(field_of(answer, "Transfer-Encoding") == "-");
}

TEST_CASE("exchange: an HTTP/1.0 client may keep its connection (RFC 9112 §9.3)") {
  ProxyRig rig;
  Peer client = rig.client();
  const std::string request = "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n";
  client.send(request);
  Peer at = rig.origin.accept();
  for (int i = 0; i < 2; ++i) {
    at.head();
    at.send(ok());
    CHECK(field_of(client.message(), "Connection") == "keep-alive");
    client.send(request);
  }
}

namespace {

constexpr std::string_view upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
constexpr std::string_view switching =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

struct Tunnel {
  explicit Tunnel(ProxyRig& rig) : client(rig.client()), origin(begin(rig, client)) {
    CHECK(field_of(origin.head(), "Upgrade") == "websocket");
    origin.send(switching);
    const std::string head = client.head();
    CHECK(status_of(head) == 101);
    CHECK(field_of(head, "Upgrade") == "websocket");
    CHECK(field_of(head, "Connection") == "upgrade");
  }
  static Peer begin(ProxyRig& rig, Peer& client) {
    client.send(get("/ws", upgrade));
    return rig.origin.accept();
  }
  Peer client;
  Peer origin;
};

}  // namespace

TEST_CASE("exchange: an upgraded connection carries bytes both ways") {
  ProxyRig rig;
  Tunnel tunnel(rig);
  CHECK(rig.counters().tunnels_open.value() == 1);
  for (int i = 0; i < 10; ++i) {
    tunnel.client.send("\x81\x05ping\n");
    CHECK(tunnel.origin.take(7) == "\x81\x05ping\n");
    tunnel.origin.send("GET / HTTP/1.1\r\n\r\n");
    CHECK(tunnel.client.head() == "GET / HTTP/1.1\r\n\r\n");
  }
  const std::string much = some_bytes(4 << 20);
  std::size_t sent = 0;
  rig.until([&] {
    sent += tunnel.client.send_some(std::string_view{much}.substr(sent));
    tunnel.origin.pump();
    return tunnel.origin.unread().size() == much.size();
  });
  CHECK(tunnel.origin.take(much.size()) == much);
  tunnel.client.close();
  CHECK(tunnel.origin.gone());
  tunnel.origin.close();
  rig.until([&] { return rig.counters().tunnels_open.value() == 0; });
}

TEST_CASE("exchange: bytes right behind a 101 belong to the tunnel") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/ws", upgrade));
  Peer at = rig.origin.accept();
  at.head();
  at.send(std::string(switching) + "hello");
  client.head();
  CHECK(client.take(5) == "hello");
}

TEST_CASE("exchange: each half of a tunnel ends on its own") {
  ProxyRig rig;
  SUBCASE("the client's first") {
    Tunnel tunnel(rig);
    tunnel.client.send("last words");
    tunnel.client.send_end();
    CHECK(tunnel.origin.rest() == "last words");
    tunnel.origin.send("and mine");
    CHECK(tunnel.client.take(8) == "and mine");
    tunnel.origin.close();
    CHECK(tunnel.client.gone());
    CHECK_FALSE(tunnel.client.was_reset());
  }
  SUBCASE("the target's first") {
    Tunnel tunnel(rig);
    tunnel.origin.send("last words");
    tunnel.origin.send_end();
    CHECK(tunnel.client.rest() == "last words");
    tunnel.client.send("and mine");
    CHECK(tunnel.origin.take(8) == "and mine");
    tunnel.client.close();
    CHECK(tunnel.origin.gone());
    CHECK_FALSE(tunnel.origin.was_reset());
  }
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
  CHECK(rig.counters().pool.open.value() == 0);
}

TEST_CASE("exchange: a tunnel that breaks on one side ends on the other") {
  ProxyRig rig;
  SUBCASE("the client's") {
    Tunnel tunnel(rig);
    tunnel.client.reset();
    CHECK(tunnel.origin.gone());
  }
  SUBCASE("the target's") {
    Tunnel tunnel(rig);
    tunnel.origin.reset();
    CHECK(tunnel.client.gone());
  }
}

TEST_CASE("exchange: a tunnel without bytes ends after its time") {
  ProxyRig rig([](Config& config) { config.timeouts.tunnel_idle = Millis{100}; });
  Tunnel tunnel(rig);
  CHECK(tunnel.client.gone());
  CHECK(tunnel.origin.gone());
}

TEST_CASE("exchange: bytes of either side keep a tunnel alive") {
  ProxyRig rig([](Config& config) { config.timeouts.tunnel_idle = Millis{400}; });
  Tunnel tunnel(rig);
  const std::int64_t begin = rig.worker().loop().now();
  int count = 0;
  while (rig.worker().loop().now() < begin + 1000) {
    (count % 2 == 0 ? tunnel.client : tunnel.origin).send("x");
    (count % 2 == 0 ? tunnel.origin : tunnel.client).take(1);
    ++count;
    rig.pass(Millis{50});
  }
  tunnel.client.send("still here");
  CHECK(tunnel.origin.take(10) == "still here");
}

TEST_CASE("exchange: a tunnel is held back by the side that takes nothing") {
  ProxyRig rig;
  Tunnel tunnel(rig);
  const std::string much = some_bytes(32 << 20);
  tunnel.client.stop_reading();
  std::size_t sent = 0;
  for (int idle = 0; idle < 20; ++idle) {
    const std::size_t more = tunnel.origin.send_some(std::string_view{much}.substr(sent));
    if (more > 0) idle = 0;
    sent += more;
    rig.turns(1);
  }
  CHECK(sent < much.size());
  CHECK(rig.worker().loop().slabs().allocated() < 2 << 20);
  // The other way is free.
  tunnel.client.send("hello");
  CHECK(tunnel.origin.take(5) == "hello");
  tunnel.client.read_on();
  rig.until([&] {
    sent += tunnel.origin.send_some(std::string_view{much}.substr(sent));
    tunnel.client.pump();
    return tunnel.client.unread().size() == much.size();
  });
  CHECK(tunnel.client.take(much.size()) == much);
}

TEST_CASE("exchange: an upgrade that the target does not grant is an ordinary request") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get("/ws", upgrade));
  Peer at = rig.origin.accept();
  serve(client, at);
  client.send(get());
  serve(client, at);
}

TEST_CASE("exchange: an upgrade that was not passed on cannot be granted") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(post("", "Connection: Upgrade\r\nUpgrade: h2c\r\n"));
  Peer at = rig.origin.accept();
  CHECK(field_of(at.head(), "Upgrade") == "-");
  at.send(std::string(switching) + "PRI * HTTP/2.0\r\n\r\n");
  CHECK(status_of(client.message()) == 502);
  CHECK(at.gone());
}

// --- early responses

TEST_CASE("exchange: after an early response the rest of the content still goes to the target") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345");
  Peer at = rig.origin.accept();
  at.until("12345");
  at.send(ok("early"));
  CHECK(client.message().ends_with("early"));
  client.send("67890" + get("/next"));
  CHECK(at.take(5) == "67890");
  CHECK(at.head().starts_with("GET /next "));
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
  CHECK(rig.origin.nobody_comes());
}

TEST_CASE("exchange: a target that answers early and closes costs the client nothing") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345");
  Peer at = rig.origin.accept();
  at.until("12345");
  SUBCASE("saying so") {
    at.send(ok("early", "Connection: close\r\n"));
    CHECK(client.message().ends_with("early"));
    CHECK(at.gone());
  }
  SUBCASE("by FIN") {
    at.send(ok("early"));
    at.close();
    CHECK(client.message().ends_with("early"));
  }
  SUBCASE("by reset") {
    at.send(ok("early"));
    CHECK(client.message().ends_with("early"));
    at.reset();
  }
  client.send("67890" + get("/next"));
  Peer next = rig.origin.accept();
  CHECK(next.head().starts_with("GET /next "));
  next.send(ok());
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("exchange: much content behind an answer is not read to its end") {
  ProxyRig rig;
  Peer client = rig.client();
  const std::size_t size = 16 << 20;
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + std::to_string(size) +
              "\r\n\r\n12345");
  Peer at = rig.origin.accept();
  at.until("12345");
  at.send(ok("early", "Connection: close\r\n"));
  CHECK(client.message().ends_with("early"));
  const std::string part(64 << 10, 'x');
  std::size_t sent = 0;
  rig.until([&] {
    const ssize_t count = ::send(client.fd().get(), part.data(), part.size(), MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<std::size_t>(count);
    client.pump();
    return (count < 0 && errno != EAGAIN) || sent > size;
  });
  CHECK(sent < size);
}

TEST_CASE("exchange: an early response streams while the content still comes") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
  Peer at = rig.origin.accept();
  at.head();
  at.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.head();
  for (int i = 0; i < 5; ++i) {
    client.send("4\r\nping\r\n");
    CHECK(at.take(9) == "4\r\nping\r\n");
    at.send("4\r\npong\r\n");
    CHECK(client.take(9) == "4\r\npong\r\n");
  }
  client.send("0\r\n\r\n");
  at.until("0\r\n\r\n");
  at.send("0\r\n\r\n");
  client.until("0\r\n\r\n");
  client.send(get());
  serve(client, at);
}

// --- retry (RFC 9110 §9.2.2)

namespace {

// How a target ends its connection.
enum class End { unseen, fin, reset };  // unseen: by FIN, before it read the request

}  // namespace

TEST_CASE("exchange: a request on a kept connection that just closed is sent again") {
  ProxyRig rig;
  Warm warm(rig);
  for (const std::string_view method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}) {
    for (const End end : {End::unseen, End::fin, End::reset}) {
      INFO(method, static_cast<int>(end));
      warm.client.send(request_to("a.test", method));
      if (end != End::unseen) warm.origin.head();
      end == End::reset ? warm.origin.reset() : warm.origin.close();
      Peer again = rig.origin.accept();
      CHECK(again.head().starts_with(std::string(method) + " / "));
      again.send(method == "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" : ok());
      CHECK(status_of(method == "HEAD" ? warm.client.head() : warm.client.message()) == 200);
      warm.origin = std::move(again);
    }
  }
}

TEST_CASE("exchange: a request that may not be repeated is not") {
  ProxyRig rig;
  Warm warm(rig);
  SUBCASE("not idempotent") {
    warm.client.send(post(""));
  }
  SUBCASE("an unknown method") {
    warm.client.send(request_to("a.test", "BREW"));
  }
  SUBCASE("its content went already") {
    warm.client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
  }
  warm.origin.message();
  warm.origin.close();
  CHECK(status_of(warm.client.message()) == 502);
  CHECK(rig.origin.nobody_comes());
  // The client's connection lives on.
  warm.client.send(get());
  Peer next = rig.origin.accept();
  serve(warm.client, next);
}

TEST_CASE("exchange: trailers that went to a target are content that went") {
  ProxyRig rig;
  Warm warm(rig);
  warm.client.send(
      "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 7\r\n\r\n");
  warm.origin.until("X-Sum: 7\r\n\r\n");
  warm.origin.close();
  CHECK(status_of(warm.client.message()) == 502);
}

TEST_CASE("exchange: content that has not gone yet is no hindrance to a retry") {
  ProxyRig rig;
  Warm warm(rig);
  warm.client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n");
  warm.origin.head();
  warm.origin.close();
  Peer again = rig.origin.accept();
  again.head();
  warm.client.send("abc");
  CHECK(again.take(3) == "abc");
  again.send(ok());
  CHECK(status_of(warm.client.message()) == 200);
}

TEST_CASE("exchange: when several kept connections close at once, a fresh one is tried") {
  ProxyRig rig;
  Peer one = rig.client();
  Peer two = rig.client();
  one.send(get());
  Peer first = rig.origin.accept();
  two.send(get());
  Peer second = rig.origin.accept();
  serve(one, first);
  serve(two, second);
  // All three are ready in the same turn: the request first, then both ends.
  one.send(get());
  second.close();
  first.close();
  Peer fresh = rig.origin.accept();
  serve(one, fresh);
}

TEST_CASE("exchange: a kept connection that closed does not use up the second target") {
  ProxyRig rig;
  Origin other(rig);
  rig.add_host(two_targets(rig.origin, other));
  Peer client = rig.client();
  client.send(request_to("two.test"));
  Peer first = rig.origin.accept();
  serve(client, first);
  client.send(request_to("two.test"));
  Peer second = other.accept();
  serve(client, second);
  // The first target dies: its kept connection closes, and it refuses new ones.
  client.send(request_to("two.test"));
  first.close();
  rig.origin.shut();
  Peer third = other.accept();
  serve(client, third);
  for (int i = 0; i < 4; ++i) {
    client.send(request_to("two.test"));
    serve(client, third);
  }
}

TEST_CASE("exchange: a fresh connection that breaks is tried once more, at another target") {
  ProxyRig rig;
  Origin other(rig);
  rig.add_host(two_targets(rig.origin, other));
  Peer client = rig.client();
  client.send(request_to("two.test"));
  Peer first = rig.origin.accept();
  first.head();
  first.reset();
  Peer second = other.accept();
  second.head();
  SUBCASE("with success") {
    second.send(ok());
    CHECK(status_of(client.message()) == 200);
  }
  SUBCASE("and no more") {
    second.reset();
    CHECK(status_of(client.message()) == 502);
    CHECK(rig.origin.nobody_comes());
    CHECK(other.nobody_comes());
  }
}

TEST_CASE("exchange: what could not be sent goes to the other target, whatever it is") {
  ProxyRig rig;
  Origin other(rig);
  rig.add_host(two_targets(rig.origin, other));
  rig.origin.shut();
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: two.test\r\nContent-Length: 5\r\n\r\nhello");
  Peer at = other.accept();
  CHECK(at.message().ends_with("hello"));
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
  CHECK(rig.counters().retries.value() == 1);
}

TEST_CASE("exchange: a dead target is 502, and rests after some failures") {
  ProxyRig rig;
  Origin other(rig);
  rig.origin.shut();
  Peer client = rig.client();
  client.send(get());
  CHECK(status_of(client.message()) == 502);
  rig.add_host(two_targets(rig.origin, other));
  client.send(request_to("two.test"));
  Peer at = other.accept();
  serve(client, at);
  for (int i = 0; i < 8; ++i) {
    client.send(request_to("two.test"));
    serve(client, at);
  }
  CHECK(rig.counters().pool.connect_failures.value() == 3);  // origins.failures
}

TEST_CASE("exchange: after an interim response nothing is repeated") {
  ProxyRig rig;
  Warm warm(rig);
  warm.client.send(get());
  warm.origin.head();
  warm.origin.send("HTTP/1.1 103 Early Hints\r\n\r\n");
  CHECK(status_of(warm.client.head()) == 103);
  warm.origin.close();
  CHECK(status_of(warm.client.message()) == 502);
}

// --- what breaks

TEST_CASE("exchange: a target that breaks off before its head is complete is 502") {
  ProxyRig rig;
  for (const std::string_view begun : {"", "H", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\nX: y\r\n"}) {
    for (const End end : {End::fin, End::reset}) {
      INFO(begun, static_cast<int>(end));
      Peer client = rig.client();
      client.send(post("x"));
      Peer at = rig.origin.accept();
      at.message();
      at.send(begun);
      end == End::reset ? at.reset() : at.close();
      CHECK(status_of(client.message()) == 502);
    }
  }
}

TEST_CASE("exchange: a response that is cut short is seen to be cut short") {
  ProxyRig rig;
  for (const std::string_view answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"}) {
    for (const End end : {End::fin, End::reset}) {
      INFO(answer, static_cast<int>(end));
      Peer client = rig.client();
      client.send(get());
      Peer at = rig.origin.accept();
      at.head();
      at.send(answer);
      client.until("12345");
      end == End::reset ? at.reset() : at.close();
      client.gone();
      CHECK(client.unread().find("0\r\n\r\n") == std::string::npos);
    }
  }
}

TEST_CASE("exchange: nonsense of a target is 502 and ends its connection") {
  ProxyRig rig;
  for (const std::string_view nonsense :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    INFO(nonsense);
    Peer client = rig.client();
    client.send(get());
    Peer at = rig.origin.accept();
    at.head();
    at.send(nonsense);
    // The first try on a fresh connection: it may be repeated.
    Peer again = rig.origin.accept();
    again.head();
    again.send(nonsense);
    CHECK(status_of(client.message()) == 502);
    CHECK(at.gone());
    CHECK(again.gone());
  }
}

TEST_CASE("exchange: a client that goes away ends what was begun for it") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  SUBCASE("while the target thinks") {}
  SUBCASE("while the answer comes") {
    at.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    client.until("12345");
  }
  client.reset();
  CHECK(at.gone());
  rig.until([&] { return rig.counters().exchanges_open.value() == 0; });
  CHECK(rig.counters().client_aborts.value() == 1);
  CHECK(rig.counters().pool.open.value() == 0);
}

TEST_CASE("exchange: a client that goes away while its target is being connected") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get());
  rig.turns(1);
  client.reset();
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
  CHECK(rig.counters().exchanges_open.value() == 0);
}

TEST_CASE("exchange: a client that half-closes still gets its answer") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(get());
  client.send_end();
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok("for you"));
  const std::string answer = client.rest();
  CHECK(status_of(answer) == 200);
  CHECK(answer.ends_with("for you"));
}

TEST_CASE("exchange: a client that half-closes within its content has sent nothing whole") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345");
  Peer at = rig.origin.accept();
  at.until("12345");
  client.send_end();
  CHECK(status_of(client.rest()) == 400);
  CHECK(at.gone());
}

// --- what takes too long

TEST_CASE("exchange: content that does not come is 408") {
  ProxyRig rig([](Config& config) { config.timeouts.client_body = Millis{80}; });
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345");
  Peer at = rig.origin.accept();
  at.until("12345");
  CHECK(status_of(client.message()) == 408);
  CHECK(at.gone());
  client.gone();
  CHECK(rig.counters().client_timeouts.value() == 1);
}

TEST_CASE("exchange: a target that does not respond is 504") {
  ProxyRig rig([](Config& config) { config.timeouts.origin_first_byte = Millis{80}; });
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  CHECK(status_of(client.message()) == 504);
  at.head();
  CHECK(at.gone());
  CHECK(rig.counters().origin_timeouts.value() == 1);
  client.send(get());
  Peer next = rig.origin.accept();
  serve(client, next);
}

TEST_CASE("exchange: the time for a response begins when the request is complete") {
  ProxyRig rig([](Config& config) {
    config.timeouts.origin_first_byte = Millis{80};
    config.timeouts.client_body = Millis{10'000};
  });
  Peer client = rig.client();
  client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n1");
  Peer at = rig.origin.accept();
  at.until("\r\n\r\n1");
  rig.pass(Millis{200});
  client.send("2");
  at.take(1);
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("exchange: a host's own limits count before the server's") {
  ProxyRig rig;
  rig.add_host({.host = "slow.test",
                .ip = "127.0.0.1",
                .target_port = rig.origin.port(),
                .first_byte_timeout = Millis{60},
                .idle_timeout = Millis{60}});
  Peer client = rig.client();
  client.send(request_to("slow.test"));
  CHECK(status_of(client.message()) == 504);
  Peer first = rig.origin.accept();
  client.send(request_to("slow.test"));
  Peer at = rig.origin.accept();
  at.head();
  at.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
  client.until("12345");
  CHECK(client.gone());
}

TEST_CASE("exchange: a target that stops in the middle of its content is given up") {
  ProxyRig rig([](Config& config) { config.timeouts.origin_idle = Millis{80}; });
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  at.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n");
  client.until("12345\r\n");
  CHECK(client.gone());
  CHECK(at.gone());
}

TEST_CASE("exchange: a client that takes nothing is no fault of the target") {
  ProxyRig rig([](Config& config) {
    config.timeouts.origin_idle = Millis{300};
    config.timeouts.client_write = Millis{10'000};
  });
  Peer client = rig.client();
  client.stop_reading();
  client.send(get());
  Peer at = rig.origin.accept();
  at.head();
  const std::string body(24 << 20, 'x');
  at.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
  std::size_t sent = 0;
  const std::int64_t begin = rig.worker().loop().now();
  rig.until([&] {
    sent += at.send_some(std::string_view{body}.substr(sent));
    return rig.worker().loop().now() > begin + 1'200;
  });
  CHECK(sent < body.size());
  client.read_on();
  rig.until([&] {
    sent += at.send_some(std::string_view{body}.substr(sent));
    client.pump();
    return sent == body.size();
  });
  client.head();
  CHECK(client.take(body.size()) == body);
}

TEST_CASE("exchange: a target whose queue is full is 504 after its time to connect") {
  ProxyRig rig([](Config& config) { config.timeouts.origin_connect = Millis{80}; });
  // A listener that accepts nobody: with its queue full, the kernel answers no further SYN.
  const Fd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = *io::Address::parse("127.0.0.1", 0);
  REQUIRE(::bind(full.get(), address.data(), address.size()) == 0);
  REQUIRE(::listen(full.get(), 0) == 0);
  const std::uint16_t port = io::bound_port(full.get());
  address.set_port(port);
  std::vector<Fd> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::connect(waiting.back().get(), address.data(), address.size());
  }
  rig.add_host({.host = "full.test", .ip = "127.0.0.1", .target_port = port});
  Peer client = rig.client();
  client.send(request_to("full.test"));
  CHECK(status_of(client.message()) == 504);
  CHECK(rig.counters().pool.connect_failures.value() == 1);
}

TEST_CASE("exchange: the time for a response does not run while a second try connects") {
  std::vector<base::UniqueFunction<void(io::Addresses)>> asked;
  ProxyRig rig([](Config& config) { config.timeouts.origin_first_byte = Millis{100}; },
               [&](io::Loop&, const std::string&, auto done) { asked.push_back(std::move(done)); });
  Origin other(rig);
  Host host = two_targets(rig.origin, other);
  host.targets = {"other.internal:" + std::to_string(other.port())};
  rig.add_host(host);
  Peer client = rig.client();
  client.send(request_to("two.test"));
  Peer first = rig.origin.accept();
  first.head();
  first.reset();
  rig.until([&] { return !asked.empty(); });
  rig.pass(Millis{300});
  asked.front()(std::vector<io::Address>{*io::Address::parse("127.0.0.1", 0)});
  Peer second = other.accept();
  serve(client, second);
}

// --- hosts that are looked up elsewhere

namespace {

// A rig whose hosts are looked up by the test.
struct Elsewhere {
  Elsewhere() : rig({}, io::Resolver::system_query(), {make()}) {}
  proxy::MakeTier make() {
    return [this](io::Loop&, const base::View<host::RouteTable>&) {
      auto made = std::make_unique<ScriptedTier>("redis", true);
      tier = made.get();
      return made;
    };
  }
  void until_asked() {
    rig.until([&] { return !tier->waiting.empty(); });
  }
  ScriptedTier* tier = nullptr;
  ProxyRig rig;
};

}  // namespace

TEST_CASE("exchange: a request waits for its host, and its content is not lost") {
  Elsewhere there;
  Peer client = there.rig.client();
  const std::string body(100'000, 'x');
  client.send(post(body).substr(0, 50'000));
  there.until_asked();
  CHECK(there.tier->asked == std::vector<std::string>{"a.test"});
  there.tier->answer(route_to("a.test", there.rig.origin.port()));
  Peer at = there.rig.origin.accept();
  client.send(post(body).substr(50'000));
  CHECK(at.message().ends_with(body));
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("exchange: many requests for one host wait for one answer") {
  Elsewhere there;
  std::vector<Peer> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(there.rig.client());
    clients.back().send(get());
  }
  there.rig.turns(20);
  CHECK(there.tier->asked.size() == 1);
  there.tier->answer(Error{Errc::not_found});
  for (Peer& client : clients) CHECK(status_of(client.message()) == 404);
  CHECK(there.rig.counters().lookup_misses.value() == 5);
}

TEST_CASE("exchange: a host that cannot be looked up now is 503, to be asked for again") {
  Elsewhere there;
  Peer client = there.rig.client();
  for (const Errc why : {Errc::timeout, Errc::closed, Errc::busy, Errc::invalid}) {
    client.send(get());
    there.until_asked();
    there.tier->answer(Error{why, "redis://127.0.0.1:6379/0: no answer in 250 ms"});
    const std::string answer = client.message();
    CHECK(status_of(answer) == 503);
    CHECK(field_of(answer, "Retry-After") == "1");
    CHECK(answer.find("redis") == std::string::npos);
  }
}

TEST_CASE("exchange: a client that goes while its host is looked up leaves nothing behind") {
  Elsewhere there;
  Peer gone = there.rig.client();
  gone.send(get());
  there.until_asked();
  gone.reset();
  there.rig.until([&] { return there.rig.counters().exchanges_open.value() == 0; });
  there.tier->answer(route_to("a.test", there.rig.origin.port()));
  CHECK(there.rig.origin.nobody_comes());
}

TEST_CASE("exchange: with the host in the worker's cache a warm exchange allocates nothing") {
  const proxy::MakeTier cache = [](io::Loop& loop, const base::View<host::RouteTable>&) {
    return std::make_unique<lookup::CacheTier>(
        loop, lookup::CacheTier::Limits{100, Millis{600'000}, Millis{1'000}});
  };
  ScriptedTier* tier = nullptr;
  const proxy::MakeTier other = [&](io::Loop&, const base::View<host::RouteTable>&) {
    auto made = std::make_unique<ScriptedTier>("redis", true);
    tier = made.get();
    return made;
  };
  ProxyRig rig({}, io::Resolver::system_query(), {cache, other});
  tier->answers.emplace("a.test", route_to("a.test", rig.origin.port()));
  CHECK(allocations_of(rig, get(), ok(std::string(1024, 'x')), 1000) == 0);
  CHECK(tier->asked.size() == 1);
}

TEST_CASE("exchange: a host that forces TLS redirects, but who came by TLS already") {
  ProxyRig rig([](Config& config) { config.forwarding.trusted = {"127.0.0.2"}; });
  rig.add_host({.host = "tls.test", .ip = "127.0.0.1", .target_port = rig.origin.port()});
  const auto ask = [](std::string_view target, std::string_view lines = "") {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: tls.test:80\r\n" +
           std::string(lines) + "\r\n";
  };
  Peer client = rig.client();
  client.send(ask("/a?b=%20"));  // nowhere to go yet
  Peer origin = rig.origin.accept();
  serve(client, origin);

  rig.set_tls_port(8443);
  client.send(ask("/a?b=%20"));
  const std::string answer = client.message();
  CHECK(status_of(answer) == 301);
  CHECK(field_of(answer, "Location") == "https://tls.test:8443/a?b=%20");

  // Whoever forwards for others has to be trusted to say so.
  const std::string_view forwarded = "X-Forwarded-Proto: https\r\n";
  client.send(ask("/", forwarded));
  CHECK(status_of(client.message()) == 301);
  Peer proxy = rig.client("127.0.0.2");
  proxy.send(ask("/", forwarded));
  serve(proxy, origin);

  client.send("POST / HTTP/1.1\r\nHost: tls.test\r\nContent-Length: 2\r\n\r\nab");
  CHECK(status_of(client.message()) == 308);
}

TEST_CASE("exchange: challenges are answered here, for whatever host (RFC 8555 §8.3)") {
  class Answers final : public Handler {
    void handle(Request request, Responder responder) override {
      responder.respond({.status = 200, .fields = {}, .body = request.host + request.target});
    }
  } answers;
  for (const bool http2 : {false, true}) {
    CAPTURE(http2);
    ProxyRig rig;
    rig.set_tls_port(443);  // for the host forces TLS
    rig.add_host({.host = "tls.test", .ip = "127.0.0.1", .target_port = rig.origin.port()});
    rig.set_challenges(answers);
    for (const std::string host : {"tls.test", "unknown.test", "[::1]"}) {
      CAPTURE(host);
      AnyClient client(rig, http2);
      client.ask({.target = "/.well-known/acme-challenge/x", .host = host});
      CHECK(client.answer().body == host + "/.well-known/acme-challenge/x");
    }
    CHECK(rig.origin.nobody_comes());
    Peer client = rig.client();
    client.send("GET /.well-known/acme-challenge HTTP/1.1\r\nHost: tls.test\r\n\r\n");
    CHECK(status_of(client.message()) == 301);
  }
}

TEST_CASE("exchange: HSTS is told to who came by TLS only (RFC 6797 §7.2)") {
  ProxyRig rig([](Config& config) { config.forwarding.trusted = {"127.0.0.1"}; });
  rig.add_host(
      {.host = "tls.test", .ip = "127.0.0.1", .target_port = rig.origin.port(), .hsts = true});
  Peer client = rig.client();
  client.send(request_to("tls.test"));
  Peer origin = rig.origin.accept();
  origin.message();
  origin.send(ok());
  CHECK(field_of(client.message(), "Strict-Transport-Security") == "-");
  client.send("GET / HTTP/1.1\r\nHost: tls.test\r\nX-Forwarded-Proto: https\r\n\r\n");
  origin.message();
  origin.send(ok());
  CHECK(field_of(client.message(), "Strict-Transport-Security") ==
        "max-age=31536000; includeSubDomains");
}
