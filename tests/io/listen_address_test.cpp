#include <proxycore/config.h>

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using proxycore::Errc;
using proxycore::ListenAddress;

TEST_CASE("listen address: what is read is written back") {
  for (const std::string_view text : {"127.0.0.1:8080", "0.0.0.0:0", "[::1]:65535", "[::]:80",
                                      "*:80", "unix:/run/x.sock", "unix:relative.sock"}) {
    const auto address = ListenAddress::parse(text);
    REQUIRE_MESSAGE(address, text);
    CHECK(address->text() == text);
  }
}

TEST_CASE("listen address: the parts") {
  const auto v6 = ListenAddress::parse("[2001:DB8::1]:443");
  REQUIRE(v6);
  CHECK(v6->address == "2001:db8::1");
  CHECK(v6->port == 443);
  CHECK_FALSE(v6->is_unix);
  const auto path = ListenAddress::parse("unix:/run/a:80");
  REQUIRE(path);
  CHECK(path->address == "/run/a:80");
  CHECK(path->is_unix);
  const auto any = ListenAddress::parse("*:80");
  REQUIRE(any);
  CHECK(any->address == "*");
}

TEST_CASE("listen address: what is none says what was expected") {
  const auto why = [](std::string_view text) {
    const auto address = ListenAddress::parse(text);
    REQUIRE_FALSE(address);
    CHECK(address.error().code == Errc::invalid);
    return address.error().detail;
  };
  const std::string form =
      "expected an address like 127.0.0.1:8080, [::1]:8080, *:80 or unix:/run/x.sock, found ";
  for (const std::string_view text :
       {"", "8080", ":8080", "127.0.0.1", "localhost:80", "[::1]", "::1:80", "[127.0.0.1]:80",
        "[::1:80", "[*]:80", "**:80", "*", "1.2.3:80", "http://127.0.0.1:80"}) {
    CHECK(why(text) == form + "'" + std::string(text) + "'");
  }
  const std::string port = "expected a port from 0 to 65535 behind the last ':', found ";
  for (const std::string_view text :
       {"127.0.0.1:", "127.0.0.1:65536", "*:-1", "*:+80", "*: 80", "[::1]:80x"}) {
    CHECK(why(text) == port + "'" + std::string(text) + "'");
  }
  CHECK(why("unix:") == "expected a path behind 'unix:', found 'unix:'");
  CHECK(why(std::string_view("unix:/a\0b", 9)) == "expected a path without NUL, found 'unix:/a?b'");
}

TEST_CASE("listen address: a path as long as the system takes is one") {
  CHECK(ListenAddress::parse("unix:/" + std::string(106, 'a')));
  CHECK_FALSE(ListenAddress::parse("unix:/" + std::string(107, 'a')));
}
