#include "proxy/local.h"

#include "support/proxy_rig.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

class Answering final : public Handler {
 public:
  using Answer = std::function<void(Request, Responder)>;
  explicit Answering(Answer answer, std::size_t most = 1000)
      : answer_(std::move(answer)), most_(most) {}
  void handle(Request request, Responder responder) override {
    ++calls;
    answer_(std::move(request), std::move(responder));
  }
  [[nodiscard]] std::size_t max_body() const noexcept override { return most_; }

  int calls = 0;

 private:
  Answer answer_;
  std::size_t most_;
};

// Says what it was asked.
Answering echo() {
  return Answering([](Request request, Responder responder) {
    responder.respond({.status = 200,
                       .fields = {},
                       .body = request.method + " " + request.target + " " + request.body});
  });
}

std::string to_local(std::string_view method = "GET", std::string_view body = "",
                     std::string_view lines = "") {
  std::string text(method);
  text.append(" /x?y HTTP/1.1\r\nHost: local.test\r\n").append(lines);
  if (!body.empty()) {
    text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  }
  return text.append("\r\n").append(body);
}

Response simple(int status, std::string body = {}) {
  return {.status = status, .fields = {}, .body = std::move(body)};
}

}  // namespace

TEST_CASE("request: fields by name in any case, path and query of the target") {
  Request request;
  request.target = "/a/b?c=d?e";
  request.fields = {{"X-A", "1"}, {"x-a", "2"}};
  REQUIRE(request.field("x-A") != nullptr);
  CHECK(*request.field("x-A") == "1");
  CHECK(request.field("X-B") == nullptr);
  CHECK(request.path() == "/a/b");
  CHECK(request.query() == "c=d?e");
  request.target = "/a";
  CHECK(request.path() == "/a");
  CHECK(request.query().empty());
}

TEST_CASE("responder: answers once, and 500 when it dies unused") {
  struct Sink final : Responder::Sink {
    explicit Sink(std::vector<int>& into) : statuses(into) {}
    void respond(Response response) override { statuses.push_back(response.status); }
    std::unique_ptr<ResponseStream> begin(Response head) override {
      statuses.push_back(-head.status);
      return nullptr;
    }
    std::vector<int>& statuses;
  };
  std::vector<int> statuses;
  {
    Responder responder(std::make_unique<Sink>(statuses));
    Responder moved(std::move(responder));
    moved.respond(simple(201));
    moved.respond(simple(202));
    CHECK(moved.begin(simple(203)) == nullptr);
  }
  CHECK(statuses == std::vector<int>{201});
  { const Responder unused(std::make_unique<Sink>(statuses)); }
  CHECK(statuses == std::vector<int>{201, 500});
}

TEST_CASE("local: a handler answers instead of a target") {
  ProxyRig rig;
  Answering handler = echo();
  rig.mount("*.test", handler);
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local());
  const std::string answer = client.message();
  CHECK(status_of(answer) == 200);
  CHECK(answer.ends_with("GET /x?y "));
  CHECK(field_of(answer, "X-Request-Id") != "-");
  CHECK(field_of(answer, "Date") != "-");
  client.send(to_local("POST", "hello"));
  CHECK(client.message().ends_with("POST /x?y hello"));
  CHECK(rig.origin.nobody_comes());
}

TEST_CASE("local: a handler is told who asks for what") {
  ProxyRig rig([](Config& config) { config.forwarding.trusted = {"127.0.0.2"}; });
  std::optional<Request> got;
  Answering handler([&](Request request, Responder responder) {
    got = std::move(request);
    responder.respond({});
  });
  rig.mount("local.test", handler);
  Peer client = rig.client("127.0.0.2");
  client.send(
      "PUT http://LOCAL.test:80/a?b HTTP/1.1\r\nHost: other\r\nX-Forwarded-For: 192.0.2.7\r\n"
      "X-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-T: 1\r\n\r\n");
  CHECK(status_of(client.message()) == 200);
  REQUIRE(got);
  CHECK(got->method == "PUT");
  CHECK(got->target == "/a?b");
  CHECK(got->host == "local.test");
  CHECK(got->body == "abcdef");
  CHECK(got->client_address == "192.0.2.7");
  CHECK_FALSE(got->tls);
  REQUIRE(got->field("x-a") != nullptr);
  CHECK(*got->field("x-a") == "1");
}

TEST_CASE("local: an answer may come later, and from another thread") {
  ProxyRig rig;
  std::optional<Responder> kept;
  Answering handler([&](Request, Responder responder) { kept = std::move(responder); });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local() + to_local());
  rig.until([&] { return kept.has_value(); });
  CHECK(client.quiet());
  std::thread([&] { kept->respond(simple(200, "from afar")); }).join();
  kept.reset();
  CHECK(client.message().ends_with("from afar"));
  // The pipelined one has waited.
  rig.until([&] { return kept.has_value(); });
  CHECK(handler.calls == 2);
  kept->respond(simple(201));
  kept->respond(simple(202));
  CHECK(status_of(client.message()) == 201);
  CHECK(client.quiet());
}

TEST_CASE("local: a handler that forgets to answer is 500") {
  ProxyRig rig;
  Answering handler([](Request, Responder) {});
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local());
  CHECK(status_of(client.message()) == 500);
}

TEST_CASE("local: a client that went away misses nothing but its answer") {
  ProxyRig rig;
  std::optional<Responder> kept;
  Answering handler([&](Request, Responder responder) { kept = std::move(responder); });
  rig.mount("local.test", handler);
  {
    Peer client = rig.client();
    client.send(to_local());
    rig.until([&] { return kept.has_value(); });
    client.reset();
    rig.until([&] { return rig.counters().connections_open.value() == 0; });
  }
  // The next client takes over the exchange, but not the answer.
  std::optional<Responder> first = std::exchange(kept, std::nullopt);
  Peer client = rig.client();
  client.send(to_local());
  rig.until([&] { return kept.has_value(); });
  first->respond(simple(200, "not yours"));
  CHECK(client.quiet());
  kept->respond(simple(200, "yours"));
  CHECK(client.message().ends_with("yours"));
}

TEST_CASE("local: an answer that comes when the worker is gone is dropped") {
  std::optional<Responder> kept;
  Answering handler([&](Request, Responder responder) { kept = std::move(responder); });
  {
    ProxyRig rig;
    rig.mount("local.test", handler);
    Peer client = rig.client();
    client.send(to_local());
    rig.until([&] { return kept.has_value(); });
  }
  kept->respond(simple(200));
}

TEST_CASE("local: content over a handler's bound is 413 without calling it") {
  ProxyRig rig;
  Answering handler = echo();
  rig.mount("local.test", handler);
  SUBCASE("by its length") {
    Peer client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: local.test\r\nContent-Length: 1001\r\n\r\n");
    CHECK(status_of(client.message()) == 413);
  }
  SUBCASE("in chunks") {
    Peer client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: local.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 5; ++i) client.send("c8\r\n" + std::string(200, 'x') + "\r\n");
    CHECK(client.quiet());
    client.send("1\r\nx\r\n");
    CHECK(status_of(client.message()) == 413);
  }
  CHECK(handler.calls == 0);
  Peer client = rig.client();
  client.send(to_local("POST", std::string(1000, 'x')));
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("local: who waits for 100 (Continue) gets it (RFC 9110 §10.1.1)") {
  ProxyRig rig;
  Answering handler = echo();
  rig.mount("local.test", handler);
  Peer client = rig.client();
  const std::string head =
      "POST / HTTP/1.1\r\nHost: local.test\r\nExpect: 100-Continue\r\nContent-Length: ";
  client.send(head + "5\r\n\r\n");
  CHECK(client.head() == "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hello");
  CHECK(client.message().ends_with("hello"));
  // Not before HTTP/1.1, and not when the answer is no.
  client.send(
      "POST / HTTP/1.0\r\nHost: local.test\r\nExpect: 100-continue\r\n"
      "Connection: keep-alive\r\nContent-Length: 5\r\n\r\n");
  CHECK(client.quiet());
  client.send("hello");
  CHECK(status_of(client.message()) == 200);
  client.send(head + "1001\r\n\r\n");
  CHECK(status_of(client.message()) == 413);
}

TEST_CASE("local: an answer is made fit for the wire") {
  ProxyRig rig;
  Response next;
  Answering handler([&](Request, Responder responder) { responder.respond(next); });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  const auto answer = [&](Response response, std::string_view method = "GET") {
    next = std::move(response);
    client.send(to_local(method));
    return method == "HEAD" ? client.head() : client.message();
  };
  std::string got = answer({.status = 200,
                            .fields = {{"Content-Length", "7"},
                                       {"Transfer-Encoding", "chunked"},
                                       {"Connection", "close"},
                                       {"X-Good", "1"},
                                       {"X-Bad", "1\r\nX-Worse: 2"},
                                       {"X Bad", "1"},
                                       {"", "1"},
                                       {"X-Null", std::string("a\0b", 3)}},
                            .body = "hello"});
  CHECK(field_of(got, "Content-Length") == "5");
  CHECK(field_of(got, "Transfer-Encoding") == "-");
  CHECK(field_of(got, "Connection") == "-");
  CHECK(field_of(got, "X-Good") == "1");
  for (const std::string_view bad : {"X-Bad", "X-Worse", "X Bad", "X-Null"}) {
    CHECK(field_of(got, bad) == "-");
  }
  got = answer(simple(200, "hello"), "HEAD");
  CHECK(field_of(got, "Content-Length") == "5");
  got = answer(simple(204, "not allowed"));
  CHECK(status_of(got) == 204);
  CHECK(field_of(got, "Content-Length") == "-");
  CHECK(status_of(answer(simple(304, "not allowed"))) == 304);
  for (const int wrong : {0, 100, 101, 199, 600, 99999, -1}) {
    CHECK(status_of(answer(simple(wrong))) == 500);
  }
  CHECK(status_of(answer(simple(599))) == 599);
}

TEST_CASE("local: a large answer goes out as the client takes it, and its memory comes back") {
  ProxyRig rig;
  const std::string body(8 << 20, 'x');
  Answering handler([&](Request, Responder responder) { responder.respond(simple(200, body)); });
  rig.mount("local.test", handler);
  for (int i = 0; i < 2; ++i) {
    Peer client = rig.client();
    client.send(to_local());
    const std::string answer = client.message();
    CHECK(answer.ends_with(body));
    client.send(to_local("HEAD"));
    CHECK(field_of(client.head(), "Content-Length") == std::to_string(body.size()));
  }
  CHECK(rig.worker().loop().slabs().allocated() < 8 << 20);
}

TEST_CASE("local: a stream goes out bit by bit, and ends when it is destroyed") {
  ProxyRig rig;
  std::unique_ptr<ResponseStream> stream;
  Answering handler([&](Request, Responder responder) {
    stream = responder.begin({.status = 200, .fields = {{"Content-Type", "text/event-stream"}}});
    CHECK(responder.begin({}) == nullptr);
  });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local() + to_local("HEAD"));
  const std::string head = client.head();
  CHECK(status_of(head) == 200);
  CHECK(field_of(head, "Transfer-Encoding") == "chunked");
  CHECK(field_of(head, "Content-Type") == "text/event-stream");
  REQUIRE(stream);
  CHECK(stream->write("one"));
  CHECK(client.take(8) == "3\r\none\r\n");
  CHECK(client.quiet());
  std::thread([&] { CHECK(stream->write("four")); }).join();
  CHECK(client.take(9) == "4\r\nfour\r\n");
  CHECK(stream->write(""));
  stream.reset();
  CHECK(client.take(5) == "0\r\n\r\n");
  // The connection is used on; HEAD has no body that could come.
  CHECK(status_of(client.head()) == 200);
  rig.until([&] { return stream != nullptr; });
  rig.until([&] { return !stream->write("nobody"); });
  client.send(to_local("GET", "", "Connection: close\r\n"));
  CHECK(status_of(client.head()) == 200);
}

TEST_CASE("local: a client that takes nothing of a stream is cut off") {
  ProxyRig rig([](Config& config) { config.timeouts.client_write = Millis{60}; });
  std::unique_ptr<ResponseStream> stream;
  Answering handler(
      [&](Request, Responder responder) { stream = responder.begin(simple(200, "begin")); });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local());
  rig.until([&] { return stream != nullptr; });
  client.stop_reading();
  const std::string part(std::size_t{64} << 10, 'x');
  std::size_t taken = 0;
  rig.until([&] {
    taken += part.size();
    return !stream->write(part);
  });
  CHECK(taken >= ResponseStream::max_waiting);
  CHECK_FALSE(stream->write("more"));
  // What has been given to the connection has its time.
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
}

TEST_CASE("local: who reads a stream late reads all of it") {
  ProxyRig rig;
  std::unique_ptr<ResponseStream> stream;
  Answering handler(
      [&](Request, Responder responder) { stream = responder.begin(simple(200, "begin")); });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local());
  client.head();
  CHECK(client.take(10) == "5\r\nbegin\r\n");
  client.stop_reading();
  const std::string part(std::size_t{64} << 10, 'x');
  for (int i = 0; i < 3; ++i) CHECK(stream->write(part));
  stream.reset();
  client.read_on();
  const std::string chunk = "10000\r\n" + part + "\r\n";
  for (int i = 0; i < 3; ++i) CHECK(client.take(chunk.size()) == chunk);
  CHECK(client.take(5) == "0\r\n\r\n");
}

TEST_CASE("local: who writes to a stream is told that its client has gone") {
  ProxyRig rig;
  std::unique_ptr<ResponseStream> stream;
  Answering handler([&](Request, Responder responder) { stream = responder.begin(simple(200)); });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local());
  client.head();
  CHECK(stream->write("one"));
  client.reset();
  rig.until([&] { return !stream->write("two"); });
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
}

TEST_CASE("local: while a handler thinks, nobody's time runs") {
  ProxyRig rig([](Config& config) {
    config.timeouts.client_header = Millis{60};
    config.timeouts.client_body = Millis{60};
    config.timeouts.client_idle = Millis{60};
    config.timeouts.origin_first_byte = Millis{60};
  });
  std::optional<Responder> kept;
  Answering handler([&](Request, Responder responder) { kept = std::move(responder); });
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(to_local());
  rig.until([&] { return kept.has_value(); });
  rig.pass(Millis{300});
  kept->respond(simple(200));
  CHECK(status_of(client.message()) == 200);
}

TEST_CASE("local: a handler's request may be pipelined behind a target's") {
  ProxyRig rig;
  Answering handler = echo();
  rig.mount("local.test", handler);
  Peer client = rig.client();
  client.send(get() + to_local("POST", "abc") + get());
  Peer at = rig.origin.accept();
  at.head();
  CHECK(handler.calls == 0);
  at.send(ok("one"));
  CHECK(client.message().ends_with("one"));
  CHECK(client.message().ends_with("abc"));
  at.head();
  at.send(ok("two"));
  CHECK(client.message().ends_with("two"));
}
