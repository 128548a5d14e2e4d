#include "http/framing.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::http;

namespace {

const Limits limits;

// 0: fine.
int request_line(std::string_view line, Head& head) {
  head.clear();
  const framing::Fault fault = framing::read_request_line(line, limits, head);
  return fault ? fault->status : 0;
}

int status_line(std::string_view line, Head& head) {
  head.clear();
  const framing::Fault fault = framing::read_status_line(line, head);
  return fault ? fault->status : 0;
}

struct Request {
  std::string_view line;
  std::string_view host = "a.test";
};

// A request of that line and Host field, settled.
int settle(const Request& request, Head& head) {
  if (const int status = request_line(request.line, head)) return status;
  head.fields.add(FieldId::host, request.host);
  const framing::Fault fault = framing::settle_request(head, limits);
  return fault ? fault->status : 0;
}

int settle_with(std::string_view line, std::initializer_list<Fields::Field> fields, Head& head) {
  if (const int status = request_line(line, head)) return status;
  head.fields.add(FieldId::host, "a.test");
  for (const Fields::Field& field : fields) head.fields.add(field.name, field.value);
  const framing::Fault fault = framing::settle_request(head, limits);
  return fault ? fault->status : 0;
}

Fields::Field field(std::string_view name, std::string_view value) {
  return {FieldId::other, name, value};
}

}  // namespace

TEST_CASE("framing: a request line is method, target and version, one space each (RFC 9112 §3)") {
  Head head;
  CHECK(request_line("GET /a?b HTTP/1.1", head) == 0);
  CHECK(head.method == "GET");
  CHECK(head.target == "/a?b");
  CHECK(head.version == Version::http11);
  CHECK(request_line("M-SEARCH * HTTP/1.0", head) == 0);
  CHECK(head.version == Version::http10);
  for (const std::string_view line : {"",
                                      "GET",
                                      "GET /",
                                      "GET  / HTTP/1.1",
                                      "GET /  HTTP/1.1",
                                      " GET / HTTP/1.1",
                                      "GET / HTTP/1.1 ",
                                      "GET\t/ HTTP/1.1",
                                      "GET /\tHTTP/1.1",
                                      "GET /a b HTTP/1.1",
                                      "G:T / HTTP/1.1",
                                      "GET  HTTP/1.1",
                                      "GET / http/1.1",
                                      "GET / HTTP/1",
                                      "GET / HTTP/1.10",
                                      "GET / HTTP/01.1",
                                      "GET / HTTP/1.1x",
                                      "GET / ICE/1.0",
                                      "GET / RTSP/1.0",
                                      "GET / XTTP/1.1",
                                      "GET / HTTP/1.x"}) {
    CAPTURE(line);
    CHECK(request_line(line, head) == 400);
  }
}

TEST_CASE("framing: any token is a method, in its own case (RFC 9110 §9.1)") {
  Head head;
  for (const std::string_view method : {"FOO", "get", "PROPFIND2", "!#$%&'*+-.^_`|~9"}) {
    CAPTURE(method);
    CHECK(request_line(std::string{method} + " / HTTP/1.1", head) == 0);
    CHECK(head.method == method);
  }
  CHECK(request_line(std::string(33, 'A') + " / HTTP/1.1", head) == 501);
}

TEST_CASE("framing: HTTP/1.2 counts as 1.1, other majors are 505 (RFC 9112 §2.3)") {
  Head head;
  CHECK(request_line("GET / HTTP/1.2", head) == 0);
  CHECK(head.version == Version::http11);
  CHECK(request_line("GET / HTTP/1.9", head) == 0);
  CHECK(request_line("GET / HTTP/2.0", head) == 505);
  CHECK(request_line("PRI * HTTP/2.0", head) == 505);
  CHECK(request_line("GET / HTTP/0.9", head) == 505);
  CHECK(request_line("GET / HTTP/3.0", head) == 505);
}

TEST_CASE(
    "framing: control characters, raw bytes and # have no place in a target (RFC 9112 §3.2)") {
  Head head;
  using namespace std::string_literals;
  for (const std::string& target :
       {"/\0"s, "/\x01"s, "/\x7f"s, "/\xc3\xa9"s, "/x#f"s, "/a\rb"s, "http://b/x#f"s}) {
    CHECK(request_line("GET " + target + " HTTP/1.1", head) == 400);
  }
  CHECK(request_line("GET /\"<>\\^`{|}%zz HTTP/1.1", head) == 0);
  CHECK(request_line("GET /" + std::string(8191, 'x') + " HTTP/1.1", head) == 0);
  CHECK(request_line("GET /" + std::string(8192, 'x') + " HTTP/1.1", head) == 414);
}

TEST_CASE("framing: the four forms of a target (RFC 9112 §3.2)") {
  struct Row {
    std::string_view line, host, target, authority;
  };
  for (const Row& row : {
           Row{"GET /x?y HTTP/1.1", "a.test:80", "/x?y", "a.test:80"},
           Row{"GET //evil.test/x HTTP/1.1", "a.test", "//evil.test/x", "a.test"},
           Row{"GET http://b.test/x HTTP/1.1", "a.test", "/x", "b.test"},
           Row{"GET HTTPS://b.test:443?y HTTP/1.1", "a.test", "/?y", "b.test:443"},
           Row{"GET http://b.test HTTP/1.1", "", "/", "b.test"},
           Row{"OPTIONS http://b.test HTTP/1.1", "a.test", "*", "b.test"},
           Row{"OPTIONS * HTTP/1.1", "a.test", "*", "a.test"},
           Row{"OPTIONS / HTTP/1.1", "a.test", "/", "a.test"},
           Row{"CONNECT b.test:443 HTTP/1.1", "a.test", "b.test:443", "b.test:443"},
           Row{"CONNECT [::1]:443 HTTP/1.1", "a.test", "[::1]:443", "[::1]:443"},
       }) {
    CAPTURE(row.line);
    Head head;
    CHECK(settle({row.line, row.host}, head) == 0);
    CHECK(head.target == row.target);
    CHECK(head.authority == row.authority);
  }
  for (const std::string_view line :
       {"GET * HTTP/1.1", "GET a HTTP/1.1", "GET a.test:80 HTTP/1.1", "GET ?x HTTP/1.1",
        "GET ftp://b/x HTTP/1.1", "GET http:///x HTTP/1.1", "GET http://u:p@b/ HTTP/1.1",
        "GET http://b:c/ HTTP/1.1", "GET http://b:65536/ HTTP/1.1", "GET http://[::1/ HTTP/1.1",
        "GET http:/b/ HTTP/1.1", "CONNECT /x HTTP/1.1", "CONNECT a HTTP/1.1", "CONNECT a: HTTP/1.1",
        "CONNECT http://a:1/ HTTP/1.1", "CONNECT :443 HTTP/1.1", "OPTIONS ** HTTP/1.1"}) {
    CAPTURE(line);
    Head head;
    CHECK(settle({line}, head) == 400);
  }
}

TEST_CASE("framing: Host is one host[:port] (RFC 9112 §3.2, RFC 9110 §7.2)") {
  for (const std::string_view host :
       {"a", "a.test", "a_b.test", "a.test:8080", "a.test:", "127.0.0.1", "[::1]", "[::1]:80",
        "xn--bcher-kva.test", "%61.test", "a.test.", "a:0", "a:65535"}) {
    CAPTURE(host);
    CHECK(framing::is_authority(host));
    Head head;
    CHECK(settle({"GET / HTTP/1.1", host}, head) == 0);
    CHECK(head.authority == host);
  }
  for (const std::string_view host :
       {"",      ":80",  "a/b", "u@a", "a, b", "a b",      "a:65536",          "a:-1", "a:8a",
        "a:b:c", "[::1", "::1", "[]",  "[a]",  "[::1]x",   "[fe80::1%25eth0]", "a\tb", "a\\b",
        "a\"b",  "%6",   "%zz", "a#",  "a?",   "\xc3\xa9", "a:80:80"}) {
    CAPTURE(host);
    CHECK_FALSE(framing::is_authority(host));
    Head head;
    CHECK(settle({"GET / HTTP/1.1", host}, head) == 400);
  }
}

TEST_CASE("framing: HTTP/1.1 needs exactly one Host, HTTP/1.0 at most one (RFC 9112 §3.2)") {
  Head head;
  REQUIRE(request_line("GET / HTTP/1.1", head) == 0);
  CHECK(framing::settle_request(head, limits)->status == 400);
  REQUIRE(request_line("GET / HTTP/1.0", head) == 0);
  CHECK_FALSE(framing::settle_request(head, limits));
  CHECK(head.authority.empty());
  CHECK(settle_with("GET / HTTP/1.1", {field("Host", "a.test")}, head) == 400);
  CHECK(settle_with("GET / HTTP/1.0", {field("host", "a.test")}, head) == 400);
  CHECK(settle_with("GET http://a.test/ HTTP/1.1", {field("Host", "a.test")}, head) == 400);
  // The absolute form replaces Host, which may then be empty, but not nonsense.
  CHECK(settle({"GET http://b.test/ HTTP/1.1", "a b"}, head) == 400);
}

TEST_CASE("framing: a request's length (RFC 9112 §6.3)") {
  Head head;
  CHECK(settle_with("POST / HTTP/1.1", {}, head) == 0);
  CHECK(head.framing == Framing::none);
  CHECK(settle_with("POST / HTTP/1.1", {field("Content-Length", "0")}, head) == 0);
  CHECK(head.framing == Framing::none);
  CHECK(settle_with("GET / HTTP/1.1", {field("content-length", "0005")}, head) == 0);
  CHECK(head.framing == Framing::length);
  CHECK(head.content_length == 5);
  CHECK(settle_with("POST / HTTP/1.1", {field("Transfer-Encoding", "ChuNKed")}, head) == 0);
  CHECK(head.framing == Framing::chunked);
  for (const std::string_view bad : {"", "+5", "-5", "0x5", "5.0", "5 6", "5, 5", "5,", "a",
                                     "9223372036854775808", "18446744073709551616"}) {
    CAPTURE(bad);
    CHECK(settle_with("POST / HTTP/1.1", {field("Content-Length", bad)}, head) == 400);
  }
  CHECK(settle_with("POST / HTTP/1.1", {field("Content-Length", "4294967296")}, head) == 0);
  CHECK(settle_with("POST / HTTP/1.1", {field("Content-Length", "4294967297")}, head) == 413);
  CHECK(settle_with("POST / HTTP/1.1", {field("Content-Length", "5"), field("Content-Length", "5")},
                    head) == 400);
  CHECK(settle_with("POST / HTTP/1.1",
                    {field("Content-Length", "5"), field("Transfer-Encoding", "chunked")},
                    head) == 400);
  CHECK(settle_with("POST / HTTP/1.0", {field("Transfer-Encoding", "chunked")}, head) == 400);
}

TEST_CASE("framing: chunked is the only transfer coding, and the last (RFC 9112 §6.1)") {
  struct Row {
    std::string_view value;
    int status;
  };
  Head head;
  for (const Row& row :
       {Row{"gzip, chunked", 501}, Row{"identity, chunked", 501}, Row{"chunked, chunked", 400},
        Row{"chunked, gzip", 400}, Row{"gzip", 400}, Row{"identity", 400}, Row{"xchunked", 400},
        Row{"chunkedx", 400}, Row{"chunked;q=1", 400}, Row{"\"chunked\"", 400}, Row{"", 400},
        Row{",chunked", 400}, Row{"chunked,", 400}, Row{"chunked\x0b", 400}}) {
    CAPTURE(row.value);
    CHECK(settle_with("POST / HTTP/1.1", {field("Transfer-Encoding", row.value)}, head) ==
          row.status);
  }
  CHECK(settle_with("POST / HTTP/1.1",
                    {field("Transfer-Encoding", "gzip"), field("Transfer-Encoding", "chunked")},
                    head) == 501);
  CHECK(settle_with("POST / HTTP/1.1",
                    {field("Transfer-Encoding", "chunked"), field("transfer-encoding", "chunked")},
                    head) == 400);
}

TEST_CASE("framing: an upgrade is asked for by both fields, in HTTP/1.1 only (RFC 9110 §7.8)") {
  Head head;
  CHECK(settle_with("GET / HTTP/1.1",
                    {field("Connection", "x, Upgrade"), field("Upgrade", "websocket")}, head) == 0);
  CHECK(head.upgrade);
  CHECK(settle_with("GET / HTTP/1.1", {field("Upgrade", "websocket")}, head) == 0);
  CHECK_FALSE(head.upgrade);
  CHECK(settle_with("GET / HTTP/1.1", {field("Connection", "upgrade")}, head) == 0);
  CHECK_FALSE(head.upgrade);
  CHECK(settle_with("GET / HTTP/1.0",
                    {field("Connection", "upgrade"), field("Upgrade", "websocket")}, head) == 0);
  CHECK_FALSE(head.upgrade);
}

TEST_CASE("framing: a status line is version, three digits, reason (RFC 9112 §4)") {
  Head head;
  CHECK(status_line("HTTP/1.1 200 OK", head) == 0);
  CHECK(head.status == 200);
  CHECK(head.reason == "OK");
  CHECK(status_line("HTTP/1.0 404 Not \xe9 found", head) == 0);
  CHECK(head.version == Version::http10);
  CHECK(status_line("HTTP/1.1 200 ", head) == 0);
  CHECK(status_line("HTTP/1.1 200", head) == 0);
  CHECK(head.reason.empty());
  CHECK(status_line("HTTP/1.1 999 X", head) == 0);
  using namespace std::string_literals;
  for (const std::string& line :
       {"HTTP/1.1"s, "HTTP/1.1 "s, "HTTP/1.1 20 OK"s, "HTTP/1.1 2000 OK"s, "HTTP/1.1  200 OK"s,
        "HTTP/1.1 099 X"s, "HTTP/1.1 000 X"s, "HTTP/1.1 -10 X"s, "HTTP/1.1\t200 OK"s,
        "HTTP/2.0 200 OK"s, "HTTP/0.9 200 OK"s, "http/1.1 200 OK"s, "HTTP/1.1 200 a\0b"s,
        "HTTP/1.1 200 a\x01"s, "HTTP/1.1 200 a\rb"s, "HTTP/1.1 200OK"s, "GET / HTTP/1.1"s, ""s}) {
    CAPTURE(line);
    CHECK(status_line(line, head) == 502);
  }
}

TEST_CASE("framing: a response's length (RFC 9112 §6.3)") {
  struct Row {
    std::string_view line, name, value;
    bool to_head;
    Framing framing;
    std::uint64_t length;
  };
  for (const Row& row : {
           Row{"HTTP/1.1 200 OK", "Content-Length", "5", false, Framing::length, 5},
           Row{"HTTP/1.1 200 OK", "Content-Length", "0", false, Framing::length, 0},
           Row{"HTTP/1.1 200 OK", "Transfer-Encoding", "chunked", false, Framing::chunked, 0},
           Row{"HTTP/1.1 200 OK", "X", "y", false, Framing::until_close, 0},
           Row{"HTTP/1.0 200 OK", "X", "y", false, Framing::until_close, 0},
           Row{"HTTP/1.1 200 OK", "Content-Length", "5", true, Framing::length, 5},
           Row{"HTTP/1.1 200 OK", "Transfer-Encoding", "chunked", true, Framing::none, 0},
           Row{"HTTP/1.1 304 X", "Content-Length", "5", false, Framing::length, 5},
           Row{"HTTP/1.1 304 X", "X", "y", false, Framing::none, 0},
           Row{"HTTP/1.1 204 X", "Content-Length", "5", false, Framing::none, 0},
           Row{"HTTP/1.1 204 X", "Transfer-Encoding", "chunked", false, Framing::none, 0},
           Row{"HTTP/1.1 100 X", "Content-Length", "5", false, Framing::none, 0},
       }) {
    CAPTURE(row.line);
    CAPTURE(row.value);
    Head head;
    REQUIRE(status_line(row.line, head) == 0);
    head.fields.add(row.name, row.value);
    CHECK_FALSE(framing::settle_response(head, row.to_head));
    CHECK(head.framing == row.framing);
    CHECK(head.content_length == row.length);
  }
  for (const auto& field : {std::pair{"Content-Length", "2, 2"},
                            {"Content-Length", "+2"},
                            {"Transfer-Encoding", "gzip"},
                            {"Transfer-Encoding", "x"}}) {
    CAPTURE(field.second);
    Head head;
    REQUIRE(status_line("HTTP/1.1 200 OK", head) == 0);
    head.fields.add(field.first, field.second);
    CHECK(framing::settle_response(head, false)->status == 502);
  }
}

TEST_CASE("framing: who leaves the connection open (RFC 9112 §9.3)") {
  struct Row {
    std::string_view line, connection;
    bool persistent;
  };
  for (const Row& row :
       {Row{"HTTP/1.1 200 OK", "", true}, Row{"HTTP/1.1 200 OK", "Close", false},
        Row{"HTTP/1.1 200 OK", "keep-alive, close", false}, Row{"HTTP/1.0 200 OK", "", false},
        Row{"HTTP/1.0 200 OK", "Keep-Alive", true},
        Row{"HTTP/1.0 200 OK", "keep-alive, close", false}}) {
    Head head;
    REQUIRE(status_line(row.line, head) == 0);
    head.fields.add(FieldId::connection, row.connection);
    CHECK(framing::persistent(head) == row.persistent);
  }
  // What announces content where none may be could send it after all.
  Head head;
  REQUIRE(status_line("HTTP/1.1 204 No Content", head) == 0);
  head.fields.add(FieldId::content_length, "0");
  CHECK(framing::persistent(head));
  head.fields.set(FieldId::content_length, "5");
  CHECK_FALSE(framing::persistent(head));
}

TEST_CASE("framing: how content of unknown length is written (RFC 9112 §6.3, §7)") {
  Head head;
  head.status = 200;
  head.framing = Framing::until_close;
  CHECK(framing::on_wire(head, Version::http11, false) == Framing::chunked);
  CHECK(framing::on_wire(head, Version::http10, false) == Framing::until_close);
  CHECK(framing::on_wire(head, Version::http11, true) == Framing::none);
  head.framing = Framing::none;
  CHECK(framing::on_wire(head, Version::http11, false) == Framing::length);
  head.status = 304;
  CHECK(framing::on_wire(head, Version::http11, false) == Framing::none);
  Head request;
  request.method = "POST";
  request.framing = Framing::chunked;
  CHECK(framing::on_wire(request, Version::http11, false) == Framing::chunked);
}

TEST_CASE("framing: trailers that would change the message are dropped (RFC 9110 §6.5.1)") {
  Fields trailers;
  for (const std::string_view name :
       {"Host", "Authorization", "Set-Cookie", "content-encoding", "X-Forwarded-For", "Connection",
        "X-Checksum", "Trailer", "Content-Type", "Cookie", "Location"}) {
    trailers.add(name, "x");
  }
  framing::drop_forbidden_trailers(trailers);
  CHECK(trailers.size() == 1);
  CHECK(trailers.find("X-Checksum"));
}
