#include "http/h2_callbacks.h"

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
