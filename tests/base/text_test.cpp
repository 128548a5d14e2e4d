#include "base/text.h"

#include <doctest/doctest.h>

using namespace proxycore::base;

TEST_CASE("text: same() ignores ASCII case only") {
  CHECK(same("Content-Length", "content-LENGTH"));
  CHECK_FALSE(same("content-length", "content-lengt"));
  CHECK_FALSE(same("[", "{"));
}

TEST_CASE("text: an address is in brackets, or ends in a number (RFC 3986 §3.2.2)") {
  for (const char* address : {"127.0.0.1", "[::1]", "1", "1.2.3.4.5", "a.256"}) {
    CAPTURE(address);
    CHECK(is_address(address));
  }
  for (const char* name : {"", "a.test", "1.test", "127.0.0.1.", "a.1b"}) {
    CAPTURE(name);
    CHECK_FALSE(is_address(name));
  }
}

TEST_CASE("text: a decimal has digits and nothing else") {
  CHECK(parse_decimal("0") == 0);
  CHECK(parse_decimal("18446744073709551615") == UINT64_MAX);
  CHECK_FALSE(parse_decimal("18446744073709551616").has_value());
  CHECK_FALSE(parse_decimal("").has_value());
  CHECK_FALSE(parse_decimal("+5").has_value());
  CHECK_FALSE(parse_decimal("-5").has_value());
  CHECK_FALSE(parse_decimal(" 5").has_value());
  CHECK_FALSE(parse_decimal("5 ").has_value());
  CHECK_FALSE(parse_decimal("5", 4).has_value());
}

TEST_CASE("text: list members are trimmed, empty ones stay empty") {
  std::string_view rest = " a , ,b";
  CHECK(next_member(rest) == "a");
  CHECK(next_member(rest).empty());
  CHECK(next_member(rest) == "b");
  CHECK(rest.empty());
  CHECK(has_member("keep-alive, Upgrade", "upgrade"));
  CHECK_FALSE(has_member("keep-alive, xupgrade", "upgrade"));
}

TEST_CASE("text: what comes from outside is shown in quotes, cut, without control characters") {
  CHECK(shown("") == "''");
  CHECK(shown("a b") == "'a b'");
  CHECK(shown("\x1b[1m") == "'?[1m'");
  CHECK(shown(std::string_view("a\0b\x7f", 4)) == "'a?b?'");
  CHECK(shown(std::string(80, 'a')) == "'" + std::string(80, 'a') + "'");
  CHECK(shown(std::string(81, 'a')) == "'" + std::string(80, 'a') + "...'");
  CHECK(shown(std::string(79, 'a') + "\xE2\x82\xAC") == "'" + std::string(79, 'a') + "...'");
}

TEST_CASE("text: dates are those of RFC 9110 and ISO 8601") {
  CHECK(http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(iso_date(784111777123) == "1994-11-06T08:49:37.123Z");
  CHECK(log_date(784111777) == "06/Nov/1994:08:49:37 +0000");
  CHECK(iso_date(-1) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("text: tokens are RFC 9110 tchars") {
  CHECK(is_token("X-Forwarded-For"));
  CHECK_FALSE(is_token(""));
  CHECK_FALSE(is_token("a b"));
  CHECK_FALSE(is_token("a:"));
  CHECK_FALSE(is_token("\xc3\xbc"));
}

TEST_CASE("text: a UTF-8 character is measured, what is none is 0 (RFC 3629 §4)") {
  CHECK(utf8_length("a") == 1);
  CHECK(utf8_length("\xC3\xA9") == 2);
  CHECK(utf8_length("\xE2\x82\xAC") == 3);
  CHECK(utf8_length("\xF0\x9F\x98\x80") == 4);
  CHECK(utf8_length("\xF4\x8F\xBF\xBF") == 4);
  for (const std::string_view bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x9F\x98", "\xFF"}) {
    CHECK(utf8_length(bad) == 0);
  }
}

TEST_CASE("text: bytes in hex and back") {
  const unsigned char bytes[] = {0x00, 0x9f, 0xFF};
  CHECK(hex(bytes) == "009fff");
  unsigned char read[3];
  CHECK(parse_hex("009FfF", read));
  CHECK(std::equal(std::begin(read), std::end(read), bytes));
  for (const std::string_view bad : {"", "009ff", "009ffff", "009fg0", "0x9fff", " 09fff"}) {
    CHECK_FALSE(parse_hex(bad, read));
  }
}

TEST_CASE("text: base64 in both alphabets (RFC 4648 §10)") {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    CHECK(base64(bytes) == text);
    CHECK(parse_base64(text) == bytes);
    CHECK(parse_base64(base64url(bytes)) == bytes);
  }
  CHECK(base64("\xfb\xff\xbf") == "+/+/");
  CHECK(base64url("\xfb\xff\xbf") == "-_-_");
  CHECK(parse_base64("-_-_") == "\xfb\xff\xbf");
  CHECK(parse_base64("+/+/") == "\xfb\xff\xbf");
}

TEST_CASE("text: what is no base64 is refused") {
  for (const char* text :
       {"Z", "Zg=", "Zg===", "Zm8=Zm8=", "Zm 9", "Zh==", "Zm9=", "=", "Z*==", "Zm9v="}) {
    CAPTURE(text);
    CHECK_FALSE(parse_base64(text).has_value());
  }
}

TEST_CASE("text: dates of RFC 3339") {
  CHECK(parse_iso_date("1994-11-06T08:49:37Z") == 784111777);
  CHECK(parse_iso_date("1994-11-06T08:49:37.123456789Z") == 784111777);
  CHECK(parse_iso_date("1994-11-06T10:19:37+01:30") == 784111777);
  CHECK(parse_iso_date("1994-11-05t23:49:37-09:00") == 784111777);
  CHECK(parse_iso_date("1969-12-31T23:59:59Z") == -1);
  CHECK(parse_iso_date(iso_date(1'700'000'000'123)) == 1'700'000'000);
  for (const char* text :
       {"", "1994-11-06", "1994-11-06T08:49:37", "1994-13-06T08:49:37Z", "1994-11-06T24:49:37Z",
        "1994-11-06T08:49:37.Z", "1994-11-06T08:49:37+1:00", "1994-11-06T08:49:37Zx",
        "+994-11-06T08:49:37Z", "1994-11-06T08:49:37+01:00x"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_iso_date(text).has_value());
  }
}

TEST_CASE("text: dates of HTTP in their three forms (RFC 9110 §5.6.7)") {
  constexpr std::int64_t now = 1'790'000'000;  // 2026
  constexpr std::int64_t then = 784'111'777;
  CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now) == then);
  CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now) == then);
  CHECK(parse_http_date("Sun Nov  6 08:49:37 1994", now) == then);
  CHECK(parse_http_date("Saturday, 06-Nov-27 00:00:00 GMT", now) == 1'825'459'200);
  for (const std::string_view text :
       {"", "soon", "Sun, 06 Nov 1994", "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Now 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT GMT",
        "Sun, 06 Nov 1994 8:49:370 GMT", "Sun, 06 Nov -1994 08.49.37 GMT"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_http_date(text, now).has_value());
  }
}
