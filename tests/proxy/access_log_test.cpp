#include "proxy/access_log.h"

#include "base/json.h"
#include "support/proxy_rig.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using base::json::Value;

namespace {

void write_json(Config& config) {
  config.log.access = "file";
  config.log.access_format = LogFormat::json;
}

void write_combined(Config& config) {
  config.log.access = "file";
  config.log.access_format = LogFormat::combined;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    REQUIRE(end != std::string_view::npos);
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::vector<Value> records_of(std::string_view text) {
  std::vector<Value> records;
  for (const std::string& line : lines_of(text)) {
    auto parsed = base::json::parse(line);
    REQUIRE_MESSAGE(parsed, line);
    records.push_back(*std::move(parsed));
  }
  return records;
}

// "-" where there is no such field.
std::string text(const Value& record, std::string_view name) {
  const auto value = record.text(name);
  return value ? std::string(*value) : "-";
}

}  // namespace

TEST_CASE("access log: a line tells what was asked, answered and by whom") {
  ProxyRig rig(write_json);
  const std::string target = rig.origin.target();
  Peer client = rig.client();
  client.send(
      "POST /a?b HTTP/1.1\r\nHost: A.test:80\r\nContent-Length: 3\r\nReferer: http://r/\r\n"
      "User-Agent: me\r\n\r\nabc");
  Peer at = rig.origin.accept();
  at.message();
  at.send(ok("hello"));
  const std::string id = field_of(client.message(), "X-Request-Id");
  const auto records = records_of(rig.end_and_read_log());
  REQUIRE(records.size() == 1);
  const Value& record = records[0];
  CHECK(text(record, "time").size() == 24);
  CHECK(text(record, "id") == id);
  CHECK(text(record, "client") == "127.0.0.1");
  CHECK(text(record, "method") == "POST");
  CHECK(text(record, "host") == "A.test:80");
  CHECK(text(record, "target") == "/a?b");
  CHECK(text(record, "protocol") == "HTTP/1.1");
  CHECK(*record.integer("status") == 200);
  CHECK(*record.integer("bytes_in") == 3);
  CHECK(*record.integer("bytes_out") == 5);
  CHECK(record.find("seconds")->number());
  CHECK(text(record, "route") == "a.test");
  CHECK(text(record, "origin") == target);
  CHECK(record.find("origin_seconds")->number());
  CHECK(text(record, "referer") == "http://r/");
  CHECK(text(record, "user_agent") == "me");
  CHECK(record.find("problem") == nullptr);
  CHECK(record.find("attempts") == nullptr);
}

TEST_CASE("access log: what went wrong is told, whoever's fault it was") {
  ProxyRig rig(write_json);
  {
    Peer client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
    client.message();
  }
  {
    Peer client = rig.client();
    client.send("BAD\r\n\r\n");
    client.message();
  }
  {
    Peer client = rig.client();
    client.send(get());
    Peer at = rig.origin.accept();
    at.head();
    client.reset();
    CHECK(at.gone());
  }
  {
    Peer client = rig.client();
    client.send(get());
    Peer at = rig.origin.accept();
    at.head();
    at.reset();
    Peer again = rig.origin.accept();
    again.head();
    again.send(ok());
    client.message();
  }
  const auto records = records_of(rig.end_and_read_log());
  REQUIRE(records.size() == 4);
  CHECK(*records[0].integer("status") == 404);
  CHECK(text(records[0], "problem") == "unknown host");
  CHECK(text(records[0], "route") == "-");
  CHECK(*records[1].integer("status") == 400);
  CHECK(text(records[1], "problem") != "-");
  CHECK(*records[2].integer("status") == 499);
  CHECK(text(records[2], "problem") == "the client went away");
  CHECK(*records[3].integer("status") == 200);
  CHECK(*records[3].integer("attempts") == 2);
}

TEST_CASE("access log: whatever bytes come in, a line is one line of JSON") {
  ProxyRig rig(write_json);
  Peer client = rig.client();
  client.send(get("/\"\\<>{}|^`", "User-Agent: \"\\\t\xff\xc3\x28\xf0\x9f\x98\x80\r\nReferer: " +
                                      std::string(5000, '"') + "\r\n"));
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok());
  client.message();
  const auto records = records_of(rig.end_and_read_log());
  REQUIRE(records.size() == 1);
  CHECK(text(records[0], "target") == "/\"\\<>{}|^`");
  CHECK(text(records[0], "user_agent").ends_with("(\xf0\x9f\x98\x80"));
  CHECK(text(records[0], "referer").size() == 2048);
}

TEST_CASE("access log: the combined format is one line too, with quotes that hold") {
  ProxyRig rig(write_combined);
  Peer client = rig.client();
  client.send(get("/a\"b\\c", "User-Agent: \"x\"\xff\r\n"));
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok("hello"));
  client.message();
  client.send("GET / HTTP/1.0\r\nHost: unknown.test\r\nReferer: http://r/\r\n\r\n");
  client.message();
  const auto lines = lines_of(rig.end_and_read_log());
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].starts_with("127.0.0.1 - - ["));
  CHECK(lines[0].ends_with("] \"GET /a\\x22b\\x5cc HTTP/1.1\" 200 5 \"-\" \"\\x22x\\x22\xff\""));
  CHECK(lines[1].find("] \"GET / HTTP/1.0\" 404 ") != std::string::npos);
  CHECK(lines[1].ends_with(" \"http://r/\" \"-\""));
}

TEST_CASE("access log: the host is the one the client named, the target as one writes it") {
  ProxyRig rig(write_json);
  rig.add_host({.host = "b.test", .ip = "::1", .target_port = 1, .pass_host = false});
  Peer client = rig.client();
  client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
  CHECK(status_of(client.message()) == 502);
  rig.add_host(
      {.host = "c.test", .ip = "127.0.0.1", .target_port = rig.origin.port(), .pass_host = false});
  client.send("GET / HTTP/1.1\r\nHost: c.test\r\n\r\n");
  Peer at = rig.origin.accept();
  at.head();
  at.send(ok());
  client.message();
  const auto records = records_of(rig.end_and_read_log());
  REQUIRE(records.size() == 2);
  CHECK(text(records[0], "origin") == "[::1]:1");
  CHECK(text(records[1], "host") == "c.test");
}

TEST_CASE("access log: lines of an upgraded connection are written at its end") {
  ProxyRig rig(write_json);
  Peer client = rig.client();
  client.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer at = rig.origin.accept();
  at.head();
  at.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  client.head();
  client.send("12345");
  at.take(5);
  at.send("123");
  client.take(3);
  at.close();
  client.gone();
  client.close();
  rig.until([&] { return rig.counters().connections_open.value() == 0; });
  const auto records = records_of(rig.end_and_read_log());
  REQUIRE(records.size() == 1);
  CHECK(*records[0].integer("status") == 101);
  CHECK(*records[0].integer("bytes_in") == 5);
  CHECK(*records[0].integer("bytes_out") == 3);
}

TEST_CASE("access log: lines are written after a moment, or when they are many") {
  ProxyRig rig(write_json);
  Peer client = rig.client();
  const std::string unknown = "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n";
  client.send(unknown);
  client.message();
  rig.until([&] { return !rig.read_log().empty(); });
  for (int i = 0; i < 1000; ++i) {
    client.send(unknown);
    client.message();
  }
  CHECK(lines_of(rig.end_and_read_log()).size() == 1001);
}
