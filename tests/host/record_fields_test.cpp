#include "host/record_fields.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::host;

TEST_CASE("record fields: a boolean is false only when it reads exactly so") {
  for (const char* text : {"true", "", "0", "FALSE", "no", "null"}) {
    CHECK(fields::boolean({{"b", text}}, "b", false));
  }
  CHECK_FALSE(fields::boolean({{"b", "false"}}, "b", true));
  CHECK(fields::boolean({}, "b", true));
  CHECK_FALSE(fields::boolean({}, "b", false));
  CHECK(fields::spelled(true) == "true");
  CHECK(fields::spelled(false) == "false");
}

TEST_CASE("record fields: numbers are whole, and as JavaScript writes them") {
  const auto number = [](std::string text) { return fields::whole({{"n", text}}, "n", 1, 100); };
  CHECK(**number("80") == 80);
  CHECK(**number(" 80.0 ") == 80);
  CHECK(**number("1e2") == 100);
  CHECK_FALSE(fields::whole({}, "n", 1, 100)->has_value());
  CHECK(number("x").error().message() == "invalid: field 'n': expected a number, found 'x'");
  CHECK(number("0").error().detail == "field 'n': 0 is under 1");
  CHECK(number("101").error().detail == "field 'n': 101 is over 100");
  CHECK(number("80.5").error().detail == "field 'n': 80.5 is no whole number");
  CHECK(fields::time_stamp({{"t", "1795390256641"}}, "t") == 1795390256641);
  CHECK_FALSE(fields::time_stamp({{"t", "NaN"}}, "t"));
}

TEST_CASE("record fields: a user who is not known is nobody") {
  CHECK(fields::user({{"u", "alice"}}, "u") == "alice");
  CHECK(fields::user({{"u", "__NONE__"}}, "u").empty());
  CHECK(fields::user({}, "u").empty());
  CHECK(fields::text({{"u", "__NONE__"}}, "u") == "__NONE__");
}

TEST_CASE("record fields: a list is JSON text") {
  const std::vector<std::string> list = {"a", "b\"c"};
  CHECK(*fields::texts({{"l", fields::spelled(list)}}, "l") == list);
  CHECK(fields::texts({{"l", ""}}, "l")->empty());
  CHECK(fields::texts({}, "l")->empty());
  CHECK(fields::texts({{"l", "{}"}}, "l").error().detail.starts_with("field 'l': "));
  CHECK(fields::texts({{"l", "[1]"}}, "l").error().code == Errc::invalid);
}

TEST_CASE("record fields: what is missing is named, all at once") {
  constexpr std::array<std::string_view, 3> names = {"a", "b", "c"};
  CHECK(fields::require({{"a", "1"}}, names).error().detail == "missing: field 'b', 'c'");
  CHECK(fields::require({{"a", ""}, {"b", ""}, {"c", ""}}, names));
}
