#include "client/proxy.h"

#include "client/http_client.h"
#include "support/authority.h"
#include "support/forward_proxy.h"
#include "support/http_server.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using client::HttpClient;
using client::Proxy;
using test::ForwardProxy;
using test::HttpServer;

namespace {

constexpr std::string_view secret = "s3cr:t@";
const std::string encoded = "user:s3cr%3At%40@";

Deadline soon() {
  return Deadline::in(Millis{20'000});
}

Proxy proxy_at(const std::string& text) {
  auto proxy = Proxy::parse(text);
  REQUIRE_MESSAGE(proxy.has_value(), proxy.error().message());
  return *std::move(proxy);
}

const test::Authority& root() {
  static const test::Authority authority({.common_name = "root", .is_authority = true});
  return authority;
}

test::Reply echo(const test::Ask& ask) {
  return {.body = ask.method + " " + ask.target + " " + ask.header("Host") + " " +
                  ask.header("Proxy-Authorization") + ask.body};
}

HttpClient::Options through(const ForwardProxy& proxy) {
  return {.authorities = *tls::Authorities::load(root().pem()), .proxy = proxy_at(proxy.url())};
}

Error refused_by(const std::string& answer) {
  const ForwardProxy proxy({.answer = answer});
  HttpClient client(through(proxy));
  const auto response = client.send({.url = "https://ca.test/"}, soon());
  REQUIRE_FALSE(response);
  CHECK(response.error().detail.find("the proxy http://" + proxy.place()) != std::string::npos);
  return response.error();
}

}  // namespace

TEST_CASE("proxy: its url has a host, a port, and credentials that may be encoded") {
  CHECK(proxy_at("http://proxy.test:3128").at.host == "proxy.test");
  CHECK(proxy_at("http://proxy.test:3128").at.port == 3128);
  CHECK(proxy_at("http://proxy.test:3128/").credentials.empty());
  // RFC 7617 §2.
  CHECK(proxy_at("http://Aladdin:open%20sesame@p.test").credentials ==
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  CHECK(proxy_at("http://u:p@q@[::1]:1").at.host == "[::1]");
  CHECK_FALSE(Proxy::parse("https://p.test"));
  CHECK_FALSE(Proxy::parse("socks5://p.test"));
  CHECK_FALSE(Proxy::parse("p.test:3128"));
  for (const std::string bad : {"s3cr%zz:x@p.test", "s3cr@p.test", "s3cr%3a:x@p.test",
                                "u:s3cr@p.test/path", "u:s3cr@", "u:s3cr@p.test:99999"}) {
    CAPTURE(bad);
    const auto proxy = Proxy::parse("http://" + bad);
    REQUIRE_FALSE(proxy);
    CHECK(proxy.error().code == Errc::invalid);
    CHECK(proxy.error().message().find("s3cr") == std::string::npos);
  }
}

TEST_CASE("proxy: https goes through a tunnel, in which the target's certificate is verified") {
  HttpServer server(echo, {.certificate = root().issue({.dns = {"ca.test"}}), .name = "ca.test"});
  const ForwardProxy proxy({.credentials = "user:s3cr:t@"});
  HttpClient client({.authorities = *tls::Authorities::load(root().pem()),
                     .proxy = proxy_at("http://" + encoded + proxy.place())});
  for (int turn = 0; turn < 2; ++turn) {
    const auto response =
        client.send({.method = "POST", .url = server.url("/a"), .body = "b"}, soon());
    REQUIRE_MESSAGE(response, response.error().message());
    // The target sees nothing of the proxy.
    CHECK(response->body == "POST /a ca.test:" + std::to_string(server.port()) + " b");
  }
  // One tunnel for both.
  CHECK(proxy.asked() ==
        std::vector<std::string>{"CONNECT ca.test:" + std::to_string(server.port())});
  const auto other =
      client.send({.url = "https://other.test:" + std::to_string(server.port()) + "/"}, soon());
  REQUIRE_FALSE(other);
  CHECK(other.error().code == Errc::denied);
}

TEST_CASE("proxy: http is asked for by its whole url") {
  HttpServer server(echo, {.name = "vendor.test"});
  const ForwardProxy proxy({.credentials = "user:pw"});
  HttpClient client(through(proxy));
  const auto response = client.send({.url = server.url("/a?b=c")}, soon());
  REQUIRE_MESSAGE(response, response.error().message());
  CHECK(response->body.starts_with("GET /a?b=c "));
  CHECK(proxy.asked() == std::vector<std::string>{"GET " + server.url("/a?b=c")});
}

TEST_CASE("proxy: what it refuses is said, without the password") {
  CHECK(refused_by("HTTP/1.1 403 No\r\n\r\n").code == Errc::denied);
  CHECK(refused_by("HTTP/1.1 502 No\r\nContent-Length: 2\r\n\r\nno").code == Errc::refused);
  CHECK(refused_by("HTTP/1.1 200 OK\r\n\r\nand more").code == Errc::protocol);
  CHECK(refused_by("220 mail.test ESMTP\r\n\r\n").code == Errc::protocol);
  CHECK(refused_by("HTTP/1.1 200 OK\r\nX-A: " + std::string(20'000, 'a')).code == Errc::limit);
  CHECK(refused_by("HTTP/1.1 200 OK\r\n").code == Errc::closed);

  const ForwardProxy proxy({.credentials = "user:other"});
  for (const std::string target : {"https://ca.test/", "http://ca.test/"}) {
    HttpClient client({.authorities = *tls::Authorities::load(root().pem()),
                       .proxy = proxy_at("http://" + encoded + proxy.place())});
    const auto response = client.send({.url = target}, soon());
    REQUIRE_FALSE(response);
    CHECK(response.error().code == Errc::denied);
    CHECK(response.error().detail.find("407") != std::string::npos);
    CHECK(response.error().message().find(secret) == std::string::npos);
  }
  HttpClient client({.authorities = *tls::Authorities::load(root().pem()),
                     .proxy = proxy_at("http://nobody.invalid:1")});
  const auto nobody = client.send({.url = "https://ca.test/"}, soon());
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().detail.find("the proxy http://nobody.invalid:1") != std::string::npos);
}
