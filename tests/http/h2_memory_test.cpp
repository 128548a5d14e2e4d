#include "http/h2_memory.h"

#include "support/count_allocations.h"
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
