#include <proxycore/result.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

Result<int> number(bool good) {
  if (!good) return Error{Errc::not_found, "no number"};
  return 5;
}

Result<std::string> text_of(bool good) {
  PX_TRY(const int found, number(good));
  return std::to_string(found);
}

Result<void> checked(bool good) {
  PX_CHECK(number(good));
  return {};
}

}  // namespace

TEST_CASE("result: holds a value or an error") {
  CHECK(number(true));
  CHECK(*number(true) == 5);
  CHECK(number(true).value_or(7) == 5);
  CHECK_FALSE(number(false));
  CHECK(number(false).error().code == Errc::not_found);
  CHECK(number(false).value_or(7) == 7);
  CHECK(Result<void>{});
  CHECK_FALSE(Result<void>{Error{Errc::io}});
}

TEST_CASE("result: PX_TRY and PX_CHECK go on with the value or return the error") {
  CHECK(*text_of(true) == "5");
  CHECK(text_of(false).error().detail == "no number");
  CHECK(checked(true));
  CHECK(checked(false).error().code == Errc::not_found);
}

TEST_CASE("result: values that can only be moved, and views of what converts") {
  const auto made = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(3); };
  const std::unique_ptr<int> taken = *made();
  CHECK(*taken == 3);
  const Result<std::string> text = "x";
  CHECK(text->size() == 1);
}

TEST_CASE("result: an error tells its code, its reason and what it happened in") {
  CHECK(Error{Errc::timeout}.message() == "timeout");
  CHECK(Error{Errc::timeout, "connect"}.message() == "timeout: connect");
  const Error outer = Error{Errc::timeout, "connect"}.within("acme: new-order");
  CHECK(outer.code == Errc::timeout);
  CHECK(outer.detail == "acme: new-order: connect");
}

TEST_CASE("result: every code has a name of its own") {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Errc::io); ++code) {
    names.insert(name_of(static_cast<Errc>(code)));
  }
  CHECK(names.size() == static_cast<std::size_t>(Errc::io) + 1);
  CHECK(names.contains("not_found"));
}
