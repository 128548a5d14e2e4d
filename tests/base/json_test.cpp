#include "base/json.h"

#include <limits>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::base;

namespace {

std::string quoted(std::string_view text) {
  std::string out;
  json::append_quoted(out, text);
  return out;
}

std::string problem(const std::string& text, const json::Bounds& bounds = {}) {
  const auto value = json::parse(text, bounds);
  return value ? "parsed" : value.error().message();
}

}  // namespace

TEST_CASE("json: a writer sets commas between elements and none after a key") {
  std::string out;
  json::Writer writer{out};
  writer.begin_object()
      .field("name", "a")
      .field("port", 8080)
      .field("on", true)
      .key("list")
      .begin_array()
      .value(-1)
      .begin_array()
      .end_array()
      .begin_object()
      .end_object()
      .null()
      .end_array()
      .field("ratio", 0.5)
      .key("raw")
      .raw("[1,2]")
      .end_object();
  CHECK(out ==
        R"({"name":"a","port":8080,"on":true,"list":[-1,[],{},null],"ratio":0.5,"raw":[1,2]})");
}

TEST_CASE("json: a writer appends to what is there") {
  std::string out = "x=";
  json::Writer{out}.value(std::string{"y"});
  CHECK(out == "x=\"y\"");
}

TEST_CASE("json: extreme numbers are written whole, those JSON lacks as null") {
  std::string out;
  json::Writer{out}
      .begin_array()
      .value(std::numeric_limits<std::int64_t>::min())
      .value(std::numeric_limits<std::uint64_t>::max())
      .value(std::numeric_limits<double>::infinity())
      .value(std::numeric_limits<double>::quiet_NaN())
      .value(std::uint8_t{7})
      .end_array();
  CHECK(out == "[-9223372036854775808,18446744073709551615,null,null,7]");
}

TEST_CASE("json: quotes, backslashes and control characters are escaped") {
  CHECK(quoted("a\"b\\c") == R"("a\"b\\c")");
  CHECK(quoted("\n\r\t\b\x1f") == R"("\n\r\t\u0008\u001f")");
  CHECK(quoted(std::string_view{"\0x", 2}) == R"("\u0000x")");
  CHECK(quoted("") == R"("")");
}

TEST_CASE("json: UTF-8 goes through, other bytes become U+FFFD") {
  CHECK(quoted("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80") == "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80\"");
  CHECK(quoted("a\xFFz") == "\"a\xEF\xBF\xBDz\"");
  CHECK(quoted("\xC3") == "\"\xEF\xBF\xBD\"");
  CHECK(quoted("\xC3\"") == "\"\xEF\xBF\xBD\\\"\"");
  CHECK(quoted("\xED\xA0\x80") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST_CASE("json: any byte string is read back as it was written, where it is UTF-8") {
  std::string every;
  for (int c = 0; c < 128; ++c) every += static_cast<char>(c);
  every += "\xC3\xA9\xE2\x82\xAC";
  const auto value = json::parse(quoted(every));
  REQUIRE(value);
  CHECK(*value->text() == every);
}

TEST_CASE("json: typed getters of an object's fields") {
  const auto value = json::parse(
      R"({"host":"a.test","port":80,"on":false,"ratio":1.5,"list":["x",2],"none":null})");
  REQUIRE(value);
  CHECK(*value->text("host") == "a.test");
  CHECK(*value->integer("port", 1, 65535) == 80);
  CHECK_FALSE(*value->boolean("on"));
  CHECK(*value->find("ratio")->number() == 1.5);
  CHECK(*value->find("port")->number() == 80.0);
  const auto list = value->array("list");
  REQUIRE(list);
  REQUIRE(list->size() == 2);
  CHECK(*(*list)[0].text() == "x");
  CHECK(value->find("none")->kind() == json::Value::Kind::null);
  CHECK(value->find("other") == nullptr);
  CHECK(value->object()->size() == 6);
  CHECK(value->object()->front().name == "host");
}

TEST_CASE("json: an error names the field, what was expected and what was found") {
  const auto value = json::parse(R"({"port":70000,"zero":0,"host":80,"list":{},"on":"yes"})");
  REQUIRE(value);
  CHECK(value->integer("port", 1, 65535).error().detail == "field 'port': 70000 is over 65535");
  CHECK(value->integer("zero", 1, 65535).error().detail == "field 'zero': 0 is under 1");
  CHECK(value->text("host").error().detail == "field 'host': expected a string, found 80");
  CHECK(value->array("list").error().detail == "field 'list': expected an array, found an object");
  CHECK(value->boolean("on").error().detail == "field 'on': expected true or false, found \"yes\"");
  CHECK(value->text("name").error().detail == "field 'name': missing");
  CHECK(value->text("name").error().code == Errc::invalid);
  const auto number = json::parse("5");
  REQUIRE(number);
  CHECK(number->text("name").error().detail == "expected an object, found 5");
  CHECK(json::parse("[]")->object().error().detail == "expected an object, found an array");
}

TEST_CASE("json: a long text is cut where an error shows it") {
  const auto value = json::parse(quoted(std::string(5000, 'x')));
  REQUIRE(value);
  CHECK(value->boolean().error().detail.size() < 100);
}

TEST_CASE("json: what is not JSON is refused") {
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\":}", "nul", "01", "1 2", "\"\n\"", "'a'",
                           "\"\xFF\"", "{\"a\" 1}", "[1", "\"\\ud800\"", "NaN", "//x\n1"}) {
    CAPTURE(text);
    CHECK(problem(text).substr(0, 8) == "invalid:");
  }
}

TEST_CASE("json: one name twice in an object is refused") {
  CHECK(problem(R"({"a":1,"b":2,"a":3})") == "invalid: json: \"a\" appears twice in one object");
  CHECK(problem(R"([{"a":1},{"a":2}])") == "parsed");
  CHECK(problem(R"({"a":1,"\u0061":2})") == "invalid: json: \"a\" appears twice in one object");
}

TEST_CASE("json: size and depth are bounded") {
  CHECK(problem("[1,2,3]", {.size = 6, .depth = 32}) == "limit: json: 7 bytes are over 6");
  CHECK(problem("[1,2,3]", {.size = 7, .depth = 32}) == "parsed");
  CHECK(problem("[[[]]]", {.size = 100, .depth = 3}) == "parsed");
  CHECK(problem("[[[[]]]]", {.size = 100, .depth = 3}) == "limit: json: nested deeper than 3");
  CHECK(problem("{\"a\":{\"a\":{\"a\":{}}}}", {.size = 100, .depth = 3}) ==
        "limit: json: nested deeper than 3");
  CHECK(problem(std::string(100'000, '[') + std::string(100'000, ']')) ==
        "limit: json: nested deeper than 32");
}

TEST_CASE("json: a negative zero stays one") {
  const auto value = json::parse("-0.0");
  REQUIRE(value);
  std::string text;
  json::Writer{text}.value(*value->number());
  CHECK(text == "-0.0");
  CHECK(json::parse(text)->kind() == json::Value::Kind::number);
}

TEST_CASE("json: integers beyond 64 bits signed are numbers") {
  CHECK(*json::parse("9223372036854775807")->integer() == std::numeric_limits<std::int64_t>::max());
  CHECK(json::parse("9223372036854775808")->kind() == json::Value::Kind::number);
  CHECK_FALSE(json::parse("9223372036854775808")->integer().has_value());
}
