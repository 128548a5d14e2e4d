#include "server/config_keys.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using server::Given;
using server::Place;

namespace {

constexpr Place place{"a.toml", 7};

const server::Key<Config>& key(std::string_view name) {
  const auto keys = server::config_keys();
  const auto at = std::find_if(keys.begin(), keys.end(),
                               [&](const auto& one) { return one.rule.name == name; });
  REQUIRE_MESSAGE(at != keys.end(), name);
  return *at;
}

Result<void> read(std::string_view name, Given given, Config& to) {
  given.place = place;
  return key(name).read(key(name).rule, given, to);
}

// What is said against a value; empty: nothing.
std::string fault(std::string_view name, Given given) {
  Config config;
  const auto done = read(name, std::move(given), config);
  if (done) {
    CHECK(changed_keys(config, {}).size() <= 1);
    return {};
  }
  CHECK(done.error().code == Errc::invalid);
  CHECK_MESSAGE(changed_keys(config, {}).empty(), "a refused value was taken over");
  return done.error().detail;
}

Given text(std::string_view value) {
  return {std::string(value), place};
}
Given number(std::int64_t value) {
  return {value, place};
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file, path);
  return {std::istreambuf_iterator<char>(file), {}};
}

const std::string tree = std::string(TEST_DATA) + "/../../";

std::string said_of(std::string_view unknown) {
  std::vector<std::string_view> names;
  for (const auto& one : server::config_keys()) names.push_back(one.rule.name);
  return server::unknown_at(place, unknown, names, {}).detail;
}

}  // namespace

TEST_CASE("config keys: every name is there once, in a table that is described") {
  std::set<std::string_view> names;
  for (const auto& one : server::config_keys()) {
    CHECK_MESSAGE(names.insert(one.rule.name).second, one.rule.name);
    const auto tables = server::tables();
    const auto name = server::table_part(one.rule.name);
    CHECK_MESSAGE(std::any_of(tables.begin(), tables.end(),
                              [&](const auto& table) { return table.name == name; }),
                  one.rule.name);
    CHECK_FALSE(one.rule.meaning.empty());
  }
}

TEST_CASE("config keys: the public headers name every key, with its table") {
  const std::string header =
      file_text(tree + "include/proxycore/config.h") + file_text(tree + "include/proxycore/tls.h");
  for (const auto& one : server::config_keys()) {
    CHECK_MESSAGE(header.find(std::string("// ").append(one.rule.name)) != std::string::npos,
                  one.rule.name);
  }
}

TEST_CASE("config keys: texts are checked") {
  CHECK(fault("process.user", text("")).empty());
  CHECK(fault("process.user", text("www-data")).empty());
  CHECK(fault("log.access", text("")) ==
        "a.toml:7: log.access: expected a text that is not empty, found ''");
  CHECK(fault("forwarding.via", text("edge-1")).empty());
  CHECK(fault("forwarding.via", text("edge 1")) ==
        "a.toml:7: forwarding.via: expected a name without blanks and separators (an RFC 9110 "
        "token), found 'edge 1'");
}

TEST_CASE("config keys: a store is known by its scheme, and a password is not shown") {
  CHECK(fault("store.url", text("memory:")).empty());
  CHECK(fault("store.url", text("sqlite:./proxycore.db")).empty());
  CHECK(fault("store.url", text("sqlite:")) ==
        "a.toml:7: store.url: expected a path behind 'sqlite:', found 'sqlite:'");
  CHECK(fault("store.url", text("redis://me:secret@127.0.0.1:6379/0")).empty());
  CHECK(fault("store.url", text("redis+unix:///run/redis.sock")).empty());
  CHECK(fault("store.url", text("redis://:secret@127.0.0.1:x")) ==
        "a.toml:7: store.url: redis url: port: expected 1 to 65535");
  CHECK(fault("store.url", text("rediss://:secret@127.0.0.1")) ==
        "a.toml:7: store.url: redis url: scheme: expected 'redis' (TLS to Redis is not "
        "available)");
  CHECK(fault("store.url", text("postgres://me:secret@db")) ==
        "a.toml:7: store.url: expected 'sqlite:PATH', 'memory:' or 'redis://host:port/db', found "
        "'postgres'");
  CHECK(fault("store.url", text("./proxycore.db")) ==
        "a.toml:7: store.url: expected 'sqlite:PATH', 'memory:' or 'redis://host:port/db', found "
        "'./proxycore.db'");
}

TEST_CASE("config keys: an array names the line of the value that is wrong") {
  const auto array = [](std::vector<Given> parts) { return Given{std::move(parts), place}; };
  const Place below{"a.toml", 9};
  CHECK(fault("listen.http", array({})).empty());
  CHECK(fault("listen.http", array({text("*:80"), text("unix:/run/x.sock")})).empty());
  CHECK(fault("listen.http", number(8080)) ==
        "a.toml:7: listen.http: expected an array of addresses, found 8080");
  CHECK(fault("listen.http", array({text("*:80"), {std::int64_t{8080}, below}})) ==
        "a.toml:9: listen.http: expected a text in the array of addresses, found 8080");
  CHECK(fault("listen.http", array({{std::string("8080"), below}})) ==
        "a.toml:9: listen.http: expected an address like 127.0.0.1:8080, [::1]:8080, *:80 or "
        "unix:/run/x.sock, found '8080'");
  CHECK(fault("tls.alpn", array({text("h3")})) ==
        "a.toml:7: tls.alpn: expected 'h2' or 'http/1.1', found 'h3'");
  CHECK(fault("tls.alpn", array({text("http/1.1")})).empty());
  CHECK(
      fault("forwarding.trusted", array({text("10.0.0.0/8"), text("::1"), text("unix")})).empty());
  CHECK(fault("forwarding.trusted", array({text("10.0.0.0/33")})) ==
        "a.toml:7: forwarding.trusted: expected an address, a range like 10.0.0.0/8 or 'unix', "
        "found '10.0.0.0/33'");
}

TEST_CASE("config keys: an unknown name gets the nearest one") {
  CHECK(said_of("listen.htp") == "a.toml:7: listen.htp: unknown, did you mean listen.http?");
  CHECK(said_of("listen.HTTP") == "a.toml:7: listen.HTTP: unknown, did you mean listen.http?");
  CHECK(said_of("timeouts.drian") ==
        "a.toml:7: timeouts.drian: unknown, did you mean timeouts.drain?");
  CHECK(said_of("limits.drain") == "a.toml:7: limits.drain: unknown, did you mean timeouts.drain?");
  CHECK(said_of("workers.number") == "a.toml:7: workers.number: unknown, expected ");
  const std::vector<std::string_view> expected{"count", "level", "access"};
  CHECK(server::unknown_at(place, "x.y", {}, expected).detail ==
        "a.toml:7: x.y: unknown, expected count, level or access");
  // A name from a file may be anything.
  CHECK(said_of("") == "a.toml:7: '': unknown, expected ");
  CHECK(said_of("log.\x1b[1m") == "a.toml:7: 'log.?[1m': unknown, expected ");
  CHECK(said_of(std::string(100'000, 'a')).size() < 150);
}

TEST_CASE("config keys: only what differs has changed") {
  Config one;
  Config other;
  CHECK(changed_keys(one, other).empty());
  other.limits.body_size += 1;
  other.listen.http = {"*:80"};
  other.log.level = LogLevel::error;
  other.timeouts.drain += Millis{1};
  other.hosts.emplace_back().host.host = "a.test";
  CHECK(changed_keys(one, other) ==
        std::vector<std::string>{"listen.http", "timeouts.drain", "limits.body_size", "log.level"});
}
