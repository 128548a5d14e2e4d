#include "http/h1_write.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::http;

namespace {

std::string taken(base::Chain& chain) {
  std::string all;
  while (!chain.empty()) {
    const base::Bytes piece = chain.front();
    all.append(piece.text());
    chain.consume(piece.size);
  }
  return all;
}

std::string written(const Head& head, const Wire& wire = {}) {
  base::Slabs slabs;
  base::Chain chain(slabs);
  append_head(chain, head, wire);
  return taken(chain);
}

Head request(std::string method) {
  Head head;
  head.method = std::move(method);
  head.target = "/x";
  head.authority = "a.test";
  return head;
}

Head response(std::uint16_t status) {
  Head head;
  head.status = status;
  return head;
}

}  // namespace

TEST_CASE("write: Host comes first, from the authority, and once (RFC 9112 §3.2)") {
  Head head = request("GET");
  head.fields.add("X-One", "1");
  head.fields.add(FieldId::host, "other.test");
  CHECK(written(head) == "GET /x HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\n\r\n");
}

TEST_CASE("write: framing fields come from the framing alone (RFC 9112 §6)") {
  Head head = response(200);
  head.fields.add(FieldId::content_length, "7");
  head.fields.add(FieldId::transfer_encoding, "gzip");
  head.fields.add(FieldId::connection, "X");
  head.fields.add("X", "y");
  head.framing = Framing::length;
  head.content_length = 18446744073709551615ULL;
  CHECK(written(head, {Framing::length}) ==
        "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 18446744073709551615\r\n\r\n");
  CHECK(written(head, {Framing::chunked}) ==
        "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
  CHECK(written(head, {Framing::until_close, false}) ==
        "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n");
}

TEST_CASE("write: a POST without content says so, a GET does not (RFC 9110 §8.6)") {
  CHECK(written(request("POST")).find("Content-Length: 0\r\n") != std::string::npos);
  CHECK(written(request("GET")).find("Content-Length") == std::string::npos);
}

TEST_CASE("write: an answer to HEAD and a 304 keep the length, 1xx and 204 have none") {
  Head head = response(304);
  head.framing = Framing::length;
  head.content_length = 5;
  CHECK(written(head) == "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
  head.status = 204;
  CHECK(written(head) == "HTTP/1.1 204 No Content\r\n\r\n");
  head.status = 103;
  CHECK(written(head, {Framing::none, false}) == "HTTP/1.1 103 Early Hints\r\n\r\n");
}

TEST_CASE("write: the reason is kept as received, the usual one otherwise (RFC 9112 §4)") {
  Head head = response(404);
  head.reason = "Nope";
  CHECK(written(head) == "HTTP/1.1 404 Nope\r\n\r\n");
  CHECK(written(response(599)) == "HTTP/1.1 599 \r\n\r\n");
}

TEST_CASE("write: Connection names what the message needs (RFC 9110 §7.6.1)") {
  CHECK(written(response(204), {Framing::none, true, true}) ==
        "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
  Head upgrade = request("GET");
  upgrade.upgrade = true;
  upgrade.fields.add("Upgrade", "websocket");
  upgrade.fields.add("TE", "trailers");
  CHECK(written(upgrade) ==
        "GET /x HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nTE: trailers\r\n"
        "Connection: upgrade, TE\r\n\r\n");
  CHECK(written(upgrade, {Framing::none, false}).find("Connection: close, upgrade, TE\r\n") !=
        std::string::npos);
  upgrade.upgrade = false;
  CHECK(written(upgrade).find("Upgrade") == std::string::npos);
  Head switched = response(101);
  switched.upgrade = true;
  switched.fields.add("Upgrade", "websocket");
  CHECK(written(switched, {Framing::none, false}) ==
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

TEST_CASE("write: heads larger than a slab come out whole") {
  Head head = response(200);
  for (int i = 0; i < 40; ++i) head.fields.add("X", std::string(10000, 'x'));
  CHECK(written(head, {Framing::length}).size() > 400000);
}

TEST_CASE("write: chunks, the last one with trailers (RFC 9112 §7.1)") {
  base::Slabs slabs;
  base::Chain chain(slabs);
  append_chunk(chain, std::string_view{});
  CHECK(chain.empty());
  append_chunk(chain, std::string_view{"hello world, sixteen"});
  append_last_chunk(chain);
  CHECK(taken(chain) == "14\r\nhello world, sixteen\r\n0\r\n\r\n");
  Fields trailers;
  trailers.add("X-Sum", "1");
  append_last_chunk(chain, trailers);
  CHECK(taken(chain) == "0\r\nX-Sum: 1\r\n\r\n");
}

TEST_CASE("write: a long part of a slab is shared, not copied") {
  base::Slabs slabs;
  base::Chain chain(slabs);
  base::SlabRef slab = slabs.take(64 << 10);
  std::memset(slab->data(), 'x', 40000);
  append_chunk(chain, base::Bytes(slab->data(), 40000, slab.get()));
  CHECK_FALSE(slab.sole());
  CHECK(taken(chain) == "9c40\r\n" + std::string(40000, 'x') + "\r\n");
}
