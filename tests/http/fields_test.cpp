#include "http/fields.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore::http;

namespace {
std::string text_of(const Fields& fields) {
  std::string all;
  for (const Fields::Field field : fields) {
    all.append(field.name).append("=").append(field.value).append(";");
  }
  return all;
}
}  // namespace

TEST_CASE("fields: every well-known name is found in any case, and nothing else") {
  for (int i = 1; i <= static_cast<int>(FieldId::x_request_id); ++i) {
    const auto id = static_cast<FieldId>(i);
    std::string name{field_name(id)};
    CAPTURE(name);
    CHECK(field_id(name) == id);
    for (char& c : name) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    CHECK(field_id(name) == id);
    CHECK(field_id(name + "x") == FieldId::other);
    CHECK(field_id(name.substr(1)) == FieldId::other);
    name[name.size() / 2] = '~';
    CHECK(field_id(name) == FieldId::other);
  }
  CHECK(field_id("") == FieldId::other);
  CHECK(field_id("Content\rLength") == FieldId::other);
}

TEST_CASE("fields: order and case of names are kept") {
  Fields fields;
  fields.add("X-b", "1");
  fields.add(FieldId::host, "a.test");
  fields.add("x-B", "2");
  CHECK(text_of(fields) == "X-b=1;Host=a.test;x-B=2;");
  CHECK(fields.find("x-b") == "1");
  CHECK(fields.find("HOST") == "a.test");
  CHECK_FALSE(fields.find("y"));
  CHECK(fields.size() == 3);
  CHECK(fields.count(FieldId::host) == 1);
}

TEST_CASE("fields: remove and set leave the others in place") {
  Fields fields;
  fields.add("Via", "1");
  fields.add("X", "y");
  fields.add("via", "2");
  CHECK(fields.count(FieldId::via) == 2);
  fields.set(FieldId::via, "3");
  CHECK(text_of(fields) == "X=y;Via=3;");
  CHECK(fields.remove("x") == 1);
  CHECK(fields.remove("x") == 0);
  CHECK(fields.remove(FieldId::via) == 1);
  CHECK_FALSE(fields.has(FieldId::via));
  CHECK(fields.empty());
  CHECK(fields.begin() == fields.end());
}

TEST_CASE("fields: a value of the same fields may be added again while the arena grows") {
  Fields fields;
  fields.add("X", "a value that is long enough to notice when it moves");
  const std::string expected{*fields.find("X")};
  for (int i = 0; i < 200; ++i) fields.add("Y", *fields.find("X"));
  for (const Fields::Field field : fields) CHECK(field.value == expected);
}

TEST_CASE("fields: a field lies there as the line that HTTP/1 writes") {
  Fields fields;
  fields.add("X-One", "1");
  fields.add(FieldId::via, "");
  std::string lines;
  for (const Fields::Field field : fields) lines.append(Fields::line(field));
  CHECK(lines == "X-One: 1\r\nVia: \r\n");
  CHECK(fields.bytes() == lines.size());
}

TEST_CASE("fields: clear forgets, keeps usual memory and gives unusual memory back") {
  Fields fields;
  fields.add("X", std::string(1 << 20, 'x'));
  CHECK(fields.bytes() > 1 << 20);
  fields.clear();
  CHECK(fields.empty());
  CHECK(fields.bytes() == 0);
  CHECK_FALSE(fields.find("X"));
  fields.add("X", "y");
  CHECK(text_of(fields) == "X=y;");
}
