#include "http/h2_head.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::http;

namespace {

H2Block block_of(const std::vector<std::pair<std::string_view, std::string_view>>& lines,
                 H2Block::Kind kind = H2Block::Kind::request, const Limits& limits = {}) {
  H2Block block;
  block.begin(kind);
  for (const auto& [name, value] : lines) block.add(name, value, limits);
  return block;
}

std::string text_of(const H2Lines& lines) {
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const nghttp2_nv& line = lines.data()[i];
    text.append(reinterpret_cast<const char*>(line.name), line.namelen).append("=");
    text.append(reinterpret_cast<const char*>(line.value), line.valuelen).append(";");
  }
  return text;
}

}  // namespace

TEST_CASE("h2 head: a request as the rest of the proxy knows it") {
  H2Block block = block_of({{":method", "POST"},
                            {":scheme", "https"},
                            {":path", "/a?b"},
                            {":authority", "a.test:8443"},
                            {"content-length", "7"},
                            {"cookie", "a=b"},
                            {"host", "a.test:8443"},
                            {"cookie", "c=d"}});
  CHECK_FALSE(block.settle_request({}, End::no));
  CHECK(block.head.version == Version::http2);
  CHECK(block.head.method == "POST");
  CHECK(block.head.target == "/a?b");
  CHECK(block.head.authority == "a.test:8443");
  CHECK(block.head.framing == Framing::length);
  CHECK(block.head.content_length == 7);
  CHECK(block.head.fields.find("Cookie") == "a=b; c=d");
  CHECK_FALSE(block.head.fields.has(FieldId::host));
  CHECK_FALSE(block.head.upgrade);
}

TEST_CASE("h2 head: a header list counts 32 bytes more for every field") {
  Limits limits;
  limits.header_size = 200;
  const H2Block block = block_of({{":method", "GET"}, {"a", "b"}}, H2Block::Kind::request, limits);
  CHECK(block.size() == 7 + 3 + 32 + 2 + 32);
  H2Block large =
      block_of({{":method", "GET"}, {"a", std::string(200, 'x')}}, H2Block::Kind::request, limits);
  const framing::Fault fault = large.settle_request(limits, End::yes);
  REQUIRE(fault);
  CHECK(fault->status == 431);
  H2Block trailers = block_of({{"a", std::string(200, 'x')}}, H2Block::Kind::trailers, limits);
  CHECK(trailers.settle_trailers());
}

TEST_CASE("h2 head: a response's head goes out with what frames it") {
  H2Lines lines;
  Head head;
  head.status = 200;
  lines.response(head, false);
  CHECK(text_of(lines) == ":status=200;content-length=0;");
  head.framing = Framing::until_close;
  head.fields.add("X-A", "b");
  head.fields.add("Connection", "close");
  lines.response(head, false);
  CHECK(text_of(lines) == ":status=200;X-A=b;");
  head.framing = Framing::length;
  head.content_length = 12345;
  lines.response(head, false);
  CHECK(text_of(lines) == ":status=200;X-A=b;content-length=12345;");
  head.status = 204;
  lines.response(head, true);
  CHECK(text_of(lines) == ":status=204;X-A=b;");
}

TEST_CASE("h2 head: CONNECT has an authority only") {
  H2Lines lines;
  Head head;
  head.method = "CONNECT";
  head.target = head.authority = "a.test:443";
  lines.request(head);
  CHECK(text_of(lines) == ":method=CONNECT;:authority=a.test:443;");
}
