#include "redis/url.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using redis::Url;

namespace {

std::string described(std::string_view text) {
  const auto url = Url::parse(text);
  return url ? url->describe() : url.error().message();
}

}  // namespace

TEST_CASE("redis url: host, port and database, with their defaults") {
  CHECK(described("redis://10.0.0.1:6380/5") == "redis://10.0.0.1:6380/5");
  CHECK(described("redis://cache.example.test") == "redis://cache.example.test:6379/0");
  CHECK(described("redis://cache.example.test/") == "redis://cache.example.test:6379/0");
  CHECK(described("redis://[::1]:6380/1") == "redis://[::1]:6380/1");
  CHECK(described("redis://[::1]") == "redis://[::1]:6379/0");
  CHECK(Url::parse("redis://[::1]")->host == "::1");
}

TEST_CASE("redis url: a Unix socket is named by its path") {
  const auto url = Url::parse("redis+unix://me:secret@/run/redis%20one.sock?db=3");
  REQUIRE(url);
  CHECK(url->path == "/run/redis one.sock");
  CHECK(url->host.empty());
  CHECK(url->db == 3);
  CHECK(url->user == "me");
  CHECK(url->password == "secret");
  CHECK(url->describe() == "redis+unix:///run/redis one.sock?db=3");
  CHECK(described("redis+unix:///run/r.sock") == "redis+unix:///run/r.sock?db=0");
}

TEST_CASE("redis url: user and password are percent-decoded, and never shown") {
  const auto url = Url::parse("redis://me%40here:p%2Fa%3ass%25@127.0.0.1");
  REQUIRE(url);
  CHECK(url->user == "me@here");
  CHECK(url->password == "p/a:ss%");
  CHECK(url->describe() == "redis://127.0.0.1:6379/0");
  CHECK(Url::parse("redis://:secret@127.0.0.1")->user.empty());
  CHECK(Url::parse("redis://:secret@127.0.0.1")->password == "secret");
  CHECK(Url::parse("redis://a:b@c@127.0.0.1")->password == "b@c");
}

TEST_CASE("redis url: an error names the part and what was expected, and repeats nothing") {
  struct Case {
    const char* url;
    const char* error;
  };
  const Case cases[] = {
      {"redis:", "scheme: expected 'redis://host:port/db' or 'redis+unix:///path'"},
      {"rediss://127.0.0.1", "scheme: expected 'redis' (TLS to Redis is not available)"},
      {"redis://", "host: expected a name or address (an IPv6 address in brackets)"},
      {"redis://:6379", "host: expected a name or address (an IPv6 address in brackets)"},
      {"redis://a b", "host: expected a name or address (an IPv6 address in brackets)"},
      {"redis://[::1", "host: expected ']' behind an IPv6 address"},
      {"redis://[::1]6379", "host: expected ':port' behind ']'"},
      {"redis://::1", "host: expected a name or address (an IPv6 address in brackets)"},
      {"redis://a:0", "port: expected 1 to 65535"},
      {"redis://a:65536", "port: expected 1 to 65535"},
      {"redis://a:", "port: expected 1 to 65535"},
      {"redis://a/x", "database: expected a number"},
      {"redis://a/-1", "database: expected a number"},
      {"redis://a/99999999999", "database: expected a number"},
      {"redis://me@a", "user: expected 'user:password' or ':password' before '@'"},
      {"redis://me:@a", "user: expected 'user:password' or ':password' before '@'"},
      {"redis://me:secr%et@a", "password: expected two hexadecimal digits behind each '%'"},
      {"redis://me:secret%4@a", "password: expected two hexadecimal digits behind each '%'"},
      {"redis://:secret/1@a", "host: expected a name or address (an IPv6 address in brackets)"},
      {"redis+unix://run/r.sock", "path: expected an absolute path"},
      {"redis+unix:///r.sock?x=1", "query: expected 'db=NUMBER'"},
      {"redis+unix:///r.sock?db=x", "database: expected a number"},
      {"redis+unix:///a%00b", "path: expected no NUL"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.url);
    const auto url = Url::parse(one.url);
    REQUIRE_FALSE(url);
    CHECK(url.error().code == Errc::invalid);
    CHECK(url.error().detail == std::string("redis url: ") + one.error);
    CHECK(url.error().detail.find("secret") == std::string::npos);
  }
  const auto long_path = Url::parse("redis+unix:///" + std::string(108, 'x'));
  CHECK(long_path.error().detail == "redis url: path: expected at most 107 bytes");
}

TEST_CASE("redis url: is known by its scheme") {
  CHECK(Url::has_scheme("redis://a"));
  CHECK(Url::has_scheme("redis+unix:///a"));
  CHECK(Url::has_scheme("rediss://a"));
  CHECK_FALSE(Url::has_scheme("sqlite:redis://a"));
  CHECK_FALSE(Url::has_scheme("redislike://a"));
}
