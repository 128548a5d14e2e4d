#include "client/http_client.h"

#include "support/authority.h"
#include "support/http_server.h"
#include "support/openssl_peer.h"
#include "support/sockets.h"

#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using client::HttpClient;
using client::Request;
using test::Ask;
using test::Door;
using test::HttpServer;
using test::Reply;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

std::string url_of(const Door& door, std::string_view target = "/") {
  return "http://" + door.address.text() + std::string(target);
}

// A server that answers one request with these bytes, in that many parts, and closes.
class Says {
 public:
  explicit Says(std::vector<std::string> parts)
      : peer_([this, parts = std::move(parts)] {
          const test::Fd visitor = door_.accept();
          static_cast<void>(visitor.receive());
          for (const std::string& part : parts) visitor.send(part);
          visitor.shut_write();
          static_cast<void>(visitor.receive_all());
        }) {}
  ~Says() { peer_.join(); }
  [[nodiscard]] std::string url() const { return url_of(door_); }

 private:
  Door door_;
  std::thread peer_;
};

Result<client::Response> answer_to(const std::string& method, std::vector<std::string> parts,
                                   std::size_t limit = 1000) {
  const Says server(std::move(parts));
  HttpClient client({.response_limit = limit});
  return client.send({.method = method, .url = server.url()}, soon());
}

const test::Authority& root() {
  static const test::Authority authority({.common_name = "root", .is_authority = true});
  return authority;
}

HttpClient::Options trusting(const test::Authority& authority) {
  return {.authorities = *tls::Authorities::load(authority.pem())};
}

Reply echo(const Ask& ask) {
  return {.body = ask.method + " " + ask.target + " " + ask.body};
}

}  // namespace

TEST_CASE("http client: a request says what it has to, and the response is whole") {
  Ask seen;
  HttpServer server([&](const Ask& ask) {
    seen = ask;
    return Reply{.status = 201, .body = "made", .headers = {{"X-One", "1"}, {"x-one", "2"}}};
  });
  HttpClient client;
  const auto response = client.send({.method = "POST",
                                     .url = server.url("/a?b=c"),
                                     .headers = {{"Content-Type", "text/plain"}},
                                     .body = "hello"},
                                    soon());
  REQUIRE_MESSAGE(response, response.error().message());
  CHECK(response->status == 201);
  CHECK(response->body == "made");
  CHECK(response->header("x-ONE") == "1");
  CHECK(response->header("other").empty());
  CHECK(seen.method == "POST");
  CHECK(seen.target == "/a?b=c");
  CHECK(seen.body == "hello");
  CHECK(seen.header("Host") == "127.0.0.1:" + std::to_string(server.port()));
  CHECK(seen.header("Content-Type") == "text/plain");
  CHECK(seen.header("User-Agent").starts_with("proxycore/"));
  REQUIRE(client.send({.method = "POST", .url = server.url()}, soon()));
  CHECK(seen.header("Content-Length") == "0");
}

TEST_CASE("http client: responses end in every way that there is (RFC 9112 §6.3)") {
  struct Case {
    const char* method;
    std::vector<std::string> parts;
    std::uint16_t status;
    const char* body;
  };
  const std::vector<Case> cases = {
      {"GET", {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"}, 200, "hello"},
      {"GET", {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, 200, ""},
      {"GET", {"HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n\r\nhe", "llo"}, 200, "hello"},
      {"GET",
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        "2\r\nlo\r\n0\r\n\r\n"},
       200,
       "hello"},
      {"GET",
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"},
       200,
       "hello"},
      {"GET", {"HTTP/1.1 200 OK\r\n\r\nhel", "lo"}, 200, "hello"},
      {"GET", {"HTTP/1.0 200 OK\r\n\r\n"}, 200, ""},
      {"GET", {"HTTP/1.1 204 No Content\r\n\r\n"}, 204, ""},
      {"GET", {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"}, 304, ""},
      {"HEAD", {"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"}, 200, ""},
      {"GET",
       {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
       200,
       "ok"},
      {"GET", {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"}, 302, ""},
      {"GET", {"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nwhy"}, 500, "why"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.parts.front());
    const auto response = answer_to(one.method, one.parts);
    REQUIRE_MESSAGE(response, response.error().message());
    CHECK(response->status == one.status);
    CHECK(response->body == one.body);
  }
}

TEST_CASE("http client: what is cut, malformed or too large is an error, not a response") {
  const std::string large(1001, 'x');
  struct Case {
    std::vector<std::string> parts;
    Errc code;
  };
  const std::vector<Case> cases = {
      {{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"}, Errc::closed},
      {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}, Errc::closed},
      {{"HTTP/1.1 200 OK\r\nContent-Le"}, Errc::closed},
      {{"HTTP/1.1 100 Continue\r\n\r\n"}, Errc::closed},
      {{}, Errc::closed},
      {{"SSH-2.0-OpenSSH\r\n"}, Errc::protocol},
      {{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"},
       Errc::protocol},
      {{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhello"}, Errc::protocol},
      {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}, Errc::protocol},
      {{"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"}, Errc::limit},
      {{"HTTP/1.1 200 OK\r\n\r\n", large}, Errc::limit},
      {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", large}, Errc::limit},
  };
  for (const Case& one : cases) {
    const auto response = answer_to("GET", one.parts);
    REQUIRE_FALSE(response);
    CAPTURE(response.error().message());
    CHECK(response.error().code == one.code);
    CHECK(response.error().detail.starts_with("http://127.0.0.1:"));
  }
  const std::string many = "HTTP/1.1 200 OK\r\nA: " + std::string(40'000, 'a') + "\r\n\r\n";
  CHECK_FALSE(answer_to("GET", {many}));
}

TEST_CASE("http client: a connection is used again, also after a response without end of its own") {
  HttpServer server(&echo);
  HttpClient client;
  for (int i = 0; i < 5; ++i) {
    CHECK(client.send({.url = server.url("/a")}, soon())->body == "GET /a ");
    CHECK(client.send({.method = "POST", .url = server.url("/b"), .body = "x"}, soon())->body ==
          "POST /b x");
    CHECK(client.send({.method = "HEAD", .url = server.url("/c")}, soon())->body.empty());
  }
  CHECK(server.connections() == 1);
  CHECK(server.requests() == 15);
}

TEST_CASE("http client: a few idle connections are kept, to different servers") {
  std::vector<std::unique_ptr<HttpServer>> servers;
  for (std::size_t i = 0; i < HttpClient::max_kept + 1; ++i) {
    servers.push_back(std::make_unique<HttpServer>(&echo));
  }
  HttpClient client;
  for (const auto& server : servers) REQUIRE(client.send({.url = server->url()}, soon()));
  REQUIRE(client.send({.url = servers.back()->url()}, soon()));
  CHECK(servers.back()->connections() == 1);
  REQUIRE(client.send({.url = servers.front()->url()}, soon()));
  CHECK(servers.front()->connections() == 2);  // it was the oldest
}

TEST_CASE("http client: a kept connection that the server has ended is replaced, for any method") {
  const Door door;
  std::promise<void> ended;
  std::thread peer([&] {
    for (int i = 0; i < 2; ++i) {
      test::Fd visitor = door.accept();
      CHECK(visitor.receive().starts_with("POST"));
      visitor.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      visitor.close();
      if (i == 0) ended.set_value();
    }
  });
  HttpClient client;
  const Request request{.method = "POST", .url = url_of(door), .body = "x"};
  CHECK(client.send(request, soon()));
  ended.get_future().wait();
  CHECK(client.send(request, soon()));
  peer.join();
}

TEST_CASE("http client: a request on a kept connection that ends is sent again if it may be") {
  for (const std::string method : {"GET", "POST"}) {
    const Door door;
    std::thread peer([&] {
      test::Fd first = door.accept();
      CHECK(first.receive().starts_with(method));
      first.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      CHECK(first.receive().starts_with(method));  // read, and not answered
      first.abort();
      if (method == "POST") return;
      const test::Fd second = door.accept();
      CHECK(second.receive().starts_with(method));
      second.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
    });
    HttpClient client;
    const Request request{.method = method, .url = url_of(door), .body = ""};
    REQUIRE(client.send(request, soon()));
    const auto second = client.send(request, soon());
    if (method == "GET") {
      REQUIRE_MESSAGE(second, second.error().message());
      CHECK(second->body == "again");
    } else {
      CHECK(second.error().code == Errc::closed);
    }
    peer.join();
  }
}

TEST_CASE("http client: a first connection that ends is not tried again") {
  const Door door;
  std::thread peer([&] {
    const test::Fd first = door.accept();
    static_cast<void>(first.receive());
  });
  HttpClient client;
  CHECK(client.send({.url = url_of(door)}, soon()).error().code == Errc::closed);
  peer.join();
}

TEST_CASE("http client: after an answer that began, nothing is sent again") {
  const Door door;
  std::thread peer([&] {
    const test::Fd first = door.accept();
    static_cast<void>(first.receive());
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    static_cast<void>(first.receive());
    first.send("HTTP/1.1 200");
  });
  HttpClient client;
  REQUIRE(client.send({.url = url_of(door)}, soon()));
  CHECK(client.send({.url = url_of(door)}, soon()).error().code == Errc::closed);
  peer.join();
}

TEST_CASE("http client: an answer that comes before the request is read counts") {
  const Door door;
  std::thread peer([&] {
    const test::Fd visitor = door.accept();
    static_cast<void>(visitor.receive(1));
    visitor.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    // It closes with most of the request unread once the client has gone.
    while (!visitor.receive().empty()) {
    }
  });
  {
    // Should all of the request have been sent, the connection is kept as long as the client is.
    HttpClient client;
    const auto response = client.send(
        {.method = "PUT", .url = url_of(door), .body = std::string(32 << 20, 'x')}, soon());
    REQUIRE_MESSAGE(response, response.error().message());
    CHECK(response->status == 413);
  }
  peer.join();
}

TEST_CASE("http client: a large request and a large response pass each other") {
  HttpServer server(&echo);
  HttpClient client({.response_limit = 64 << 20});
  const std::string body(20 << 20, 'x');
  const auto response = client.send({.method = "PUT", .url = server.url(), .body = body}, soon());
  REQUIRE(response);
  CHECK(response->body.size() == body.size() + 6);
}

TEST_CASE("http client: slow peers do not outlast the deadline") {
  SUBCASE("silent") {
    const Door door;
    HttpClient client;
    const auto late = client.send({.url = url_of(door, "/secret")}, Deadline::in(Millis{30}));
    CHECK(late.error().code == Errc::timeout);
    CHECK(late.error().detail.find("secret") == std::string::npos);
  }
  SUBCASE("not accepting") {
    const Door door("127.0.0.1", test::Answer::hangs);
    HttpClient client;
    CHECK(client.send({.url = url_of(door)}, Deadline::in(Millis{30})).error().code ==
          Errc::timeout);
  }
  SUBCASE("dripping") {
    const Door door;
    std::thread peer([&] {
      const test::Fd visitor = door.accept();
      static_cast<void>(visitor.receive());
      const std::string_view drop = "HTTP/1.1 103 Early Hints\r\n\r\n";
      while (::send(visitor.get(), drop.data(), drop.size(), MSG_NOSIGNAL) > 0) {
      }
    });
    HttpClient client;
    CHECK(client.send({.url = url_of(door)}, Deadline::in(Millis{50})).error().code ==
          Errc::timeout);
    static_cast<void>(door.connect());  // should the client not even have come that far
    peer.join();
  }
  SUBCASE("no TLS handshake") {
    const Door door;
    HttpClient client(trusting(root()));
    const auto late =
        client.send({.url = "https://" + door.address.text()}, Deadline::in(Millis{30}));
    CHECK(late.error().code == Errc::timeout);
    CHECK(late.error().detail.find("tls") != std::string::npos);
  }
  SUBCASE("the deadline has passed before") {
    HttpServer server(&echo);
    HttpClient client;
    CHECK(client.send({.url = server.url()}, Deadline::in(Millis{0})).error().code ==
          Errc::timeout);
  }
}

TEST_CASE("http client: a stop request ends a call at once") {
  const Door door;
  std::stop_source stop;
  std::thread peer([&] {
    const test::Fd visitor = door.accept();
    static_cast<void>(visitor.receive());
    stop.request_stop();
    CHECK(visitor.receive_all().empty());
  });
  HttpClient client;
  const Deadline by = Deadline::never(stop.get_token());
  CHECK(client.send({.url = url_of(door)}, by).error().code == Errc::cancelled);
  CHECK(client.send({.url = url_of(door)}, by).error().code == Errc::cancelled);
  peer.join();
}

TEST_CASE("http client: TLS, and its connections are used again") {
  HttpServer server(&echo, {.certificate = root().issue({.addresses = {"127.0.0.1"}})});
  HttpClient client(trusting(root()));
  for (int i = 0; i < 3; ++i) {
    const auto response =
        client.send({.method = "POST", .url = server.url("/a"), .body = "x"}, soon());
    REQUIRE_MESSAGE(response, response.error().message());
    CHECK(response->body == "POST /a x");
  }
  CHECK(server.connections() == 1);
  const std::string large(3 << 20, 'y');
  CHECK(client.send({.method = "PUT", .url = server.url("/"), .body = large}, soon())->body ==
        "PUT / " + large);
}

TEST_CASE("http client: a server that ends a kept TLS connection properly costs no request") {
  HttpServer server(
      [](const Ask& ask) {
        Reply reply = echo(ask);
        reply.close = true;
        return reply;
      },
      {.certificate = root().issue({.addresses = {"127.0.0.1"}})});
  HttpClient client(trusting(root()));
  for (int i = 0; i < 3; ++i) {
    CHECK(client.send({.method = "POST", .url = server.url(), .body = "x"}, soon()));
  }
  CHECK(server.connections() == 3);
}

TEST_CASE("http client: only a good certificate for that name will do") {
  const test::Authority other({.common_name = "other", .is_authority = true});
  struct Case {
    CertBundle certificate;
    std::string_view why;
  };
  const std::vector<Case> cases = {
      {root().issue({.addresses = {"127.0.0.1"}, .not_before = -20'000, .not_after = -10'000}),
       "expired"},
      {root().issue({.addresses = {"127.0.0.1"}, .not_before = 10'000, .not_after = 20'000}), ""},
      {root().issue({.dns = {"ca.example"}}), "name"},
      {root().issue({.addresses = {"127.0.0.2"}}), "name"},
      {other.issue({.addresses = {"127.0.0.1"}}), ""},
      {test::lone({.addresses = {"127.0.0.1"}}), ""},
  };
  for (const Case& one : cases) {
    HttpServer server(&echo, {.certificate = one.certificate});
    HttpClient client(trusting(root()));
    const auto refused = client.send({.url = server.url("/secret")}, soon());
    REQUIRE_FALSE(refused);
    CAPTURE(refused.error().message());
    CHECK(refused.error().code == Errc::denied);
    CHECK(refused.error().detail.find(one.why) != std::string::npos);
    CHECK(refused.error().detail.find("secret") == std::string::npos);
    CHECK(server.requests() == 0);
  }
}

TEST_CASE("http client: the certificate is that of the name, wherever it leads") {
  HttpServer server(&echo,
                    {.certificate = root().issue({.dns = {"localhost"}}), .name = "localhost"});
  HttpClient client(trusting(root()));
  const auto response = client.send({.url = server.url("/a")}, soon());
  REQUIRE_MESSAGE(response, response.error().message());
  CHECK(response->body == "GET /a ");
}

TEST_CASE("http client: a TLS connection that is cut is no end of a response (RFC 8446 §6.1)") {
  HttpServer server([](const Ask&) { return Reply{.raw = "HTTP/1.1 200 OK\r\n\r\nall of it"}; },
                    {.certificate = root().issue({.addresses = {"127.0.0.1"}})});
  HttpClient client(trusting(root()));
  // HttpServer says close_notify, so this one is whole.
  CHECK(client.send({.url = server.url()}, soon())->body == "all of it");

  const Door door;
  std::thread peer([&] {
    const test::Fd visitor = door.accept();
    test::OpensslPeer tls(
        {.server = true, .certificate = root().issue({.addresses = {"127.0.0.1"}})});
    while (tls.received.empty()) {
      tls.in = visitor.receive();
      tls.step();
      visitor.send(std::exchange(tls.out, {}));
    }
    tls.write("HTTP/1.1 200 OK\r\n\r\nnot all");
    visitor.send(std::exchange(tls.out, {}));
  });
  CHECK(client.send({.url = "https://" + door.address.text()}, soon()).error().code ==
        Errc::closed);
  peer.join();
}

TEST_CASE("http client: plain HTTP where TLS was asked for, and the other way round") {
  HttpServer plain(&echo);
  HttpClient client(trusting(root()));
  std::string url = plain.url();
  url.insert(4, "s");
  CHECK_FALSE(client.send({.url = url}, soon()));
  HttpServer secure(&echo, {.certificate = root().issue({.addresses = {"127.0.0.1"}})});
  url = secure.url();
  url.erase(4, 1);
  CHECK_FALSE(client.send({.url = url}, soon()));
}

TEST_CASE("http client: IPv6 literals, with their certificate") {
  HttpServer plain(&echo, {.ip = "::1"});
  HttpClient client(trusting(root()));
  CHECK(client.send({.url = plain.url("/six")}, soon())->body == "GET /six ");
  HttpServer secure(&echo, {.ip = "::1", .certificate = root().issue({.addresses = {"::1"}})});
  const auto response = client.send({.url = secure.url("/six")}, soon());
  REQUIRE_MESSAGE(response, response.error().message());
  CHECK(response->body == "GET /six ");
}

TEST_CASE("http client: who is not there is named") {
  const Door dead("127.0.0.1", test::Answer::refuses);
  HttpClient client;
  const auto refused = client.send({.url = url_of(dead, "/secret")}, soon());
  CHECK(refused.error().code == Errc::refused);
  CHECK(refused.error().detail.find(dead.address.text()) != std::string::npos);
  // Where no name server answers, that is a time-out.
  const auto unknown =
      client.send({.url = "http://none.invalid/secret"}, Deadline::in(Millis{200}));
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().detail.find("none.invalid") != std::string::npos);
  CHECK(unknown.error().detail.find("secret") == std::string::npos);
}

TEST_CASE("http client: what cannot be a request is not sent") {
  HttpServer server(&echo);
  HttpClient client;
  const std::vector<Request> requests = {
      {.method = "GE T", .url = server.url()},
      {.method = "", .url = server.url()},
      {.method = "CONNECT", .url = server.url()},
      {.url = server.url(), .headers = {{"A b", "x"}}},
      {.url = server.url(), .headers = {{"A", "x\r\nB: y"}}},
      {.url = server.url(), .headers = {{"A", std::string("x\0y", 3)}}},
      {.url = "mailto:a@b"},
  };
  for (const Request& request : requests) {
    CHECK(client.send(request, soon()).error().code == Errc::invalid);
  }
  CHECK(server.connections() == 0);
}

TEST_CASE("http client: Retry-After in seconds or as a date (RFC 9110 §10.2.3)") {
  constexpr std::int64_t now = 784'111'700;
  const auto asks = [&](std::string value) {
    return client::retry_after({.headers = {{"retry-after", std::move(value)}}}, now);
  };
  CHECK(asks("120") == 120);
  CHECK(asks("0") == 0);
  CHECK(asks("99999999999") == 4294967295U);
  CHECK(asks("Sun, 06 Nov 1994 08:49:37 GMT") == 77);
  CHECK(asks("Sun, 06 Nov 1994 08:00:00 GMT") == 0);
  CHECK_FALSE(asks("-1").has_value());
  CHECK_FALSE(asks("soon").has_value());
  CHECK_FALSE(client::retry_after({}, now).has_value());
}
