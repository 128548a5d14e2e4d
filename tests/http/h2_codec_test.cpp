#include "http/h2_codec.h"

#include "support/h2_side.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

struct Vector {
  std::string name;
  std::string in;
  std::string events;
  std::string out;  // behind our SETTINGS, our ack of the client's, and the connection's window
};

// A request that is malformed before anything is known of it.
Vector malformed(const char* name, std::string in) {
  return {name, std::move(in), "", "RST_STREAM 1 PROTOCOL_ERROR\n"};
}

std::string head(const h2::Lines& lines) {
  return h2::frame(h2::headers, h2::whole, 1, h2::block(lines));
}

constexpr const char* answered = "HEADERS 1 :status=200 content-length=2\nDATA 1 ok end\n";

std::vector<Vector> vectors() {
  const std::string get_block = h2::block(
      {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a.test"}});
  const std::string reset =
      "1: reset protocol 0: the stream broke a rule of HTTP/2 "
      "(PROTOCOL_ERROR)\n";
  return {
      {"a GET", h2::get(1, "/x?y=1", {{"accept", "*/*"}}),
       "1: GET /x?y=1 at 'a.test' none, accept: */*\n1: end\n", answered},
      {"a header block in three frames",
       h2::frame(h2::headers, h2::end_stream, 1, get_block.substr(0, 9)) +
           h2::frame(h2::continuation, h2::none, 1, get_block.substr(9, 20)) +
           h2::frame(h2::continuation, h2::end_headers, 1, get_block.substr(29)),
       "1: GET / at 'a.test' none\n1: end\n", answered},
      {"content of known length", post({{"content-length", "5"}}) + content("hello"),
       "1: POST /a at 'a.test' length 5, content-length: 5\n1: content hello\n1: end\n", answered},
      {"content of unknown length, padded",
       post() + content("hel", h2::none) +
           content(std::string("\x02lo\0\0", 5), h2::padded | h2::end_stream),
       "1: POST /a at 'a.test' chunked\n1: content hello\n1: end\n", answered},
      {"content-length: 0", h2::request(1, "POST", "/a", {{"content-length", "0"}}),
       "1: POST /a at 'a.test' none, content-length: 0\n1: end\n", answered},
      {"trailers, but those that would be taken for something else",
       post() + content("hello", h2::none) +
           head({{"x-sum", "1"}, {"authorization", "x"}, {"trailer", "y"}}),
       "1: POST /a at 'a.test' chunked\n1: content hello\n1: trailer x-sum: 1\n1: end\n", answered},
      {"cookie crumbs are joined (RFC 9113 §8.2.3)",
       h2::get(1, "/", {{"cookie", "a=b"}, {"x", "y"}, {"cookie", "c=d"}}),
       "1: GET / at 'a.test' none, x: y, cookie: a=b; c=d\n1: end\n", answered},
      {"host instead of :authority",
       head({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "b.test"}}),
       "1: GET / at 'b.test' none\n1: end\n", answered},
      {"host beside the same :authority", h2::get(1, "/", {{"host", "A.test"}}),
       "1: GET / at 'a.test' none\n1: end\n", answered},
      {"host beside another :authority", h2::get(1, "/", {{"host", "b.test"}}),
       "1: reset protocol 400: :authority and Host differ (RFC 9113 §8.3.1)\n",
       "HEADERS 1 end :status=400 content-length=0\n"},
      {":authority with a user",
       head({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "u@b.test"}}),
       "1: reset protocol 400: :authority is not host[:port] (RFC 9113 §8.3.1)\n",
       "HEADERS 1 end :status=400 content-length=0\n"},
      {":scheme that is not ours",
       head({{":method", "GET"}, {":scheme", "ftp"}, {":path", "/"}, {":authority", "a.test"}}),
       "1: reset protocol 400: :scheme is not http or https\n",
       "HEADERS 1 end :status=400 content-length=0\n"},
      {":path with a fragment", h2::get(1, "/a#b"),
       "1: reset protocol 400: forbidden character in the request target (RFC 9112 §3.2)\n",
       "HEADERS 1 end :status=400 content-length=0\n"},
      {"OPTIONS *", h2::request(1, "OPTIONS", "*"), "1: OPTIONS * at 'a.test' none\n1: end\n",
       answered},
      {"CONNECT has no :scheme and no :path",
       head({{":method", "CONNECT"}, {":authority", "a.test:443"}}),
       "1: CONNECT a.test:443 at 'a.test:443' none\n1: end\n", answered},
      {"TE: trailers", h2::get(1, "/", {{"te", "trailers"}}),
       "1: GET / at 'a.test' none, te: trailers\n1: end\n", answered},

      malformed("TE: gzip", h2::get(1, "/", {{"te", "gzip"}})),
      malformed("upper case in a name", h2::get(1, "/", {{"X-A", "b"}})),
      malformed("a blank in a name", h2::get(1, "/", {{"x y", "a"}})),
      malformed("a line end in a value", h2::get(1, "/", {{"x", "a\r\nb: c"}})),
      malformed("NUL in a value", h2::get(1, "/", {{"x", std::string_view("a\0b", 3)}})),
      malformed("blanks around a value", h2::get(1, "/", {{"x", " a"}})),
      malformed("Connection", h2::get(1, "/", {{"connection", "close"}})),
      malformed("Keep-Alive", h2::get(1, "/", {{"keep-alive", "timeout=5"}})),
      malformed("Proxy-Connection", h2::get(1, "/", {{"proxy-connection", "close"}})),
      malformed("Transfer-Encoding", h2::get(1, "/", {{"transfer-encoding", "chunked"}})),
      malformed("Upgrade", h2::get(1, "/", {{"upgrade", "websocket"}})),
      malformed("two content-length",
                h2::request(1, "POST", "/", {{"content-length", "1"}, {"content-length", "1"}})),
      malformed("content-length that is no number",
                h2::request(1, "POST", "/", {{"content-length", "+1"}})),
      malformed("content-length without content",
                h2::request(1, "POST", "/", {{"content-length", "5"}})),
      malformed("two host fields", h2::get(1, "/", {{"host", "a.test"}, {"host", "a.test"}})),
      malformed("a pseudo-header field behind others",
                head({{":method", "GET"}, {"a", "b"}, {":scheme", "https"}, {":path", "/"}})),
      malformed("an unknown pseudo-header field",
                head({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":x", "/"}})),
      malformed(
          "a response's pseudo-header field",
          head({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":status", "200"}})),
      malformed("two :path",
                head({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":path", "/"}})),
      malformed("no :path", head({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}})),
      malformed(
          "empty :path",
          head({{":method", "GET"}, {":scheme", "https"}, {":path", ""}, {":authority", "a"}})),
      malformed("no :method", head({{":scheme", "https"}, {":path", "/"}, {":authority", "a"}})),
      malformed("no :scheme", head({{":method", "GET"}, {":path", "/"}, {":authority", "a"}})),
      malformed("no authority at all",
                head({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}})),
      malformed("extended CONNECT that was not offered", head({{":method", "CONNECT"},
                                                               {":protocol", "websocket"},
                                                               {":scheme", "https"},
                                                               {":path", "/"},
                                                               {":authority", "a"}})),
      malformed("a path without /", h2::get(1, "a")),
      malformed("a line end in :path", h2::get(1, "/ HTTP/1.1\r\nX: y")),

      {"less content than content-length", post({{"content-length", "5"}}) + content("hell"),
       "1: POST /a at 'a.test' length 5, content-length: 5\n" + reset,
       "RST_STREAM 1 PROTOCOL_ERROR\n"},
      {"more content than content-length", post({{"content-length", "5"}}) + content("hello!"),
       "1: POST /a at 'a.test' length 5, content-length: 5\n" + reset,
       "RST_STREAM 1 PROTOCOL_ERROR\n"},
      {"a pseudo-header field in trailers", post() + head({{":path", "/"}}),
       "1: POST /a at 'a.test' chunked\n" + reset, "RST_STREAM 1 PROTOCOL_ERROR\n"},
      {"a second header block that does not end it",
       post() + h2::frame(h2::headers, h2::end_headers, 1, h2::block({{"x", "y"}})),
       "1: POST /a at 'a.test' chunked\n" + reset, "RST_STREAM 1 PROTOCOL_ERROR\n"},
      {"the client's reset", post() + h2::reset(1, NGHTTP2_CANCEL),
       "1: POST /a at 'a.test' chunked\n"
       "1: reset closed 0: the peer cancelled the stream (CANCEL)\n",
       ""},
      {"a window that opens by nothing", post() + h2::window(1, 0),
       "1: POST /a at 'a.test' chunked\n1: reset protocol 0: Protocol error\n",
       "GOAWAY last 1 PROTOCOL_ERROR\n"},

      {"PING", h2::frame(h2::ping, h2::none, 0, "12345678"), "", "PING ack 12345678\n"},
      {"what is unknown is left alone",
       h2::frame(99, 0xff, 7, "something") + h2::setting(99, 1) + h2::get(1),
       "1: GET / at 'a.test' none\n1: end\n", std::string("SETTINGS ack\n") + answered},
      {"PRIORITY is left alone (RFC 9113 §5.3.2)",
       h2::frame(h2::priority, h2::none, 1, std::string("\0\0\0\0\x10", 5)) + h2::get(1),
       "1: GET / at 'a.test' none\n1: end\n", answered},
      {"content without a stream", content("hello!"), "", "GOAWAY last 0 PROTOCOL_ERROR\n"},
      {"a stream of a server's number", h2::get(2), "", "GOAWAY last 0 PROTOCOL_ERROR\n"},
      {"a connection window that opens by nothing", h2::window(0, 0), "",
       "GOAWAY last 0 PROTOCOL_ERROR\n"},
      {"a frame that is too large", content(std::string(16385, 'x')), "",
       "GOAWAY last 0 FRAME_SIZE_ERROR\n"},
      {"a header block that cannot be decoded",
       h2::frame(h2::headers, h2::whole, 1, "\xff\xff\xff\xff\xff\xff"), "",
       "GOAWAY last 1 COMPRESSION_ERROR\n"},
      {"something between HEADERS and CONTINUATION",
       h2::frame(h2::headers, h2::end_stream, 1, get_block) + h2::get(3), "",
       "GOAWAY last 1 PROTOCOL_ERROR\n"},
      {"a push by a client", h2::frame(h2::push_promise, h2::end_headers, 1, h2::u32(2)), "",
       "GOAWAY last 0 PROTOCOL_ERROR\n"},
  };
}

struct Outcome {
  std::string events;
  std::string out;
  After after;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome run(const std::string& in, std::size_t cut, std::size_t step = SIZE_MAX) {
  Side side(Role::server);
  side.feed(h2::preface());
  side.out.lines();
  for (std::size_t at = 0; at < in.size();) {
    const std::size_t part = std::min(at == 0 ? cut : step, in.size() - at);
    side.feed(std::string_view{in}.substr(at, part));
    at += part;
  }
  return {side.log.lines(), side.out.lines(), side.codec->after_output()};
}

}  // namespace

TEST_CASE("h2: the vectors, whole, cut once everywhere, and byte by byte") {
  for (const Vector& vector : vectors()) {
    INFO(vector.name);
    const Outcome whole = run(vector.in, vector.in.size());
    CHECK(whole.events == vector.events);
    CHECK(whole.out == vector.out);
    const bool ends = vector.out.find("GOAWAY") != std::string::npos;
    CHECK((whole.after == After::linger) == ends);
    const Outcome by_byte = run(vector.in, 1, 1);
    CHECK(by_byte.events == whole.events);
    CHECK(by_byte.out == whole.out);
    // Cutting within long content shows nothing that cutting its beginning does not.
    for (std::size_t cut = 1; cut < std::min<std::size_t>(vector.in.size(), 500); ++cut) {
      if (run(vector.in, cut) == whole) continue;
      CAPTURE(cut);
      CHECK(run(vector.in, cut).events == whole.events);
      CHECK(run(vector.in, cut).out == whole.out);
      break;
    }
  }
}

// --- the end

TEST_CASE("h2: draining tells the client, serves what is on its way, and then ends") {
  Server server;
  server.feed(h2::get(1));
  server.codec->drain();
  CHECK_FALSE(server.codec->persistent());
  server.go_on();
  CHECK(server.out.lines() == "GOAWAY last 2147483647 NO_ERROR\n");
  server.feed(h2::get(3));
  CHECK(server.log.sinks.size() == 2);
  server.codec->drain();
  server.go_on();
  CHECK(server.out.lines() == "GOAWAY last 3 NO_ERROR\n");
  server.feed(h2::get(5));
  CHECK(server.log.sinks.size() == 2);
  CHECK(server.codec->after_output() == After::keep);
  server.log.answer(server.sink(0));
  server.log.answer(server.sink(1));
  server.go_on();
  CHECK(server.out.messages[1].body == "ok");
  CHECK(server.out.messages[3].body == "ok");
  CHECK(server.codec->after_output() == After::linger);
  CHECK(server.counters.errors.value() == 0);
}

TEST_CASE("h2: a client that does not heed GOAWAY is served no longer in the end") {
  Server server;
  server.log.answers = true;
  server.codec->drain();
  for (std::uint32_t i = 0; i < 100; ++i) server.feed(h2::get(2 * i + 1));
  CHECK(server.log.sinks.size() == server.h2_limits.streams_in_drain + 1);
  CHECK(server.codec->after_output() == After::linger);
}

TEST_CASE("h2: the client's GOAWAY ends the connection once all is answered") {
  Server server;
  server.feed(h2::get(1) + h2::frame(h2::goaway, h2::none, 0, h2::u32(0) + h2::u32(0)));
  CHECK_FALSE(server.codec->persistent());
  CHECK(server.codec->after_output() == After::keep);
  server.log.answer(server.sink());
  server.go_on();
  CHECK(server.out.messages[1].body == "ok");
  CHECK(server.codec->after_output() == After::linger);
}

TEST_CASE("h2: behind FIN complete requests are answered, others reset") {
  Server server;
  server.feed(h2::get(1) + h2::request(3, "POST", "/", {}, h2::end_headers));
  server.stream(1).send_head(response(200), End::no);
  server.stream(1).send_body(bytes("begun"), End::no);
  server.codec->end_of_input();
  CHECK(server.sink(1).reset);
  CHECK(server.codec->after_output() == After::keep);
  server.log.answer(server.sink());
  server.go_on();
  CHECK(server.out.messages[1].body == "ok");
  CHECK(server.codec->after_output() == After::close);
}

TEST_CASE("h2: FIN without a request ends the connection") {
  Server server;
  server.codec->end_of_input();
  CHECK(server.codec->after_output() == After::close);
}

TEST_CASE("h2: when the connection dies, every stream hears it once") {
  Server server;
  server.feed(h2::get(1) + h2::get(3) + h2::get(5));
  server.stream().send_head(response(200), End::no);
  server.stream().send_body(bytes(std::string(300'000, 'x')), End::no);
  server.log.lines();
  server.codec->abort({Errc::closed, 0, "the client went away"});
  CHECK(server.log.lines() ==
        "1: reset closed 0: the client went away\n2: reset closed 0: the client went away\n"
        "3: reset closed 0: the client went away\n");
  CHECK(server.codec->output().empty());
  server.codec->feed(bytes(h2::get(7)));
  server.codec->written();
  CHECK(server.log.lines().empty());
}

TEST_CASE("h2: an event may end the connection") {
  for (const bool within_body : {false, true}) {
    Server server;
    const auto end = [&](H2Log::Sink&) { server.codec->abort({Errc::closed, 0, "enough"}); };
    server.log.on_new = [&](H2Log::Sink& sink) {
      (within_body ? sink.on_part : sink.on_request) = end;
    };
    server.feed(post() + content("hello", h2::none) + h2::get(3));
    CHECK(server.log.lines().ends_with("1: reset closed 0: enough\n"));
    CHECK(server.log.sinks.size() == 1);
    CHECK(server.codec->after_output() != After::keep);
  }
}

TEST_CASE("h2: what is no HTTP/2 is told so") {
  for (const std::string_view in :
       {"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX"}) {
    Side server(Role::server);
    server.feed(in);
    CHECK(server.out.lines().ends_with("GOAWAY last 0 PROTOCOL_ERROR\n"));
    CHECK(server.codec->after_output() == After::linger);
  }
}

TEST_CASE("h2: a header block that does not come to its end may be refused from above") {
  Side server(Role::server);
  CHECK_FALSE(server.codec->idle());
  server.greet();
  CHECK(server.codec->idle());
  server.feed(h2::request(1, "GET", "/", {}, h2::end_stream));
  CHECK_FALSE(server.codec->idle());
  server.codec->refuse({Errc::timeout, 408, "too slow"});
  server.go_on();
  CHECK(server.out.went_away);
  CHECK(server.codec->after_output() == After::linger);
}

TEST_CASE("h2: a malformed request leaves the connection idle") {
  Server server;
  server.feed(h2::get(1, "/", {{"X", "y"}}));
  CHECK(server.codec->idle());
  CHECK(server.counters.errors.value() == 0);
}

// --- the client role

namespace {

struct Client : Side {
  explicit Client(const Limits& with = {}) : Side(Role::client, with) {
    feed(h2::frame(h2::settings, h2::none, 0) + h2::frame(h2::settings, h2::ack, 0));
    out.lines();
  }

  H2Log::Sink& ask(const Head& head, End end = End::yes) {
    H2Log::Sink& sink = log.add();
    sink.stream = codec->open(sink);
    REQUIRE(sink.stream != nullptr);
    sink.stream->send_head(head, end);
    go_on();
    return sink;
  }
};

}  // namespace

TEST_CASE("h2 client: requests go out, responses come back") {
  Client client;
  Head head = request("GET");
  head.target = "/x?y";
  for (const auto& [name, value] : h2::Lines{{"Accept", "*/*"},
                                             {"Connection", "close"},
                                             {"TE", "gzip, trailers"},
                                             {"Host", "b.test"},
                                             {"Upgrade", "x"}}) {
    head.fields.add(name, value);
  }
  client.ask(head);
  CHECK(client.out.lines() ==
        "HEADERS 1 end :method=GET :scheme=https :path=/x?y :authority=a.test accept=*/* "
        "te=trailers\n");
  client.ask(request("POST", Framing::length, 5), End::no)
      .stream->send_body(bytes("hello"), End::yes);
  client.go_on();
  CHECK(client.out.lines() ==
        "HEADERS 3 :method=POST :scheme=https :path=/ :authority=a.test content-length=5\n"
        "DATA 3 hello end\n");
  client.feed(h2::response(3, "103", {{"link", "x"}}, h2::end_headers) +
              h2::response(3, "200", {{"a", "b"}}, h2::end_headers) +
              h2::frame(h2::data, h2::none, 3, "ok") +
              h2::frame(h2::headers, h2::whole, 3, h2::block({{"x-sum", "1"}})) +
              h2::response(1, "404"));
  CHECK(client.log.lines() ==
        "2: 103 none, link: x\n2: 200 chunked, a: b\n2: content ok\n2: trailer x-sum: 1\n2: end\n"
        "1: 404 length 0\n1: end\n");
  CHECK(client.codec->idle());
  CHECK(client.codec->reusable());
}

TEST_CASE("h2 client: how a response is framed") {
  Client client;
  auto framing = [&, id = 1U](std::string_view method, std::string_view status,
                              const h2::Lines& lines, std::uint8_t flags) mutable {
    client.ask(request(method));
    client.log.lines();
    client.feed(h2::response(id, status, lines, flags));
    id += 2;
    const std::string text = client.log.lines();
    return text.substr(3, text.find_first_of(",\n") - 3);
  };
  CHECK(framing("GET", "200", {{"content-length", "0"}}, h2::whole) == "200 length 0");
  CHECK(framing("GET", "200", {{"content-length", "9"}}, h2::end_headers) == "200 length 9");
  CHECK(framing("GET", "200", {}, h2::end_headers) == "200 chunked");
  CHECK(framing("HEAD", "200", {{"content-length", "9"}}, h2::whole) == "200 length 9");
  CHECK(framing("HEAD", "200", {}, h2::whole) == "200 none");
  CHECK(framing("GET", "304", {{"content-length", "9"}}, h2::whole) == "304 length 9");
  CHECK(framing("GET", "204", {}, h2::whole) == "204 none");
}

TEST_CASE("h2 client: what goes wrong is told, with the reason") {
  Client client;
  client.ask(request("GET"));
  client.out.lines();
  SUBCASE("malformed") {
    client.feed(h2::response(1, "200", {{"connection", "close"}}));
    CHECK(client.log.lines().starts_with("1: reset protocol 0: "));
    CHECK(client.out.lines() == "RST_STREAM 1 PROTOCOL_ERROR\n");
  }
  SUBCASE("101") {
    client.feed(h2::response(1, "101", {}, h2::end_headers));
    CHECK(client.log.lines().starts_with("1: reset protocol 0: "));
  }
  SUBCASE("less content than promised") {
    client.feed(h2::response(1, "200", {{"content-length", "5"}}, h2::end_headers) +
                h2::frame(h2::data, h2::end_stream, 1, "ok"));
    CHECK(client.sink().reset);
    CHECK_FALSE(client.sink().done);
  }
  SUBCASE("refused") {
    client.feed(h2::reset(1, NGHTTP2_REFUSED_STREAM));
    CHECK(client.log.lines() ==
          "1: reset refused 0: the peer refused the stream (REFUSED_STREAM)\n");
  }
  SUBCASE("GOAWAY before it") {
    client.feed(h2::frame(h2::goaway, h2::none, 0, h2::u32(0) + h2::u32(0)));
    CHECK(client.log.lines() ==
          "1: reset refused 0: the peer refused the stream (REFUSED_STREAM)\n");
    CHECK_FALSE(client.codec->reusable());
    CHECK(client.codec->after_output() == After::close);
  }
  SUBCASE("the end of the connection") {
    client.codec->end_of_input();
    CHECK(client.log.lines() == "1: reset closed 0: the connection closed within the message\n");
    CHECK(client.codec->after_output() == After::close);
  }
  CHECK(client.sink().reset);
}

TEST_CASE("h2 client: a header list over the limit is a bad response") {
  Limits limits;
  limits.header_size = 1000;
  Client client(limits);
  client.ask(request("GET"));
  client.feed(h2::response(1, "200", {{"a", std::string(2000, 'x')}}));
  CHECK(client.log.lines() == "1: reset limit 502: header list is too large\n");
}

TEST_CASE("h2 client: a request may be given up at any time") {
  Client client;
  H2Log::Sink& unsent = client.log.add();
  client.codec->open(unsent)->reset(Errc::cancelled);
  client.go_on();
  CHECK(client.out.lines().empty());
  CHECK(client.codec->idle());
  H2Log::Sink& queued = client.log.add();
  Stream* const stream = client.codec->open(queued);
  stream->send_head(request("GET"), End::yes);
  stream->reset(Errc::cancelled);
  client.go_on();
  CHECK(client.codec->idle());
  client.out.lines();
  client.ask(request("GET")).stream->reset(Errc::cancelled);
  client.go_on();
  CHECK(client.out.lines().ends_with(" CANCEL\n"));
  CHECK(client.codec->idle());
  CHECK(client.log.lines().empty());
}

TEST_CASE("h2 client: no more streams are open than the server allows") {
  Client client;
  client.feed(h2::setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2));
  client.ask(request("GET"));
  CHECK(client.codec->reusable());
  client.ask(request("GET"));
  CHECK_FALSE(client.codec->reusable());
  H2Log::Sink& more = client.log.add();
  CHECK(client.codec->open(more) == nullptr);
  client.feed(h2::response(1, "200"));
  CHECK(client.codec->reusable());
}

// --- both roles

namespace {

// A client and a server whose bytes go to each other in pieces.
struct Pair {
  explicit Pair(std::size_t piece = SIZE_MAX) : step(piece) {
    server.log.answers = false;
    run();
  }

  void run() {
    bool moved = true;
    while (moved) {
      moved = pass(client, server);
      moved = pass(server, client) || moved;
    }
  }
  bool pass(Side& from, Side& to) {
    from.codec->feed({});
    const std::string part = from.take(step);
    from.codec->written();
    if (!part.empty()) to.codec->feed(Bytes(part));
    return !part.empty();
  }
  H2Log::Sink& ask(const Head& head, End end = End::yes) {
    H2Log::Sink& sink = client.log.add();
    sink.stream = client.codec->open(sink);
    sink.stream->send_head(head, end);
    return sink;
  }

  std::size_t step;
  Side client{Role::client};
  Side server{Role::server};
};

// Sends as an exchange does: until full, and on when there is room.
void pour(H2Log::Sink& sink, const std::string& body, std::size_t part) {
  auto at = std::make_shared<std::size_t>(0);
  sink.on_room = [&body, at, part](H2Log::Sink& self) {
    while (*at < body.size()) {
      const std::string_view next = std::string_view{body}.substr(*at, part);
      *at += next.size();
      const End end = *at == body.size() ? End::yes : End::no;
      if (self.stream->send_body(next, end) == Flow::full) return;
    }
  };
  sink.on_room(sink);
}

}  // namespace

TEST_CASE("h2: large content both ways at once, through pieces of any size") {
  const std::string up = some_bytes(3 << 20);
  const std::string down = some_bytes(5 << 20);
  for (const std::size_t piece : {std::size_t{997}, std::size_t{16 << 10}, SIZE_MAX}) {
    Pair pair(piece);
    H2Log::Sink& asked = pair.ask(request("POST", Framing::length, up.size()), End::no);
    pair.server.log.on_new = [&](H2Log::Sink& sink) {
      sink.on_request = [&](H2Log::Sink& self) {
        self.stream->send_head(response(200), End::no);
        pour(self, down, 10'000);
      };
    };
    pour(asked, up, 50'000);
    pair.run();
    CHECK(pair.server.sink().done);
    CHECK(pair.server.sink().body == up);
    CHECK(asked.done);
    CHECK(asked.body == down);
    CHECK(pair.client.codec->idle());
    CHECK(pair.server.codec->idle());
  }
}

TEST_CASE("h2: a hundred streams at once, each with its content") {
  Pair pair(5000);
  std::vector<std::string> bodies;
  for (std::size_t i = 0; i < 100; ++i) bodies.push_back(some_bytes(1000 * i + 1));
  pair.server.log.on_new = [&](H2Log::Sink& sink) {
    sink.on_request = [&, index = pair.server.log.sinks.size() - 1](H2Log::Sink& self) {
      self.stream->send_head(response(200), End::no);
      pour(self, bodies[index], 3000);
    };
  };
  for (std::size_t i = 0; i < 100; ++i) pair.ask(request("GET"));
  pair.run();
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(pair.client.sink(i).done);
    CHECK(pair.client.sink(i).body == bodies[i]);
  }
  CHECK(pair.server.codec->idle());
}

TEST_CASE("h2: a slow side holds its windows' worth, not more") {
  Pair pair;
  const std::string body = some_bytes(8 << 20);
  H2Log::Sink& asked = pair.ask(request("GET"));
  asked.on_part = [](H2Log::Sink& self) { self.stream->receive(false); };
  pair.server.log.on_new = [&](H2Log::Sink& sink) {
    sink.on_request = [&](H2Log::Sink& self) {
      self.stream->send_head(response(200), End::no);
      pour(self, body, 16'384);
    };
  };
  pair.run();
  CHECK(asked.body.size() <= 16'384);
  CHECK(pair.server.slabs.allocated() + pair.client.slabs.allocated() <= 2 << 20);
  while (!asked.done) {
    asked.stream->receive(true);
    pair.run();
  }
  CHECK(asked.body == body);
}
