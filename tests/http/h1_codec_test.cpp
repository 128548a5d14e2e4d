#include "http/h1_codec.h"

#include "base/text.h"
#include "http/h1_parser.h"
#include "support/count_allocations.h"
#include "support/event_log.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::http;
using test::EventLog;

namespace {

// One case of tests/data/h1/*.md: a heading that is its name, settings as "key: value", fenced
// blocks `in` (bytes, with escapes; the lines' own ends do not count), `events` and, optionally,
// `out`. What the settings mean is in tests/data/h1/README.md.
struct Vector {
  std::string file;
  std::string name;
  std::map<std::string, std::string, std::less<>> settings;
  std::map<std::string, std::string, std::less<>> blocks;

  [[nodiscard]] std::string_view setting(std::string_view key, std::string_view otherwise) const {
    const auto found = settings.find(key);
    return found == settings.end() ? otherwise : std::string_view{found->second};
  }
};

std::vector<Vector> read_vectors() {
  std::vector<Vector> all;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(TEST_DATA "/h1")) {
    if (entry.path().extension() == ".md" && entry.path().stem() != "README") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    std::ifstream file(path);
    std::string line;
    std::string* block = nullptr;
    while (std::getline(file, line)) {
      if (block != nullptr) {
        if (line == "```") {
          block = nullptr;
        } else {
          block->append(line).append("\n");
        }
      } else if (line.starts_with("## ")) {
        all.push_back({path.filename(), line.substr(3), {}, {}});
      } else if (line.starts_with("```")) {
        block = &all.back().blocks[line.substr(3)];
      } else if (const auto colon = line.find(": "); colon != std::string::npos && !all.empty()) {
        all.back().settings[line.substr(0, colon)] = line.substr(colon + 2);
      }
    }
  }
  return all;
}

Limits limits_of(const Vector& vector) {
  Limits limits;
  const auto number = [&](std::string_view key, auto& value) {
    const std::string_view text = vector.setting(key, "");
    if (!text.empty()) {
      value = static_cast<std::remove_reference_t<decltype(value)>>(*base::parse_decimal(text));
    }
  };
  number("header_count", limits.header_count);
  number("header_size", limits.header_size);
  number("target_size", limits.target_size);
  number("body_size", limits.body_size);
  number("pipeline", limits.pipeline);
  return limits;
}

struct Outcome {
  std::string events;
  std::string output;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

class Run {
 public:
  explicit Run(const Vector& vector)
      : limits_(limits_of(vector)),
        log_(static_cast<std::uint16_t>(*base::parse_decimal(vector.setting("answer", "200")))),
        codec_(vector.setting("role", "server") == "server" ? Role::server : Role::client, limits_,
               slabs_, parsers_, log_) {
    log_.watch(codec_);
    if (vector.setting("role", "server") != "client") return;
    const std::string_view request = vector.setting("request", "GET");
    if (request == "none") return;
    Stream* stream = codec_.open(log_);
    Head head;
    head.method = request == "upgrade" ? "GET" : request;
    head.target = "/";
    head.authority = "a";
    if (request == "upgrade") {
      head.upgrade = true;
      head.fields.add("Upgrade", "test");
    }
    if (request == "POST") head.framing = Framing::chunked;
    stream->send_head(head, request == "POST" ? End::no : End::yes);
  }

  // The bytes lie at the end of their memory, so that a sanitizer sees a read past them.
  void feed(std::string_view bytes) {
    const auto copy = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.get());
    codec_.feed(Bytes(copy.get(), bytes.size()));
    log_.answer();
  }

  Outcome finish(const Vector& vector) {
    if (vector.setting("eof", "no") == "yes") {
      codec_.end_of_input();
      log_.answer();
    }
    const std::string output = test::escape(log_.output());
    static constexpr const char* afters[] = {"keep", "finish", "close", "abort", "linger"};
    return {log_.lines() + afters[static_cast<int>(codec_.after_output())] + "\n", output};
  }

 private:
  Limits limits_;
  base::Slabs slabs_;
  H1Parsers parsers_;
  EventLog log_;
  H1Codec codec_;
};

// The expected output is written one line per line.
std::string lines_of(std::string_view output) {
  std::string text;
  for (std::size_t i = 0; i < output.size(); ++i) {
    text += output[i];
    if (i > 0 && output.substr(i - 1, 2) == "\\n") text += '\n';
  }
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

}  // namespace

TEST_CASE("h1: the vectors of tests/data/h1, whole, cut once everywhere, and byte by byte") {
  const std::vector<Vector> vectors = read_vectors();
  REQUIRE(vectors.size() > 0);
  for (const Vector& vector : vectors) {
    INFO(vector.file, ": ", vector.name);
    REQUIRE(vector.blocks.count("in") == 1);
    REQUIRE(vector.blocks.count("events") == 1);
    const std::string input = test::unescape(vector.blocks.at("in"));

    Run whole(vector);
    whole.feed(input);
    const Outcome expected = whole.finish(vector);
    CHECK(expected.events == vector.blocks.at("events"));
    if (vector.blocks.count("out") == 1) {
      CHECK(lines_of(expected.output) == vector.blocks.at("out"));
    }

    Run bytewise(vector);
    for (std::size_t i = 0; i < input.size(); ++i) bytewise.feed(input.substr(i, 1));
    const Outcome by_byte = bytewise.finish(vector);
    CHECK(by_byte.events == expected.events);
    CHECK(by_byte.output == expected.output);

    for (std::size_t cut = 1; cut < input.size(); ++cut) {
      Run halves(vector);
      halves.feed(input.substr(0, cut));
      halves.feed(input.substr(cut));
      const Outcome by_halves = halves.finish(vector);
      if (by_halves == expected) continue;
      CAPTURE(cut);
      CHECK(by_halves.events == expected.events);
      CHECK(by_halves.output == expected.output);
      break;
    }
  }
}

namespace {

// A codec whose events are logged and whose stream the test answers itself.
struct Side {
  explicit Side(Role role, const Limits& with = {})
      : limits(with), codec(role, limits, slabs, parsers, log) {
    log.watch(codec);
  }

  void feed(std::string_view text) { codec.feed(Bytes(text)); }
  Stream& stream() { return *log.stream(); }
  // What was written since the last call.
  std::string written() {
    const std::string& all = log.output();
    std::string recent = all.substr(seen);
    seen = all.size();
    return recent;
  }
  // What was logged since the last call.
  std::string events() {
    std::string recent = log.lines().substr(logged);
    logged = log.lines().size();
    return recent;
  }

  Limits limits;
  base::Slabs slabs;
  H1Parsers parsers;
  EventLog log{0};
  H1Codec codec;
  std::size_t seen = 0;
  std::size_t logged = 0;
};

Head response(std::uint16_t status, Framing framing, std::uint64_t length = 0) {
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
  head.authority = "a";
  head.framing = framing;
  head.content_length = length;
  return head;
}

constexpr std::string_view get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr std::string_view post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
constexpr std::string_view upgrade =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";
constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

Bytes bytes(std::string_view text) {
  return {text};
}

}  // namespace

TEST_CASE("h1: content waits while the stream does not receive") {
  Side server(Role::server);
  server.feed(std::string{post} + "he");
  server.stream().receive(false);
  CHECK_FALSE(server.log.receiving());
  server.events();
  server.feed("llo");
  server.feed(" you!" + std::string{get});
  CHECK(server.events().empty());
  server.stream().receive(true);
  CHECK(server.log.receiving());
  CHECK(server.events().empty());
  server.codec.feed({});
  CHECK(server.events() == "llo you!\nend\n");
  CHECK_FALSE(server.codec.idle());
}

TEST_CASE("h1: pipelined input is kept up to its limit, then reading stops") {
  Limits limits;
  limits.pipeline = 100;
  Side server(Role::server, limits);
  server.feed(get);
  server.feed(std::string(50, '\r'));
  CHECK(server.log.receiving());
  server.feed(std::string(50, '\r'));
  CHECK_FALSE(server.log.receiving());
  server.stream().send_head(response(200, Framing::length), End::yes);
  server.codec.feed({});
  CHECK(server.log.receiving());
}

TEST_CASE("h1: one feed begins one exchange, even if that ends at once") {
  struct AtOnce final : Codec::Peer, StreamEvents {
    StreamEvents& on_stream(Stream& opened) override {
      stream = &opened;
      return *this;
    }
    void on_output() override {}
    void on_receive(bool) override {}
    void on_head(Head&, End) override {
      ++heads;
      stream->send_head(response(204, Framing::none), End::yes);
    }
    void on_body(Bytes, End) override {}
    void on_trailers(Fields&) override {}
    void on_sendable() override {}
    void on_reset(const Reset&) override {}
    Stream* stream = nullptr;
    int heads = 0;
  } peer;
  const Limits limits;
  base::Slabs slabs;
  H1Parsers parsers;
  H1Codec codec(Role::server, limits, slabs, parsers, peer);
  const std::string three = std::string{get} + std::string{get} + std::string{get};
  codec.feed(Bytes(three));
  CHECK(peer.heads == 1);
  CHECK_FALSE(codec.idle());
  codec.feed({});
  CHECK(peer.heads == 2);
  codec.feed({});
  CHECK(peer.heads == 3);
  CHECK(codec.idle());
}

TEST_CASE("h1: a client that pipelines and does not read gets no further exchange") {
  Limits limits;
  limits.high_water = 1000;
  Side server(Role::server, limits);
  server.feed(std::string{get} + std::string{get});
  server.stream().send_head(response(200, Framing::length, 2000), End::no);
  server.stream().send_body(bytes(std::string(2000, 'x')), End::yes);
  server.events();
  server.codec.feed({});
  CHECK(server.events().empty());
  server.written();
  server.codec.feed({});
  CHECK(server.events().starts_with("GET /"));
}

TEST_CASE("h1: content goes on after an early response, to its end (RFC 9112 §9.3)") {
  Side server(Role::server);
  server.feed(std::string{post} + "hello");
  server.stream().send_head(response(200, Framing::length, 2), End::no);
  server.stream().send_body(bytes("ok"), End::yes);
  CHECK_FALSE(server.codec.reusable());
  server.events();
  server.feed("world");
  CHECK(server.events() == "world\nend\n");
  CHECK(server.codec.reusable());
  CHECK(server.codec.after_output() == After::keep);
}

TEST_CASE("h1: an early response and a reset close, but linger (RFC 9112 §9.6)") {
  Side server(Role::server);
  server.feed(std::string{post} + "hello");
  server.stream().send_head(response(403, Framing::length), End::yes);
  server.stream().reset(Errc::limit);
  CHECK(server.codec.after_output() == After::linger);
  server.events();
  server.feed("world" + std::string{get});
  CHECK(server.events().empty());
}

TEST_CASE("h1: a reset within the response closes what cannot be completed (RFC 9112 §8)") {
  Side server(Role::server);
  server.feed(std::string{get.substr(0, 16)} + "Host: a\r\nConnection: close\r\n\r\n");
  server.stream().send_head(response(200, Framing::chunked), End::no);
  server.stream().send_body(bytes("he"), End::no);
  server.stream().reset(Errc::closed);
  CHECK(server.codec.after_output() == After::close);
  CHECK(server.written().ends_with("2\r\nhe\r\n"));
}

TEST_CASE("h1: content that does not fit its length closes the connection (RFC 9112 §6.3)") {
  for (const std::string_view part : {"toolong", "ok"}) {
    Side server(Role::server);
    server.feed(get);
    server.stream().send_head(response(200, Framing::length, 5), End::no);
    server.stream().send_body(bytes(part), End::yes);
    CHECK(server.codec.after_output() == After::linger);
    CHECK_FALSE(server.codec.reusable());
  }
  Side client(Role::client);
  Stream* stream = client.codec.open(client.log);
  stream->send_head(request("POST", Framing::length, 5), End::no);
  stream->send_body(bytes("ok"), End::yes);
  CHECK(client.codec.after_output() == After::close);
}

TEST_CASE("h1: a malformed chunk after the response began cannot be answered (RFC 9112 §7.1)") {
  Side server(Role::server);
  server.feed("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  server.stream().send_head(response(200, Framing::chunked), End::no);
  server.events();
  server.feed("x");
  CHECK(server.events() == "reset protocol 0: Invalid character in chunk size\n");
  CHECK(server.codec.after_output() == After::linger);
  CHECK(server.written().find("400") == std::string::npos);
}

TEST_CASE("h1: an error is answered once, without content for HEAD, and closes") {
  Side server(Role::server);
  server.feed("HEAD / HTTP/1.1\r\nX : y\r\n");
  CHECK(server.written() == "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  CHECK(server.codec.after_output() == After::linger);
}

TEST_CASE("h1: a begun head may be refused from above, an idle connection not") {
  Side server(Role::server);
  server.codec.refuse({Errc::timeout, 408, "too slow"});
  CHECK(server.events().empty());
  server.feed("GET / HT");
  server.codec.refuse({Errc::timeout, 408, "too slow"});
  CHECK(server.events() == "reset timeout 408: too slow\n");
  CHECK(server.written().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
  CHECK(server.codec.after_output() == After::linger);
}

TEST_CASE("h1: an HTTP/1.0 client gets neither chunks nor 1xx (RFC 9112 §6.1, RFC 9110 §15.2)") {
  Side server(Role::server);
  server.feed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  server.stream().send_head(response(103, Framing::none), End::no);
  CHECK(server.written().empty());
  server.stream().send_head(response(200, Framing::chunked), End::no);
  server.stream().send_body(bytes("hello"), End::no);
  Fields trailers;
  trailers.add("X", "y");
  server.stream().send_trailers(trailers);
  CHECK(server.written() == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
  CHECK(server.codec.after_output() == After::linger);
}

TEST_CASE("h1: content of unknown length is chunked for an HTTP/1.1 client (RFC 9112 §7.1)") {
  Side server(Role::server);
  server.feed(get);
  server.stream().send_head(response(100, Framing::none), End::no);
  server.stream().send_head(response(200, Framing::until_close), End::no);
  server.stream().send_body(bytes("hello"), End::no);
  server.stream().send_body({}, End::no);
  Fields trailers;
  trailers.add("X", "y");
  server.stream().send_trailers(trailers);
  CHECK(server.written() ==
        "HTTP/1.1 100 Continue\r\n\r\n"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n");
  CHECK(server.codec.reusable());
}

TEST_CASE("h1: responses without content have none, whatever is sent (RFC 9112 §6.3)") {
  struct Row {
    std::string_view method;
    std::uint16_t status;
    std::string_view expected;
  };
  for (const Row& row : {Row{"HEAD", 200, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
                         Row{"GET", 304, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
                         Row{"GET", 204, "HTTP/1.1 204 No Content\r\n\r\n"}}) {
    Side server(Role::server);
    server.feed(std::string{row.method} + " / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.stream().send_head(response(row.status, Framing::length, 5), End::no);
    server.stream().send_body(bytes("hello"), End::yes);
    CHECK(server.written() == row.expected);
    CHECK(server.codec.reusable());
  }
}

TEST_CASE("h1: draining closes with the next response, not after one whose head has gone") {
  Side server(Role::server);
  server.feed(get);
  server.stream().send_head(response(200, Framing::length, 2), End::no);
  server.codec.drain();
  server.stream().send_body(bytes("ok"), End::yes);
  CHECK(server.written() == ok);
  CHECK(server.codec.after_output() == After::keep);
  server.feed(get);
  server.stream().send_head(response(200, Framing::length), End::yes);
  CHECK(server.written() == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  CHECK(server.codec.after_output() == After::linger);
}

TEST_CASE("h1: each half of a tunnel ends by itself (RFC 9110 §7.8)") {
  Side server(Role::server);
  server.feed(upgrade);
  Head switched = response(101, Framing::none);
  switched.upgrade = true;
  server.stream().send_head(switched, End::no);
  server.stream().send_body(bytes("bye"), End::yes);
  CHECK(server.codec.after_output() == After::finish);
  server.events();
  server.feed("HTTP no more");
  CHECK(server.codec.after_output() == After::finish);
  server.codec.end_of_input();
  CHECK(server.events() == "body HTTP no more\nend\n");
  CHECK(server.codec.after_output() == After::close);
  CHECK(server.written().ends_with("\r\n\r\nbye"));
}

TEST_CASE("h1: input that waited asks to be fed once it may go on") {
  Side server(Role::server);
  server.feed(std::string{get} + std::string{upgrade} + "early");
  server.events();
  server.stream().send_head(response(204, Framing::none), End::yes);
  CHECK(server.log.resumed() == 1);
  server.codec.feed({});
  CHECK(server.events().ends_with("end\n"));
  Head switched = response(101, Framing::none);
  switched.upgrade = true;
  server.stream().send_head(switched, End::no);
  CHECK(server.log.resumed() == 2);
  server.codec.feed({});
  CHECK(server.events() == "body early");
  CHECK(server.log.resumed() == 2);
}

TEST_CASE("h1: the other half of a tunnel goes on after FIN (RFC 9110 §7.8)") {
  Side client(Role::client);
  Stream* stream = client.codec.open(client.log);
  Head ask = request("GET");
  ask.upgrade = true;
  stream->send_head(ask, End::yes);
  client.feed("HTTP/1.1 101 X\r\nUpgrade: test\r\n\r\nhi");
  client.codec.end_of_input();
  CHECK(client.events().ends_with("body hi\nend\n"));
  client.written();
  stream->send_body(bytes("still here"), End::no);
  CHECK(client.codec.after_output() == After::keep);
  stream->send_body({}, End::yes);
  CHECK(client.written() == "still here");
  CHECK(client.codec.after_output() == After::close);
}

TEST_CASE("h1: a 101 without its request closes the connection (RFC 9110 §15.2.2)") {
  Side server(Role::server);
  server.feed(get);
  server.stream().send_head(response(101, Framing::none), End::no);
  CHECK(server.written().empty());
  CHECK(server.codec.after_output() == After::linger);
}

TEST_CASE("h1: one stream at a time towards an origin; nothing written means nothing lost") {
  Side client(Role::client);
  CHECK(client.codec.reusable());
  Stream* stream = client.codec.open(client.log);
  REQUIRE(stream != nullptr);
  CHECK(client.codec.open(client.log) == nullptr);
  stream->reset(Errc::cancelled);
  CHECK(client.codec.reusable());
  stream = client.codec.open(client.log);
  stream->send_head(request("GET"), End::yes);
  client.feed(ok);
  CHECK(client.codec.reusable());
  stream = client.codec.open(client.log);
  stream->send_head(request("GET"), End::yes);
  stream->reset(Errc::cancelled);
  CHECK_FALSE(client.codec.reusable());
  CHECK(client.codec.after_output() == After::close);
}

TEST_CASE("h1: an origin may answer before the request is complete (RFC 9112 §9.3)") {
  Side client(Role::client);
  Stream* stream = client.codec.open(client.log);
  stream->send_head(request("POST", Framing::length, 10), End::no);
  client.feed(ok);
  CHECK_FALSE(client.codec.reusable());
  CHECK(client.codec.persistent());
  stream->send_body(bytes("0123456789"), End::yes);
  CHECK(client.codec.reusable());
}

TEST_CASE("h1: a draining connection to an origin says so and takes no further request") {
  Side client(Role::client);
  Stream* stream = client.codec.open(client.log);
  client.codec.drain();
  stream->send_head(request("GET"), End::yes);
  CHECK(client.written() == "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  client.feed(ok);
  CHECK(client.codec.after_output() == After::close);
  CHECK(client.codec.open(client.log) == nullptr);
}

TEST_CASE("h1: a dead connection resets its stream, once") {
  Side client(Role::client);
  Stream* stream = client.codec.open(client.log);
  stream->send_head(request("GET"), End::yes);
  client.codec.abort({Errc::io, 0, "broken"});
  client.codec.abort({Errc::io, 0, "broken"});
  client.codec.end_of_input();
  CHECK(client.events() == "reset io 0: broken\n");
  CHECK(client.codec.output().empty());
  stream->send_body(bytes("x"), End::yes);
  CHECK(client.codec.output().empty());
}

TEST_CASE("h1: sendable comes at half of the high water, after full") {
  Limits limits;
  limits.high_water = 1000;
  Side server(Role::server, limits);
  server.feed(get);
  server.stream().send_head(response(200, Framing::chunked), End::no);
  CHECK(server.stream().send_body(bytes(std::string(500, 'x')), End::no) == Flow::ok);
  CHECK(server.stream().send_body(bytes(std::string(500, 'x')), End::no) == Flow::full);
  server.events();
  server.codec.output().consume(100);
  server.codec.written();
  CHECK(server.events().empty());
  server.codec.output().consume(server.codec.output().size() - 500);
  server.codec.written();
  server.codec.written();
  CHECK(server.events() == "sendable\n");
}

TEST_CASE("h1: content keeps its slab from one side to the other") {
  base::Slabs slabs;
  base::SlabRef slab = slabs.take(64 << 10);
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
  std::copy(head.begin(), head.end(), slab->data());
  std::fill_n(slab->data() + head.size(), 60000, 'x');

  struct Forward final : Codec::Peer, StreamEvents {
    StreamEvents& on_stream(Stream& opened) override {
      to = &opened;
      return *this;
    }
    void on_output() override {}
    void on_receive(bool) override {}
    void on_head(Head& from, End) override {
      if (from.is_request()) return;
      to->send_head(from, End::no);
    }
    void on_body(Bytes part, End end) override { to->send_body(part, end); }
    void on_trailers(Fields&) override {}
    void on_sendable() override {}
    void on_reset(const Reset&) override {}
    Stream* to = nullptr;
  } exchange;
  const Limits limits;
  H1Parsers parsers;
  H1Codec server(Role::server, limits, slabs, parsers, exchange);
  H1Codec client(Role::client, limits, slabs, parsers, exchange);
  server.feed(Bytes(get));
  client.open(exchange)->send_head(request("GET"), End::yes);
  client.feed(Bytes(slab->data(), head.size() + 60000, slab.get()));
  iovec pieces[4];
  REQUIRE(server.output().peek(pieces, 4) == 2);
  CHECK(pieces[1].iov_base == slab->data() + head.size());
  CHECK(pieces[1].iov_len == 60000);
}

TEST_CASE("h1: a warm exchange allocates nothing, and an idle connection holds no parser") {
  struct Quiet final : Codec::Peer, StreamEvents {
    StreamEvents& on_stream(Stream& opened) override {
      stream = &opened;
      return *this;
    }
    void on_output() override {}
    void on_receive(bool) override {}
    void on_head(Head& from, End) override { std::swap(head, from); }
    void on_body(Bytes, End) override {}
    void on_trailers(Fields&) override {}
    void on_sendable() override {}
    void on_reset(const Reset&) override {}
    Stream* stream = nullptr;
    Head head;
  } near, far;
  const Limits limits;
  base::Slabs slabs;
  H1Parsers parsers;
  H1Codec server(Role::server, limits, slabs, parsers, near);
  H1Codec client(Role::client, limits, slabs, parsers, far);
  const std::string_view asked =
      "GET /some/path?with=query HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: test/1.0\r\n"
      "Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\n"
      "Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";
  const std::string_view answered =
      "HTTP/1.1 200 OK\r\nServer: test\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
      "Content-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
  const auto exchange = [&] {
    server.feed(Bytes(asked));
    Stream* to = client.open(far);
    to->send_head(near.head, End::yes);
    client.feed(Bytes(answered));
    near.stream->send_head(far.head, End::no);
    near.stream->send_body(bytes("hello"), End::yes);
    server.output().clear();
    client.output().clear();
  };
  for (int i = 0; i < 5; ++i) exchange();
  const std::size_t before = test::allocations();
  for (int i = 0; i < 100; ++i) exchange();
  CHECK(test::allocations() == before);
  CHECK(server.idle());
  CHECK(client.reusable());
  // The one parser that was made is free again.
  const std::unique_ptr<H1Parser> parser = parsers.take();
  CHECK(test::allocations() == before);
}
