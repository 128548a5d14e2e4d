#include "lookup/socket_protocol.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::JsonStream;
using lookup::LookupReply;
using lookup::LookupRequest;

namespace {

using Texts = std::vector<std::string>;

void take(JsonStream& stream, Texts& into) {
  for (;;) {
    const auto value = stream.next();
    if (!value) {
      into.push_back("error " + value.error().message());
      return;
    }
    if (!*value) return;
    into.emplace_back(**value);
  }
}

// The values, fed whole, cut at each place, and byte by byte: they must be the same.
Texts values(std::string_view bytes, std::size_t most = 100) {
  Texts whole;
  {
    JsonStream stream(most);
    stream.feed(bytes);
    stream.end();
    take(stream, whole);
  }
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Texts parts;
    JsonStream stream(most);
    stream.feed(bytes.substr(0, cut));
    take(stream, parts);
    if (parts.empty() || !parts.back().starts_with("error ")) {
      stream.feed(bytes.substr(cut));
      stream.end();
      take(stream, parts);
    }
    CAPTURE(cut);
    CHECK(parts == whole);
  }
  Texts single;
  JsonStream stream(most);
  for (const char& byte : bytes) {
    stream.feed({&byte, 1});
    take(stream, single);
    if (!single.empty() && single.back().starts_with("error ")) break;
  }
  stream.end();
  if (single.empty() || !single.back().starts_with("error ")) take(stream, single);
  CHECK(single == whole);
  return whole;
}

Texts some(std::initializer_list<std::string> texts) {
  return texts;
}

}  // namespace

TEST_CASE("socket protocol: values are cut out of the stream however it comes") {
  CHECK(values(R"({"domain":"a.test"})") == some({R"({"domain":"a.test"})"}));
  CHECK(values("{\"a\":1}\r\n") == some({"{\"a\":1}"}));
  CHECK(values("{}{}\n{}  [] ") == some({"{}", "{}", "{}", "[]"}));
  CHECK(values(R"({"a":{"b":["}","]","\"{","\\"]}} {"c":"é"})") ==
        some({R"({"a":{"b":["}","]","\"{","\\"]}})", R"({"c":"é"})"}));
  CHECK(values("\n \t\r\n").empty());
  CHECK(values("{\"a\":").empty());
}

TEST_CASE("socket protocol: values that are no object are cut out as well") {
  CHECK(values("null\n5 -1.5e+3\ttrue{}\"a b\\\"c\"\"d\"") ==
        some({"null", "5", "-1.5e+3", "true", "{}", "\"a b\\\"c\"", "\"d\""}));
  CHECK(values("12") == some({"12"}));  // whole with the end of the stream only
  JsonStream stream(10);
  stream.feed("12");
  CHECK_FALSE(*stream.next());
  CHECK(stream.partial());
}

TEST_CASE("socket protocol: what is no JSON, or too long, is told") {
  CHECK(values("{}\x01{}") == some({"{}", "error invalid: expected JSON, found '?'"}));
  CHECK(values("}") == some({"error invalid: expected JSON, found '}'"}));
  CHECK(values("{\"a\":\"" + std::string(100, 'x')) == some({"error limit: over 100 bytes"}));
  CHECK(values("{\"a\":\"" + std::string(200, 'x') + "\"}") ==
        some({"error limit: over 100 bytes"}));
  CHECK(values(std::string(101, '1')) == some({"error limit: over 100 bytes"}));
  CHECK(values("[" + std::string(98, ' ') + "]") == some({"[" + std::string(98, ' ') + "]"}));
  CHECK(values(std::string(500, ' ') + "{}") == some({"{}"}));
}

TEST_CASE("socket protocol: a stream begins anew") {
  JsonStream stream(100);
  stream.feed("{\"a\":\"");
  CHECK_FALSE(*stream.next());
  stream.clear();
  CHECK_FALSE(stream.partial());
  stream.feed("{}");
  CHECK(*stream.next() == std::string_view("{}"));
}

TEST_CASE("socket protocol: a request names a domain, or none") {
  const auto domain = [](std::string_view text) {
    const auto request = LookupRequest::parse(text);
    REQUIRE(request);
    CHECK(request->wants_reply);
    return request->domain;
  };
  CHECK(domain(R"({"domain":"App.Example.com"})") == "App.Example.com");
  CHECK(domain(R"({"x":1,"domain":"a.test","y":{}})") == "a.test");
  for (const char* text : {"{}", R"({"domain":null})", R"({"domain":5})", R"({"domain":["a"]})",
                           "[]", "5", "\"a.test\"", R"({"domain":""})", "true"}) {
    CAPTURE(text);
    CHECK(domain(text).empty());
  }
  const auto null = LookupRequest::parse("null");
  REQUIRE(null);
  CHECK_FALSE(null->wants_reply);
  CHECK(LookupRequest::parse("{\"domain\":\"a}").error().code == Errc::invalid);
  CHECK(LookupRequest::parse("{\"domain\":\"\xff\"}").error().code == Errc::invalid);
  CHECK(LookupRequest::parse("nonsense").error().code == Errc::invalid);
}

TEST_CASE("socket protocol: what we ask is one line") {
  std::string out;
  lookup::append_request(out, "a.test");
  CHECK(out == "{\"domain\":\"a.test\"}\n");
  CHECK(LookupRequest::parse(out)->domain == "a.test");
}

TEST_CASE("socket protocol: a reply is the record, all of it text") {
  const Record record = {{"host", "a.test"},
                         {"ip", "10.0.0.5"},
                         {"targetPort", "8080"},
                         {"targets", R"(["10.0.0.6:80"])"}};
  std::string out;
  lookup::append_reply(out, record);
  CHECK(out ==
        "{\"host\":\"a.test\",\"ip\":\"10.0.0.5\",\"targetPort\":\"8080\","
        "\"targets\":\"[\\\"10.0.0.6:80\\\"]\"}\n");
  const auto read = LookupReply::parse(out);
  REQUIRE(read);
  CHECK(*read == record);
}

TEST_CASE("socket protocol: replies that are none, or say why not") {
  std::string miss;
  lookup::append_miss(miss);
  CHECK(miss == "{}\n");
  CHECK(LookupReply::parse(miss)->empty());

  std::string error;
  lookup::append_error(error, "limit: over 65536 bytes");
  CHECK(error == "{\"error\":\"limit: over 65536 bytes\"}\n");
  const auto failed = LookupReply::parse(error);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Errc::busy);
  CHECK(failed.error().detail == "it says 'limit: over 65536 bytes'");

  const auto scalars = LookupReply::parse(R"({"a":true,"b":8080,"c":"d"})");
  REQUIRE(scalars);
  CHECK(*scalars == Record{{"a", "true"}, {"b", "8080"}, {"c", "d"}});
  const auto list = LookupReply::parse(R"({"a":[1]})");
  REQUIRE_FALSE(list);
  CHECK(list.error().detail == "field 'a': expected a string, found an array");
  CHECK_FALSE(LookupReply::parse("[]"));
  CHECK_FALSE(LookupReply::parse("null"));
}
