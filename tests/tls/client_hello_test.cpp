#include "tls/client_hello.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using tls::ClientHello;
using tls::ClientHelloReader;
using tls::parse_client_hello;

namespace {

std::string number(std::size_t value, int bytes) {
  std::string text;
  while (bytes-- > 0) text += static_cast<char>(value >> (8 * bytes));
  return text;
}

std::string vector_of(std::string_view content, int length_bytes) {
  return number(content.size(), length_bytes).append(content);
}

std::string extension(std::size_t kind, std::string_view content) {
  return number(kind, 2) + vector_of(content, 2);
}

std::string server_name(std::string_view name) {
  return extension(0, vector_of(std::string(1, 0) + vector_of(name, 2), 2));
}

std::string alpn() {
  return extension(16, vector_of(vector_of("h2", 1) + vector_of("http/1.1", 1), 2));
}

std::string message(const std::string& body, char type = 1) {
  return type + vector_of(body, 3);
}

// Everything before the extensions.
std::string start_of_body() {
  return number(0x0303, 2) + std::string(32, 'r') + vector_of("", 1) +
         vector_of(number(0x1301, 2), 2) + vector_of(std::string(1, 0), 1);
}

std::string hello_with(const std::string& extensions) {
  return message(start_of_body() + vector_of(extensions, 2));
}

std::string hello() {
  return hello_with(server_name("a.Example.test") + extension(10, number(2, 2) + number(29, 2)) +
                    extension(13, vector_of(number(0x0403, 2) + number(0x0804, 2), 2)) + alpn() +
                    extension(43, vector_of(number(0x0304, 2) + number(0x0303, 2), 1)) +
                    extension(0xfe0d, "unknown"));
}

// As records of at most `size` bytes each.
std::string records(std::string_view bytes, std::size_t size, char type = 22) {
  std::string all;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
    all += type + number(0x0301, 2) + vector_of(bytes.substr(0, size), 2);
  }
  return all;
}

Errc fault(std::string_view bytes) {
  ClientHelloReader reader;
  const auto taken = reader.feed(bytes);
  REQUIRE_FALSE(taken.has_value());
  return taken.error().code;
}

}  // namespace

TEST_CASE("client hello: name, protocols, signature algorithms and versions are found") {
  const std::string text = hello();
  const auto read = parse_client_hello(text);
  REQUIRE(read.has_value());
  CHECK(read->server_name == "a.Example.test");
  CHECK(read->legacy_version == 0x0303);
  CHECK(read->has_protocol("h2"));
  CHECK(read->has_protocol("http/1.1"));
  CHECK_FALSE(read->has_protocol("http/1.0"));
  CHECK_FALSE(read->has_protocol(""));
  CHECK(read->has_signature_algorithm(0x0403));
  CHECK(read->has_signature_algorithm(0x0804));
  CHECK_FALSE(read->has_signature_algorithm(0x0308));
  CHECK(read->has_version(0x0304));
  CHECK_FALSE(read->has_version(0x0302));
}

TEST_CASE("client hello: none of the extensions has to be there") {
  for (const std::string& text : {message(start_of_body()), hello_with("")}) {
    const auto read = parse_client_hello(text);
    REQUIRE(read.has_value());
    CHECK(read->server_name.empty());
    CHECK(read->alpn.empty());
    CHECK_FALSE(read->has_version(0x0304));
  }
}

TEST_CASE("client hello: names of unknown kinds are passed over (RFC 6066 §3)") {
  const std::string names =
      std::string(1, 7) + vector_of("x", 2) + std::string(1, 0) + vector_of("b.test", 2);
  const std::string text = hello_with(extension(0, vector_of(names, 2)));
  const auto read = parse_client_hello(text);
  REQUIRE(read.has_value());
  CHECK(read->server_name == "b.test");
}

TEST_CASE("client hello: malformed extensions are refused") {
  const std::string one = std::string(1, 0) + vector_of("a", 2);
  for (const std::string& extensions : {
           server_name("a") + server_name("b"),    // twice
           extension(0, vector_of(one + one, 2)),  // two host names
           server_name(""),                        // empty name
           extension(0, ""),                       // no list
           extension(0, vector_of(one, 2) + "x"),  // something behind the list
           extension(0, number(9, 2) + one),       // list longer than the extension
           extension(0, vector_of(std::string(1, 0) + number(9, 2) + "a", 2)),
           extension(16, ""),
           extension(16, number(0, 2)),
           extension(16, vector_of(vector_of("", 1), 2)),
           extension(16, vector_of("\x05h2", 2)),
           extension(13, vector_of("abc", 2)),
           extension(13, vector_of("", 2)),
           extension(43, ""),
           extension(43, vector_of("a", 1)),
           extension(43, number(9, 1) + number(0x0304, 2)),
           number(7, 2),  // cut
           number(7, 2) + number(5, 2) + "four",
       }) {
    CAPTURE(extensions);
    const std::string text = hello_with(extensions);
    const auto read = parse_client_hello(text);
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().code == Errc::protocol);
    CHECK(read.error().detail.starts_with("ClientHello: "));
  }
}

TEST_CASE("client hello: every cut of the message is refused") {
  const std::string body = hello().substr(4);
  for (std::size_t size = 0; size < body.size(); ++size) {
    // Without extensions it is whole again.
    const bool whole = size == start_of_body().size();
    CAPTURE(size);
    const std::string text = message(body.substr(0, size));
    CHECK(parse_client_hello(text).has_value() == whole);
    const std::string shorter = hello().substr(0, size);
    CHECK_FALSE(parse_client_hello(shorter).has_value());
  }
  CHECK_FALSE(parse_client_hello(hello() + "x").has_value());
  CHECK_FALSE(parse_client_hello(message(body + "x")).has_value());
  CHECK_FALSE(parse_client_hello(message(body, 2)).has_value());
}

TEST_CASE("client hello: it is put together from any records and any reads") {
  const std::string text = hello();
  for (const std::size_t record : {std::size_t{1}, std::size_t{3}, std::size_t{4}, std::size_t{5},
                                   std::size_t{100}, std::size_t{16384}}) {
    const std::string wire = records(text, record);
    const std::string more = wire + records("\x01", 1, 20);  // what may follow
    for (std::size_t step = 1; step <= more.size(); step = step * 2 + 1) {
      CAPTURE(record);
      CAPTURE(step);
      ClientHelloReader reader;
      std::size_t total = 0;
      for (std::size_t at = 0; at < more.size() && !reader.complete(); at += step) {
        const auto taken = reader.feed(std::string_view(more).substr(at, step));
        REQUIRE(taken.has_value());
        total += *taken;
      }
      CHECK(reader.complete());
      CHECK(total == wire.size());
      CHECK(reader.message() == text);
      CHECK(reader.feed("x").value() == 0);
    }
  }
}

TEST_CASE("client hello: one that is not whole waits") {
  const std::string wire = records(hello(), 50);
  ClientHelloReader reader;
  CHECK(reader.feed({}).value() == 0);
  CHECK_FALSE(reader.complete());
  CHECK(reader.feed(std::string_view(wire).substr(0, wire.size() - 1)).value() == wire.size() - 1);
  CHECK_FALSE(reader.complete());
}

TEST_CASE("client hello: the largest is taken, a larger one refused by its header alone") {
  const std::size_t fixed = hello_with(extension(21, "")).size();
  const std::string largest =
      hello_with(extension(21, std::string(ClientHelloReader::max_message - fixed, 0)));
  ClientHelloReader reader;
  REQUIRE(reader.feed(records(largest, 1000)).has_value());
  CHECK(reader.complete());
  CHECK(parse_client_hello(reader.message()).has_value());
  CHECK(fault(records(std::string(1, 1) + number(ClientHelloReader::max_message - 3, 3), 100)) ==
        Errc::limit);
}

TEST_CASE("client hello: what is no TLS is refused at the first byte that tells") {
  CHECK(fault("\x80\x2e\x01") == Errc::protocol);                              // SSL 2
  CHECK(fault(std::string("\x16\x02\x00\x00\x05", 5)) == Errc::protocol);      // no such version
  CHECK(fault(std::string("\x16\x03\x01\x00\x00", 5)) == Errc::protocol);      // an empty record
  CHECK(fault("\x16\x03\x01\x40\x01") == Errc::protocol);                      // a record over 2^14
  CHECK(fault(std::string("\x16\x03\x01\x00\x05\x02", 6)) == Errc::protocol);  // a ServerHello
  CHECK(fault(std::string("\x15\x03\x01\x00\x02\x02\x28", 7)) == Errc::protocol);  // an alert
  CHECK(fault(records(hello() + "x", 16384)) == Errc::protocol);  // something behind it
  CHECK(fault("SSH-2.0-x") == Errc::protocol);
}

TEST_CASE("client hello: plain HTTP is told from garbage, however it arrives") {
  for (const std::string_view text :
       {"GET / HTTP/1.1\r\n", "HEAD / HTTP/1.0\r\n", "POST /x HTTP/1.1\r\n", "PUT /x HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n"}) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{3}, text.size()}) {
      CAPTURE(text);
      CAPTURE(step);
      ClientHelloReader reader;
      bool failed = false;
      for (std::size_t at = 0; at < text.size() && !failed; at += step) {
        failed = !reader.feed(text.substr(at, step)).has_value();
      }
      CHECK(failed);
      CHECK(reader.is_http());
    }
  }
  for (const std::string_view text : {"GEX / HTTP/1.1", "get / HTTP", "HELO x", "PUTS x"}) {
    ClientHelloReader reader;
    CHECK_FALSE(reader.feed(text).has_value());
    CHECK_FALSE(reader.is_http());
  }
}
