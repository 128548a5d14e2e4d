#include "http/h2_stream.h"

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
