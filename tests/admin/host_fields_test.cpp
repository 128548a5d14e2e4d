#include "admin/host_fields.h"

#include <algorithm>

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

namespace json = base::json;

ReadFields read(std::string_view text, Whole whole) {
  const auto body = json::parse(text);
  REQUIRE(body);
  return read_host_fields(*body, whole);
}

std::string message(const ReadFields& read, std::string_view key) {
  const auto at = std::find_if(read.wrong.begin(), read.wrong.end(),
                               [key](const Problem::Field& field) { return field.key == key; });
  return at != read.wrong.end() ? at->message : "";
}

}  // namespace

TEST_CASE(
    "host fields: a record is shown with types, and with what it stands for where it is silent") {
  const Record record = {{"host", "a.example.com"},
                         {"ip", "10.0.0.1"},
                         {"targetPort", "80"},
                         {"forcessl", "false"},
                         {"targets", "[\"10.0.0.2:80\"]"},
                         {"created_on", "123"},
                         {"wildcard_expires", "junk"}};
  const auto shown = json::parse(host_json(record));
  REQUIRE(shown);
  CHECK(shown->integer("targetPort").value_or(0) == 80);
  CHECK(shown->boolean("forcessl").value_or(true) == false);
  CHECK(shown->boolean("targetssl").value_or(true) == false);
  CHECK(shown->boolean("is_cache").value_or(true) == false);
  CHECK(shown->array("targets")->size() == 1);
  CHECK(shown->text("created_on").value_or("") == "123");
  CHECK(shown->find("wildcard_expires")->kind() == json::Value::Kind::null);
  CHECK(shown->find("connectTimeout") == nullptr);
}

TEST_CASE("host fields: secrets of later eras are never shown, other fields are kept") {
  const Record record = {{"host", "a.example.com"},
                         {"basicauth_users", "{\"bob\":\"hash\"}"},
                         {"ip_allow", "[\"10.0.0.0/8\"]"},
                         {"note", "hello"}};
  const std::string text = host_json(record);
  CHECK(text.find("hash") == std::string::npos);
  const auto shown = json::parse(text);
  REQUIRE(shown);
  CHECK(shown->find("basicauth_users")->boolean("set").value_or(false));
  CHECK(shown->array("ip_allow")->size() == 1);
  CHECK(shown->text("note").value_or("") == "hello");
}

TEST_CASE("host fields: what is missing or of another type is said in the words of old clients") {
  const ReadFields nothing = read("{}", Whole::yes);
  CHECK(message(nothing, "host") == "host is required.");
  CHECK(message(nothing, "ip") == "ip is required.");
  CHECK(message(nothing, "targetPort") == "targetPort is required.");
  const ReadFields typed =
      read(R"({"host":1,"ip":"x","targetPort":"80","forcessl":"true","targets":[1]})", Whole::yes);
  CHECK(message(typed, "host") == "host is not string type.");
  CHECK(message(typed, "targetPort") == "targetPort is not number type.");
  CHECK(message(typed, "forcessl") == "forcessl is not boolean type.");
  CHECK(message(typed, "targets") == "targets is not array type.");
  CHECK(typed.wrong.size() == 4);
}

TEST_CASE(
    "host fields: a change names some fields, null takes one away, and book-keeping is not set") {
  const ReadFields change =
      read(R"({"forcessl":false,"connectTimeout":null,"targetServerName":"","is_cache":true,)"
           R"("created_by":"mallory","updated_on":1,"nonsense":1,"targets":["10.0.0.2:80"]})",
           Whole::no);
  CHECK(change.wrong.empty());
  Record record = {{"connectTimeout", "5"}, {"targetServerName", "x"}, {"created_by", "alice"}};
  apply(change.edits, record);
  CHECK(record ==
        Record{{"created_by", "alice"}, {"forcessl", "false"}, {"targets", "[\"10.0.0.2:80\"]"}});
  CHECK(message(read(R"({"host":null})", Whole::no), "host") == "host is required.");
}

TEST_CASE("host fields: lists are taken as JSON text as well") {
  const ReadFields change = read(R"({"targets":"[\"10.0.0.2:80\"]"})", Whole::no);
  Record record;
  apply(change.edits, record);
  CHECK(record == Record{{"targets", "[\"10.0.0.2:80\"]"}});
}

}  // namespace proxycore::admin
