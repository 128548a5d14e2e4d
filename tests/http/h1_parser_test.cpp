#include "http/h1_parser.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::http;
using Step = H1Parser::Step;

namespace {

const Limits limits;

// Everything that run() makes of `text`, and how much of it was left.
struct Read {
  std::string content;
  Step last = Step::more;
  std::size_t left = 0;
};

Read read(H1Parser& parser, std::string_view text) {
  Read result;
  Bytes in(text);
  do {
    result.last = parser.run(in);
    if (result.last == Step::body) result.content.append(parser.body().text());
  } while (result.last == Step::body);
  result.left = in.size;
  return result;
}

}  // namespace

TEST_CASE("h1 parser: fields end at the empty line, what follows is left (RFC 9112 §5)") {
  H1Parser parser;
  parser.begin();
  parser.begin_fields(limits, 0);
  const Read got = read(parser, "Host: a\r\nX:\r\nY: \t b \r\n\r\nrest");
  CHECK(got.last == Step::fields);
  CHECK(got.left == 4);
  CHECK(parser.head.fields.size() == 3);
  CHECK(parser.head.fields.find("x") == "");
  CHECK(parser.head.fields.find("y") == "b");
}

TEST_CASE("h1 parser: a field that comes in pieces is put together, without outer blanks") {
  H1Parser parser;
  parser.begin();
  parser.begin_fields(limits, 0);
  for (const char c : std::string_view{"Connection: \t keep- alive \t \r\nX:\r\n\r"}) {
    CHECK(read(parser, {&c, 1}).last == Step::more);
  }
  CHECK(read(parser, "\n").last == Step::fields);
  CHECK(parser.head.fields.find(FieldId::connection) == "keep- alive");
  CHECK(parser.head.fields.find("X") == "");
}

TEST_CASE("h1 parser: chunks come out as they lie in the input (RFC 9112 §7.1)") {
  H1Parser parser;
  parser.begin();
  parser.begin_fields(limits, 0);
  REQUIRE(read(parser, "Transfer-Encoding: chunked\r\n\r\n").last == Step::fields);
  parser.begin_chunks(100);
  base::Slabs slabs;
  base::SlabRef slab = slabs.take(100);
  const std::string_view text = "5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n";
  std::memcpy(slab->data(), text.data(), text.size());
  Bytes in(slab->data(), text.size(), slab.get());
  REQUIRE(parser.run(in) == Step::body);
  CHECK(parser.body().text() == "hello");
  CHECK(parser.body().data == slab->data() + 9);
  CHECK(parser.body().slab == slab.get());
  CHECK(parser.run(in) == Step::end);
  CHECK(in.empty());
  CHECK(parser.trailers.find("X") == "y");
}

TEST_CASE("h1 parser: one parser reads message after message") {
  H1Parser parser;
  for (int i = 0; i < 3; ++i) {
    parser.begin();
    parser.begin_fields(limits, 0);
    CHECK(read(parser, "Connection: close\r\nContent-Length: 5\r\n\r\n").last == Step::fields);
    CHECK(parser.head.fields.size() == 2);
    parser.begin();
    parser.begin_fields(limits, 0);
    CHECK(read(parser, "X : y\r\n\r\n").last == Step::fault);
  }
}

TEST_CASE("h1 parser: everything without an end is bounded") {
  H1Parser parser;
  const auto fault_of = [&](std::string_view head, std::string_view endless) {
    parser.begin();
    parser.begin_fields(limits, 0);
    if (read(parser, head).last == Step::fields) parser.begin_chunks(1000);
    std::size_t fed = 0;
    while (read(parser, endless).last != Step::fault) {
      fed += endless.size();
      REQUIRE(fed <= limits.header_size);
    }
    return int{parser.fault().status};
  };
  const std::string_view chunked = "Transfer-Encoding: chunked\r\n\r\n";
  CHECK(fault_of("", "x") == 431);
  CHECK(fault_of("X:", " ") == 431);
  CHECK(fault_of("X: ", "y") == 431);
  CHECK(fault_of("", "X: y\r\n") == 431);
  CHECK(fault_of(chunked, "0") == 400);
  CHECK(fault_of("Transfer-Encoding: chunked\r\n\r\n", "5;a=b;") == 400);
  parser.begin();
  parser.begin_fields(limits, 0);
  REQUIRE(read(parser, chunked).last == Step::fields);
  parser.begin_chunks(1000);
  CHECK(read(parser, "3e8\r\n").last == Step::more);
  CHECK(read(parser, std::string(1000, 'x') + "\r\n").content.size() == 1000);
  CHECK(read(parser, "1\r\n").last == Step::fault);
  CHECK(parser.fault().status == 413);
}

TEST_CASE("h1 parser: the budget of a head counts its start line") {
  Limits small;
  small.header_size = 20;
  H1Parser parser;
  parser.begin();
  parser.begin_fields(small, 10);
  CHECK(read(parser, "A: 45\r\n\r\n").last == Step::fields);
  parser.begin();
  parser.begin_fields(small, 10);
  CHECK(read(parser, "A: 45678\r\n\r\n").last == Step::fault);
  CHECK(parser.fault().code == Errc::limit);
  parser.begin();
  parser.begin_fields(small, 30);
  CHECK(read(parser, "\r\n").last == Step::fault);
}
