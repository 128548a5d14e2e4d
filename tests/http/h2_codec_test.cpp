#include "http/h2_codec.h"

#include "support/count_allocations.h"
#include "support/event_log.h"
#include "support/h2_frames.h"
#include "support/h2_log.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

using namespace proxycore;
using namespace proxycore::http;
using test::H2Log;
namespace h2 = test::h2;

namespace {

// No time passes, so that a budget lasts exactly as long as it says.
H2Limits timeless() {
  H2Limits limits;
  limits.clock = []() noexcept { return std::int64_t{0}; };
  return limits;
}

// One side of a connection: a codec, what it told, and what it wrote.
struct Side {
  explicit Side(Role role, const Limits& with = {}, const H2Limits& with_h2 = timeless(),
                bool answers = true)
      : limits(with),
        h2_limits(with_h2),
        log(answers),
        codec(std::make_unique<H2Codec>(role, limits, h2_limits, memory, log)) {
    log.role_is_server = role == Role::server;
  }

  // The bytes lie at the end of their memory, so that a sanitizer sees a read past them.
  void feed(std::string_view bytes) {
    const auto copy = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.get());
    codec->feed(Bytes(copy.get(), bytes.size()));
    go_on();
  }
  // As the connection would: write all, feed again, while the codec asks for it.
  void go_on() {
    do {
      log.output_asked = false;
      codec->feed({});
      while (!codec->output().empty()) {
        out.feed(take());
        codec->written();
      }
    } while (log.output_asked && !codec->output().empty());
  }
  std::string take(std::size_t most = SIZE_MAX) {
    std::string all;
    Chain& chain = codec->output();
    while (!chain.empty() && all.size() < most) {
      const Bytes piece = chain.front();
      const std::size_t part = std::min(piece.size, most - all.size());
      all.append(piece.data, part);
      chain.consume(part);
    }
    return all;
  }
  // Past the handshake of settings.
  void greet() {
    feed(h2::preface() + h2::frame(h2::settings, h2::ack, 0));
    out.lines();
  }
  H2Log::Sink& sink(std::size_t index = 0) { return *log.sinks.at(index); }
  Stream& stream(std::size_t index = 0) { return *sink(index).stream; }

  Limits limits;
  H2Limits h2_limits;
  base::Slabs slabs;
  H2Counters counters;
  H2Memory memory{slabs, counters};
  H2Log log;
  std::unique_ptr<H2Codec> codec;
  h2::Reader out;
};

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

std::string post(const h2::Lines& more = {}) {
  return h2::request(1, "POST", "/a", more, h2::end_headers);
}
std::string content(std::string_view text, std::uint8_t flags = h2::end_stream) {
  return h2::frame(h2::data, flags, 1, text);
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

namespace {

Head response(std::uint16_t status, Framing framing = Framing::chunked, std::uint64_t length = 0) {
  Head head;
  head.status = status;
  head.framing = framing;
  head.content_length = length;
  return head;
}

Head request(std::string_view method, Framing framing = Framing::none, std::uint64_t length = 0) {
  Head head;
  head.method = method;
  head.target = "/";
  head.authority = "a.test";
  head.framing = framing;
  head.content_length = length;
  return head;
}

Bytes bytes(std::string_view text) {
  return {text};
}

std::string some_bytes(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>('a' + (state >> 24) % 26);
  }
  return text;
}

// A server that answers nothing by itself, past its handshake.
struct Server : Side {
  explicit Server(const Limits& with = {}, const H2Limits& with_h2 = timeless())
      : Side(Role::server, with, with_h2, false) {
    greet();
  }
};

}  // namespace

// --- limits of messages

TEST_CASE("h2: what is too large is refused with its own status, the connection goes on") {
  Limits limits;
  limits.header_count = 10;
  limits.header_size = 2048;
  limits.target_size = 100;
  limits.body_size = 1000;
  Server server(limits);
  auto status = [&, id = 1U](const std::string& in) mutable {
    server.feed(in);
    const h2::Reader::Message& message = server.out.messages[id];
    id += 2;
    return message.ended ? message.status : "none";
  };
  CHECK(status(h2::get(1, "/", h2::Lines(11, {"a", "b"}))) == "431");
  CHECK(status(h2::get(3, "/", {{"a", std::string(3000, 'x')}})) == "431");
  CHECK(status(h2::get(5, "/" + std::string(100, 'x'))) == "414");
  CHECK(status(h2::request(7, "POST", "/", {{"content-length", "1001"}}, h2::end_headers)) ==
        "413");
  CHECK(server.out.messages[7].reset);
  CHECK(server.out.messages[7].code == NGHTTP2_NO_ERROR);
  CHECK(status(h2::request(9, std::string(33, 'X'), "/")) == "501");
  server.log.answers = true;
  CHECK(status(h2::get(11)) == "200");
  CHECK(server.codec->after_output() == After::keep);
}

TEST_CASE("h2: content of unknown length that grows too large is refused on the way") {
  Limits limits;
  limits.body_size = 1000;
  Server server(limits);
  server.feed(post() + content(std::string(900, 'x'), h2::none));
  SUBCASE("before the response") {
    server.feed(content(std::string(900, 'x'), h2::none));
    CHECK(server.out.messages[1].status == "413");
    CHECK(server.out.lines().ends_with("RST_STREAM 1 NO_ERROR\n"));
  }
  SUBCASE("within the response") {
    server.stream().send_head(response(200), End::no);
    server.feed(content(std::string(900, 'x'), h2::none));
    CHECK(server.out.lines().ends_with("RST_STREAM 1 PROTOCOL_ERROR\n"));
  }
  CHECK(server.sink().reset);
  server.feed(content(std::string(900, 'x'), h2::none));
  CHECK(server.codec->idle());
}

TEST_CASE("h2: as many streams as agreed are served at a time, more are refused") {
  H2Limits h2_limits;
  h2_limits.streams = 128;
  Server server({}, h2_limits);
  std::string all;
  for (std::uint32_t i = 0; i < 128; ++i) all += h2::get(2 * i + 1);
  server.feed(all);
  CHECK(server.log.sinks.size() == 128);
  CHECK(server.out.lines().empty());
  for (auto& sink : server.log.sinks) server.log.answer(*sink);
  server.go_on();
  for (std::uint32_t i = 0; i < 128; ++i) CHECK(server.out.messages[2 * i + 1].body == "ok");
  CHECK(server.codec->idle());
  CHECK(server.counters.streams.value() == 128);
  server.out.lines();
  SUBCASE("after they have ended there is room again") {
    server.feed(h2::get(257));
    CHECK(server.log.sinks.size() == 129);
  }
  SUBCASE("a client that does not know the limit yet is told REFUSED_STREAM") {
    Side early(Role::server, {}, h2_limits, false);
    early.feed(h2::preface() + all + h2::get(257));
    CHECK(early.log.sinks.size() == 128);
    CHECK(early.out.messages[257].code == NGHTTP2_REFUSED_STREAM);
    CHECK(early.codec->after_output() == After::keep);
  }
  SUBCASE("one that knows it breaks the protocol") {
    server.feed(h2::get(301));
    std::string more;
    for (std::uint32_t i = 0; i < 128; ++i) more += h2::get(2 * i + 303);
    server.feed(more);
    CHECK(server.out.went_away);
    CHECK(server.out.goaway_code == NGHTTP2_PROTOCOL_ERROR);
  }
}

// --- responses

TEST_CASE("h2: names go out in lower case, what belongs to an HTTP/1.1 connection does not") {
  Server server;
  server.feed(h2::get(1));
  Head head = response(200, Framing::length, 2);
  head.reason = "Fine";
  for (const auto& [name, value] : h2::Lines{{"Content-Type", "text/plain"},
                                             {"X-ABC", "Def"},
                                             {"Connection", "close"},
                                             {"Keep-Alive", "1"},
                                             {"Upgrade", "h2c"},
                                             {"Transfer-Encoding", "chunked"},
                                             {"Proxy-Connection", "x"},
                                             {"TE", "trailers"},
                                             {"Content-Length", "7"}}) {
    head.fields.add(name, value);
  }
  server.stream().send_head(head, End::no);
  server.stream().send_body(bytes("ok"), End::yes);
  server.go_on();
  CHECK(server.out.lines() ==
        "HEADERS 1 :status=200 content-type=text/plain x-abc=Def content-length=2\n"
        "DATA 1 ok end\n");
}

TEST_CASE("h2: HEAD, 204 and 304 end with their head") {
  Server server;
  auto answer = [&, index = std::size_t{0}](std::string_view method, Head head) mutable {
    const auto id = static_cast<std::uint32_t>(2 * index + 1);
    server.feed(h2::request(id, method, "/"));
    server.stream(index).send_head(head, End::no);
    server.stream(index).send_body(bytes("dropped"), End::no);
    server.stream(index).send_body({}, End::yes);
    server.go_on();
    ++index;
    return server.out.lines();
  };
  CHECK(answer("HEAD", response(200, Framing::length, 1000)) ==
        "HEADERS 1 end :status=200 content-length=1000\n");
  CHECK(answer("HEAD", response(200)) == "HEADERS 3 end :status=200\n");
  CHECK(answer("GET", response(204, Framing::length, 7)) == "HEADERS 5 end :status=204\n");
  CHECK(answer("GET", response(304, Framing::length, 5)) ==
        "HEADERS 7 end :status=304 content-length=5\n");
  CHECK(answer("GET", response(304, Framing::none)) == "HEADERS 9 end :status=304\n");
  CHECK(server.codec->idle());
}

TEST_CASE("h2: interim responses come before the final one; there is no 101 (RFC 9113 §8.6)") {
  Server server;
  server.feed(h2::get(1) + h2::get(3));
  Head hint = response(103, Framing::none);
  hint.fields.add("Link", "</a.css>");
  server.stream().send_head(response(100, Framing::none), End::no);
  server.stream().send_head(hint, End::no);
  server.stream().send_head(response(200, Framing::none), End::yes);
  server.stream(1).send_head(response(101, Framing::none), End::no);
  server.go_on();
  CHECK(server.out.lines() ==
        "HEADERS 1 :status=100\nHEADERS 1 :status=103 link=</a.css>\n"
        "HEADERS 1 end :status=200 content-length=0\nRST_STREAM 3 INTERNAL_ERROR\n");
}

TEST_CASE("h2: trailers end a response, with or without content before them") {
  Server server;
  server.feed(h2::get(1) + h2::get(3) + h2::get(5));
  Fields trailers;
  trailers.add("X-Sum", "1");
  server.stream().send_head(response(200), End::no);
  server.stream().send_body(bytes("hello"), End::no);
  server.stream().send_trailers(trailers);
  server.stream(1).send_head(response(200), End::no);
  server.stream(1).send_trailers(trailers);
  server.stream(2).send_head(response(200, Framing::length, 2), End::no);
  server.stream(2).send_body(bytes("ok"), End::no);
  server.stream(2).send_trailers(trailers);  // no place for them
  server.go_on();
  for (const std::uint32_t id : {1U, 3U, 5U}) CHECK(server.out.messages[id].ended);
  CHECK(server.out.messages[1].body == "hello");
  CHECK(server.out.messages[1].field("x-sum") == "1");
  CHECK(server.out.messages[3].field("x-sum") == "1");
  CHECK(server.out.messages[5].field("x-sum") == "-");
  CHECK(server.codec->idle());
}

TEST_CASE("h2: content that does not fit its length breaks the stream off, no other") {
  Server server;
  server.feed(h2::get(1) + h2::get(3) + h2::get(5));
  server.stream().send_head(response(200, Framing::length, 5), End::no);
  server.stream().send_body(bytes("too long"), End::yes);
  server.stream(1).send_head(response(200, Framing::length, 5), End::no);
  server.stream(1).send_body(bytes("ok"), End::yes);
  server.log.answer(server.sink(2));
  server.go_on();
  CHECK(server.out.messages[1].code == NGHTTP2_INTERNAL_ERROR);
  CHECK(server.out.messages[3].code == NGHTTP2_INTERNAL_ERROR);
  CHECK_FALSE(server.out.messages[3].ended);
  CHECK(server.out.messages[5].body == "ok");
  CHECK(server.codec->idle());
}

TEST_CASE("h2: a complete answer to a request that goes on ends it with NO_ERROR") {
  Server server;
  server.feed(post() + content("hel", h2::none));
  server.stream().send_head(response(403, Framing::length, 3), End::no);
  server.stream().send_body(bytes("no!"), End::yes);
  server.stream().reset(Errc::closed);
  server.go_on();
  CHECK(server.out.lines() ==
        "HEADERS 1 :status=403 content-length=3\nDATA 1 no! end\nRST_STREAM 1 NO_ERROR\n");
  server.feed(content("lo", h2::end_stream));
  CHECK(server.out.lines().empty());
  CHECK(server.codec->idle());
}

TEST_CASE("h2: content goes on after an early response, to its end") {
  Server server;
  server.feed(post() + content("hel", h2::none));
  server.log.answer(server.sink());
  server.go_on();
  CHECK_FALSE(server.codec->idle());
  server.feed(content("lo", h2::end_stream));
  CHECK(server.log.lines().ends_with("1: content hello\n1: end\n"));
  CHECK(server.codec->idle());
  CHECK_FALSE(server.out.messages[1].reset);
}

TEST_CASE("h2: a reset from above says why") {
  Server server;
  server.feed(h2::get(1) + h2::get(3) + h2::get(5) + h2::get(7));
  server.stream().reset(Errc::cancelled);
  server.stream(1).reset(Errc::refused);
  server.stream(2).send_head(response(200, Framing::length, 10), End::no);
  server.stream(2).send_body(bytes("half"), End::no);
  server.stream(2).reset(Errc::closed);
  server.stream(3).send_head(response(200, Framing::length, 10), End::no);
  server.go_on();
  server.stream(3).send_body(bytes("half"), End::no);
  server.go_on();
  server.stream(3).reset(Errc::timeout);
  server.go_on();
  CHECK(server.out.messages[1].code == NGHTTP2_CANCEL);
  CHECK(server.out.messages[3].code == NGHTTP2_REFUSED_STREAM);
  CHECK(server.out.messages[5].code == NGHTTP2_INTERNAL_ERROR);
  CHECK(server.out.messages[7].code == NGHTTP2_CANCEL);
  CHECK(server.out.messages[7].body == "half");
  CHECK(server.codec->idle());
  CHECK(server.log.lines().find("reset") == std::string::npos);
}

// --- flow control

TEST_CASE("h2: content waits while the stream does not receive, and so does its window") {
  Server server;
  server.feed(post());
  server.stream().receive(false);
  const std::string part(16384, 'x');
  for (int i = 0; i < 16; ++i) server.feed(content(part, h2::none));
  server.feed(h2::get(3));
  CHECK(server.log.lines() ==
        "1: POST /a at 'a.test' chunked\n2: GET / at 'a.test' none\n2: end\n");
  CHECK(server.out.lines().empty());
  SUBCASE("more than the window is an error") {
    server.feed(content("x", h2::none));
    CHECK(server.out.messages[1].code == NGHTTP2_FLOW_CONTROL_ERROR);
    CHECK(server.sink().reset);
  }
  SUBCASE("on is told on a later turn, and opens the windows") {
    server.log.output_asked = false;
    server.stream().receive(true);
    CHECK(server.log.output_asked);
    CHECK(server.sink().body.empty());
    server.go_on();
    CHECK(server.sink().body.size() == 16 * part.size());
    CHECK(server.out.lines() == "WINDOW_UPDATE 1 131072\nWINDOW_UPDATE 1 131072\n");
    server.feed(content("", h2::end_stream));
    CHECK(server.sink().done);
  }
  SUBCASE("a reset gives the connection's window back") {
    server.stream().reset(Errc::cancelled);
    server.go_on();
    for (std::uint32_t id = 5; id <= 9; id += 2) {
      server.feed(h2::request(id, "POST", "/", {}, h2::end_headers));
      for (int i = 0; i < 16; ++i) server.feed(h2::frame(h2::data, h2::none, id, part));
    }
    CHECK(server.out.lines().find("WINDOW_UPDATE 0") != std::string::npos);
    CHECK_FALSE(server.out.went_away);
  }
  SUBCASE("the end waits, too") {
    server.stream().receive(true);
    server.go_on();
    server.stream().receive(false);
    server.feed(content("", h2::end_stream));
    CHECK_FALSE(server.sink().done);
    server.log.answer(server.sink());
    server.go_on();
    CHECK_FALSE(server.sink().done);
    server.stream().receive(true);
    server.go_on();
    CHECK(server.sink().done);
  }
}

TEST_CASE("h2: what is received is taken again and again, with windows to match") {
  Server server;
  server.feed(post());
  const std::string body = some_bytes(4 << 20);
  for (std::size_t at = 0; at < body.size(); at += 16384) {
    server.feed(content(std::string_view{body}.substr(at, 16384), h2::none));
  }
  server.feed(content("", h2::end_stream));
  CHECK_FALSE(server.out.went_away);
  CHECK(server.sink().done);
  CHECK(server.sink().body == body);
}

TEST_CASE("h2: a response waits for the client's windows and then goes on") {
  Server server;
  server.feed(h2::get(1));
  server.stream().send_head(response(200), End::no);
  const std::string body = some_bytes(300'000);
  CHECK(server.stream().send_body(bytes(body), End::no) == Flow::full);
  server.go_on();
  CHECK(server.out.messages[1].body.size() == 65'535);
  CHECK(server.codec->backlog());
  CHECK(server.codec->output().empty());
  CHECK(server.stream().flow() == Flow::ok);
  server.feed(h2::window(0, 120'000));
  CHECK(server.out.messages[1].body.size() == 65'535);
  CHECK(server.sink().sendable == 0);
  server.feed(h2::window(1, 300'000));
  CHECK(server.out.messages[1].body.size() == 185'535);
  CHECK(server.sink().sendable == 1);
  server.feed(h2::window(0, 200'000));
  CHECK(server.out.messages[1].body == body);
  CHECK_FALSE(server.codec->backlog());
  server.stream().send_body({}, End::yes);
  server.go_on();
  CHECK(server.out.messages[1].ended);
}

TEST_CASE("h2: a small response does not wait for a large one") {
  Server server;
  server.feed(h2::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100 << 20) +
              h2::window(0, 100 << 20) + h2::get(1) + h2::get(3));
  server.stream().send_head(response(200), End::no);
  // As an exchange does: as much as the stream takes, and more when it asks.
  const std::string part(64 << 10, 'x');
  const auto fill = [&](H2Log::Sink& sink) {
    while (sink.stream->send_body(bytes(part), End::no) == Flow::ok) {
    }
  };
  server.sink().on_room = fill;
  fill(server.sink());
  server.codec->feed({});
  std::size_t taken = 0;
  while (taken < 10 << 20) {
    server.out.feed(server.take(32 << 10));
    taken += 32 << 10;
    server.codec->written();
    CHECK(server.codec->output().size() <= 148 << 10);
  }
  server.log.answer(server.sink(1));
  const std::size_t before = server.out.content;
  while (!server.out.messages[3].ended) {
    server.out.feed(server.take(32 << 10));
    server.codec->written();
  }
  CHECK(server.out.content - before <= 256 << 10);
}

TEST_CASE("h2: among responses that wait, the urgent ones go first (RFC 9218)") {
  Server server;
  server.feed(h2::get(1) + h2::get(3, "/", {{"priority", "i, u=1"}}) +
              h2::get(5, "/", {{"priority", "u=7"}}) + h2::get(7, "/", {{"priority", "u=9, x"}}));
  for (std::size_t i = 0; i < 4; ++i) server.log.answer(server.sink(i), std::to_string(i));
  server.go_on();
  const std::string lines = server.out.lines();
  CHECK(lines.substr(lines.find("DATA")) ==
        "DATA 3 1 end\nDATA 1 0 end\nDATA 7 3 end\nDATA 5 2 end\n");
}

TEST_CASE("h2: many large responses share what a connection holds") {
  Server server;
  std::string all;
  for (std::uint32_t i = 0; i < 100; ++i) all += h2::get(2 * i + 1);
  server.feed(all);
  const std::string part(16 << 10, 'x');
  std::size_t held = 0;
  for (auto& sink : server.log.sinks) {
    sink->stream->send_head(response(200), End::no);
    while (sink->stream->send_body(bytes(part), End::no) == Flow::ok) held += part.size();
  }
  CHECK(held <= 4 * (256 << 10) + 100 * 2 * part.size());
  server.feed(h2::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20) + h2::window(0, 64 << 20));
  for (auto& sink : server.log.sinks) CHECK(sink->sendable == 1);
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

// --- abuse

namespace {

// Feeds `part` until the server ends the connection; how often. It must come soon, and with the
// right word.
std::size_t until_ended(Side& server, const std::function<std::string(std::size_t)>& part,
                        std::size_t most = 20'000, bool reads = true) {
  std::size_t count = 0;
  while (count < most && server.codec->after_output() == After::keep) {
    const std::string next = part(count++);
    if (reads) {
      server.feed(next);
    } else {
      server.codec->feed(Bytes(next));
    }
  }
  server.go_on();
  CHECK(server.out.went_away);
  CHECK(server.out.goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
  CHECK(server.counters.abuse.value() == 1);
  CHECK(server.codec->after_output() == After::linger);
  for (const auto& sink : server.log.sinks) CHECK((sink->done || sink->reset));
  return count;
}

std::uint32_t stream_of(std::size_t index) {
  return static_cast<std::uint32_t>(2 * index + 1);
}

}  // namespace

TEST_CASE("h2 abuse: rapid reset (CVE-2023-44487)") {
  Server server;
  const std::size_t count = until_ended(server, [](std::size_t i) {
    return h2::get(stream_of(i)) + h2::reset(stream_of(i), NGHTTP2_CANCEL);
  });
  CHECK(count <= 201);
  CHECK(server.log.lines().ends_with("200: reset protocol 0: too many requests were reset\n"));
}

TEST_CASE("h2 abuse: rapid reset with time between is forgiven") {
  static std::int64_t now = 0;
  now = 0;
  H2Limits h2_limits;
  h2_limits.clock = []() noexcept { return now; };
  Server server({}, h2_limits);
  for (std::size_t i = 0; i < 1000; ++i) {
    server.feed(h2::get(stream_of(i)) + h2::reset(stream_of(i), NGHTTP2_CANCEL));
    now += 52;  // nineteen a second
  }
  CHECK(server.codec->after_output() == After::keep);
}

TEST_CASE("h2 abuse: the server made to reset (CVE-2025-8671)") {
  const auto provoke = [](const std::function<std::string(std::uint32_t)>& cause) {
    Server server;
    return until_ended(server, [&](std::size_t i) {
      const std::uint32_t id = stream_of(i);
      return h2::request(id, "POST", "/", {{"content-length", "5"}}, h2::end_headers) + cause(id);
    });
  };
  // A window that overflows; content that is too long; a malformed trailer section.
  CHECK(provoke([](std::uint32_t id) { return h2::window(id, 0x7fffffff); }) <= 201);
  CHECK(provoke([](std::uint32_t id) { return h2::frame(h2::data, h2::none, id, "too long"); }) <=
        201);
  CHECK(provoke([](std::uint32_t id) {
          return h2::frame(h2::headers, h2::whole, id, h2::block({{"X", "y"}}));
        }) <= 201);
  // Requests that are malformed from the beginning.
  Server server;
  CHECK(until_ended(server, [](std::size_t i) {
          return h2::get(stream_of(i), "/", {{"X", "y"}});
        }) <= 201);
}

TEST_CASE("h2 abuse: CONTINUATION without end (CVE-2024-27316 and others)") {
  for (const std::size_t size : {0U, 1U, 100U, 16384U}) {
    Server server;
    server.feed(h2::request(1, "GET", "/", {}, h2::end_stream));
    std::string part;
    while (part.size() < size) part += h2::block({{"a", "b"}});
    part.resize(part.size() / 5 * 5);
    const std::size_t count = until_ended(
        server, [&](std::size_t) { return h2::frame(h2::continuation, h2::none, 1, part); });
    CHECK(count <= 9);
  }
}

TEST_CASE("h2 abuse: a header list that unpacks without end (HPACK bomb)") {
  Server server;
  // One field of 3 KB goes into the table; then a byte names it again and again.
  std::string block = "\x40";  // literal with incremental indexing, new name
  block += std::string("\x01", 1) + "a" + "\x7f" + "\xb9\x16" + std::string(3000, 'x');
  std::string bomb =
      h2::block(
          {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a.test"}}) +
      block + std::string(10'000, '\xbe');
  server.feed(h2::frame(h2::headers, h2::whole, 1, bomb));
  CHECK(server.out.went_away);
  CHECK(server.out.goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
  CHECK(server.counters.abuse.value() == 1);
  CHECK(server.log.sinks.empty());
}

TEST_CASE("h2 abuse: floods of frames that are of no use") {
  const auto flood = [](const std::function<std::string(std::size_t)>& part, bool reads = true) {
    Server server;
    server.feed(post());
    return until_ended(server, part, 20'000, reads);
  };
  const auto same = [](std::string frame) {
    return [frame = std::move(frame)](std::size_t) { return frame; };
  };
  const std::string ping = h2::frame(h2::ping, h2::none, 0, "12345678");
  SUBCASE("PING") {
    CHECK(flood(same(ping)) <= 1001);
  }
  SUBCASE("PING, whose answers are not read") {
    CHECK(flood(same(ping), false) <= 1001);
  }
  SUBCASE("answers to no PING") {
    CHECK(flood(same(h2::frame(h2::ping, h2::ack, 0, "12345678"))) <= 5001);
  }
  SUBCASE("SETTINGS") {
    CHECK(flood(same(h2::frame(h2::settings, h2::none, 0))) <= 1001);
  }
  SUBCASE("SETTINGS that change all windows") {
    CHECK(flood([](std::size_t i) {
            return h2::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, i % 2 == 0 ? 1 : 100'000);
          }) <= 1001);
  }
  SUBCASE("empty DATA") {
    CHECK(flood(same(content("", h2::none))) <= 5001);
  }
  SUBCASE("DATA of padding only") {
    CHECK(flood(same(content(std::string("\x03\0\0\0", 4), h2::padded))) <= 5001);
  }
  SUBCASE("PRIORITY") {
    CHECK(flood(same(h2::frame(h2::priority, h2::none, 1, std::string("\0\0\0\x03\x10", 5)))) <=
          5001);
  }
  SUBCASE("PRIORITY_UPDATE") {
    CHECK(flood(same(h2::frame(16, h2::none, 0, h2::u32(1) + "u=1"))) <= 5001);
  }
  SUBCASE("unknown frames") {
    CHECK(flood(same(h2::frame(200, h2::none, 0, "x"))) <= 5001);
  }
  SUBCASE("RST_STREAM of streams that have ended") {
    CHECK(flood([](std::size_t i) { return i == 0 ? h2::reset(1, 8) : h2::reset(1, 0); }) <= 5001);
  }
  SUBCASE("windows that open byte by byte") {
    CHECK(flood(same(h2::window(1, 1))) <= 5001);
  }
  SUBCASE("requests that are refused, and nobody reads it") {
    Side server(Role::server, {}, timeless(), false);
    server.feed(h2::preface());
    CHECK(until_ended(
              server, [](std::size_t i) { return h2::get(stream_of(i)); }, 20'000, false) <= 400);
  }
}

TEST_CASE("h2 abuse: a budget is not touched by a busy connection that behaves") {
  Server server;
  server.log.answers = true;
  for (std::size_t i = 0; i < 30'000; ++i) {
    server.feed(h2::get(stream_of(i)) + h2::window(0, 100));
    if (i % 100 == 0) server.feed(h2::frame(h2::ping, h2::none, 0, "12345678"));
  }
  CHECK(server.codec->after_output() == After::keep);
}

TEST_CASE("h2 abuse: a stream whose window stays closed is reset, others are not") {
  Server server;
  server.feed(h2::window(0, 10 << 20) + h2::get(1) + h2::get(3));
  server.stream().send_head(response(200), End::no);
  server.stream().send_body(bytes(std::string(100'000, 'x')), End::no);
  server.stream(1).send_head(response(200), End::no);
  server.stream(1).send_body(bytes("a little"), End::no);
  server.go_on();
  server.codec->drop_stalled();
  CHECK_FALSE(server.sink().reset);
  SUBCASE("after it has had its time") {
    server.codec->drop_stalled();
    server.go_on();
    CHECK(server.log.lines().ends_with("1: reset timeout 0: the stream's window stays closed\n"));
    CHECK(server.out.messages[1].code == NGHTTP2_CANCEL);
    CHECK_FALSE(server.sink(1).reset);
    CHECK_FALSE(server.codec->backlog());
    CHECK(server.codec->after_output() == After::keep);
  }
  SUBCASE("slow is not stalled") {
    for (int i = 0; i < 30; ++i) {
      server.feed(h2::window(1, 100));
      server.codec->drop_stalled();
    }
    CHECK_FALSE(server.sink().reset);
  }
  SUBCASE("an end that has no room either") {
    server.stream().send_body({}, End::yes);
    server.codec->drop_stalled();
    server.go_on();
    CHECK(server.out.messages[1].code == NGHTTP2_CANCEL);
    CHECK_FALSE(server.codec->backlog());
  }
}

TEST_CASE("h2 abuse: a connection whose window stays closed is ended") {
  Server server;
  server.feed(h2::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20) + h2::get(1) + h2::get(3));
  for (const std::size_t i : {0U, 1U}) {
    server.stream(i).send_head(response(200), End::no);
    server.stream(i).send_body(bytes(std::string(100'000, 'x')), End::no);
  }
  server.go_on();
  CHECK(server.out.content == 65'535);
  server.codec->drop_stalled();
  CHECK(server.codec->after_output() == After::keep);
  server.codec->drop_stalled();
  server.go_on();
  CHECK(server.out.goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
  CHECK(server.sink(0).reset);
  CHECK(server.sink(1).reset);
  CHECK(server.codec->after_output() == After::linger);
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

// --- memory

TEST_CASE("h2: a warm request allocates nothing") {
  struct Quiet final : Codec::Peer, StreamEvents {
    StreamEvents& on_stream(Stream& opened) override {
      stream = &opened;
      return *this;
    }
    void on_output() override {}
    void on_receive(bool) override {}
    void on_head(Head& got, End end) override {
      swap(head, got);
      if (end == End::yes) answer();
    }
    void on_body(Bytes, End end) override {
      if (end == End::yes) answer();
    }
    void on_trailers(Fields&) override {}
    void on_sendable() override {}
    void on_reset(const Reset&) override { ++resets; }
    void answer() {
      reply.content_length = body.size();
      stream->send_head(reply, End::no);
      stream->send_body(Bytes(body), End::yes);
    }
    Stream* stream = nullptr;
    Head head;
    Head reply = response(200, Framing::length);
    std::string body = std::string(1024, 'x');
    int resets = 0;
  } peer;
  peer.reply.fields.add("Content-Type", "text/html; charset=utf-8");
  peer.reply.fields.add("X-Request-Id", "0123456789abcdef01234567");
  peer.reply.fields.add("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
  const Limits limits;
  const H2Limits h2_limits;
  base::Slabs slabs;
  H2Counters counters;
  H2Memory memory(slabs, counters);
  H2Codec codec(Role::server, limits, h2_limits, memory, peer);
  const auto feed = [&](std::string_view in) {
    codec.feed(Bytes(in));
    while (!codec.output().empty()) {
      codec.output().clear();
      codec.written();
    }
  };
  feed(h2::preface() + h2::setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30));
  for (int i = 0; i < 20; ++i) feed(h2::window(0, 100 << 20));
  const std::string agent(80, 'a');
  const auto input = [&](std::size_t i) {
    const std::uint32_t id = stream_of(i);
    const h2::Lines more = {{"user-agent", agent}, {"accept", "*/*"}, {"cookie", "a=b"}};
    return i % 2 == 0 ? h2::get(id, "/some/where?with=a&query=1", more)
                      : h2::request(id, "POST", "/", more, h2::end_headers) +
                            h2::frame(h2::data, h2::end_stream, id, agent);
  };
  std::size_t count = 0;
  for (std::size_t i = 0; i < 500; ++i) {
    const std::string in = input(i);
    const std::size_t before = test::allocations();
    feed(in);
    if (i >= 100) count += test::allocations() - before;
  }
  CHECK(count == 0);
  CHECK(peer.resets == 0);
  CHECK(peer.head.method == "POST");
}

TEST_CASE("h2: an idle connection holds little") {
  base::Slabs slabs;
  H2Counters counters;
  H2Memory memory(slabs, counters);
  const Limits limits;
  const H2Limits h2_limits;
  H2Log log;
  H2Codec codec(Role::server, limits, h2_limits, memory, log);
  codec.feed(bytes(h2::preface() + h2::get(1)));
  codec.output().clear();
  codec.written();
  CHECK(codec.idle());
  MESSAGE("nghttp2 holds ", memory.used(), " bytes, the codec ", sizeof(H2Codec));
  // Of the frame's buffer, 20 KiB of it, a page is touched.
  CHECK(memory.used() <= 34 << 10);
  CHECK(sizeof(H2Codec) <= 400);
}
