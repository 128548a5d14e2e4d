#include "client/url.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using client::Url;

TEST_CASE("url: scheme, host, port and target are taken apart") {
  struct Case {
    std::string_view text;
    bool tls;
    std::string_view host;
    std::uint16_t port;
    std::string_view target;
    std::string_view authority;
  };
  constexpr Case cases[] = {
      {"https://ca.example/dir?a=b%20c", true, "ca.example", 443, "/dir?a=b%20c", "ca.example"},
      {"http://ca.example", false, "ca.example", 80, "/", "ca.example"},
      {"HTTPS://CA.Example.:8443/", true, "ca.example", 8443, "/", "ca.example:8443"},
      {"https://ca.example:443?q", true, "ca.example", 443, "/?q", "ca.example"},
      {"https://ca.example:/x", true, "ca.example", 443, "/x", "ca.example"},
      {"http://[::0:1]:14000/a/b", false, "[::1]", 14000, "/a/b", "[::1]:14000"},
      {"http://127.0.0.1:80/@x:y", false, "127.0.0.1", 80, "/@x:y", "127.0.0.1"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.text);
    const auto url = Url::parse(one.text);
    REQUIRE(url);
    CHECK(url->tls == one.tls);
    CHECK(url->host == one.host);
    CHECK(url->port == one.port);
    CHECK(url->target == one.target);
    CHECK(url->authority() == one.authority);
  }
  CHECK(Url::parse("https://ca.example:8443/secret?token=x")->describe() ==
        "https://ca.example:8443");
}

TEST_CASE("url: what is none is refused with the part that is wrong, and not repeated") {
  struct Case {
    std::string_view text;
    std::string_view why;
  };
  constexpr Case cases[] = {
      {"", "scheme"},
      {"ca.example/secret", "scheme"},
      {"ftp://ca.example/secret", "scheme"},
      {"https:///secret", "host"},
      {"https://*.example/secret", "host"},
      {"https://user:secret@ca.example/", "user information"},
      {"https://ca.example/a#secret", "fragment"},
      {"https://ca.example:0/secret", "port"},
      {"https://ca.example:65536/secret", "port"},
      {"https://[::1/secret", "host"},
      {"https://ca.example/a secret", "printable"},
      {"https://ca.example/a\r\nsecret: x", "printable"},
      {"https://ca.example/\xC3\xA4secret", "printable"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.text);
    const auto url = Url::parse(one.text);
    REQUIRE_FALSE(url);
    CHECK(url.error().code == Errc::invalid);
    CHECK(url.error().detail.find(one.why) != std::string::npos);
    CHECK(url.error().detail.find("secret") == std::string::npos);
  }
  CHECK(Url::parse("https://ca.example/" + std::string(9000, 'a')).error().code == Errc::invalid);
}

TEST_CASE("url: what is not unreserved is encoded (RFC 3986 §2.1)") {
  CHECK(client::percent_encoded("aZ09-._~") == "aZ09-._~");
  CHECK(client::percent_encoded("a b&c=d/\xC3\xA4") == "a%20b%26c%3Dd%2F%C3%A4");
}

TEST_CASE("url: percent escapes are read back, broken ones are none") {
  CHECK(client::percent_decoded("a%20b%26c%3dd%2F%C3%A4+") == "a b&c=d/\xC3\xA4+");
  CHECK(client::percent_decoded("") == "");
  CHECK_FALSE(client::percent_decoded("%"));
  CHECK_FALSE(client::percent_decoded("a%2"));
  CHECK_FALSE(client::percent_decoded("%zz"));
}
