#include "store/backends.h"

#include <limits>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using store::behind;

TEST_CASE("stores: what starts with a prefix ends before behind(prefix)") {
  CHECK(behind("a") == "b");
  CHECK(behind("proxy_Host_") == "proxy_Host`");
  CHECK(behind("a\xFF") == "b");
  CHECK(behind("\x7F") == "\x80");
  CHECK_FALSE(behind("").has_value());
  CHECK_FALSE(behind("\xFF\xFF").has_value());
}

TEST_CASE("stores: a ttl ends in the clock's milliseconds, a century at most") {
  CHECK(store::end_of(Seconds{2}, 1000) == 3000);
  CHECK(store::end_of(Seconds::max(), 1000) == 1000 + 100LL * 365 * 86'400'000);
}

TEST_CASE("stores: an unknown url names what is known, and shows no password") {
  CHECK((*open_store("memory:"))->describe() == "memory:");
  for (const char* url :
       {"postgres://user:secret@127.0.0.1", "", "sqlite", "sqlite:", "memory:x"}) {
    CAPTURE(url);
    const auto opened = open_store(url);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Errc::invalid);
    CHECK(opened.error().detail.find("expected 'memory:', 'sqlite:PATH' or") != std::string::npos);
    CHECK(opened.error().detail.find("secret") == std::string::npos);
  }
}

TEST_CASE("stores: a Redis server is named by its url, which is checked without connecting") {
  CHECK((*open_store("redis://user:secret@127.0.0.1"))->describe() == "redis://127.0.0.1:6379/0");
  const auto wrong = open_store("redis://user:secret@127.0.0.1:0");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message() == "invalid: redis url: port: expected 1 to 65535");
}
