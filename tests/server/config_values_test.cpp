#include "server/config_values.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using server::Form;
using server::Given;
using server::Place;
using server::Rule;
using server::Value;

namespace {

constexpr Place place{"a.toml", 7};

Given text(std::string_view value) {
  return {std::string(value), place};
}
Given number(std::int64_t value) {
  return {value, place};
}

// What is said against a value; empty: nothing.
template <class T>
std::string fault(const Rule& rule, const Given& given) {
  T to{};
  const auto done = Value<T>::read(rule, given, to);
  if (done) return {};
  CHECK(done.error().code == Errc::invalid);
  CHECK_MESSAGE(to == T{}, "a refused value was taken over");
  return done.error().detail;
}

template <class T>
T read(const Rule& rule, const Given& given) {
  T to{};
  const auto done = Value<T>::read(rule, given, to);
  REQUIRE_MESSAGE(done, (done ? "" : done.error().detail));
  return to;
}

}  // namespace

TEST_CASE("config values: numbers have a range") {
  const Rule port{.name = "x.port", .least = 1, .most = 65535};
  CHECK(read<std::uint16_t>(port, number(1)) == 1);
  CHECK(read<std::uint16_t>(port, number(65535)) == 65535);
  for (const std::int64_t bad : {0LL, 65536LL, -1LL, 1LL << 40, 65536LL * 65536 + 1}) {
    CHECK(fault<std::uint16_t>(port, number(bad)) ==
          "a.toml:7: x.port: expected a number from 1 to 65535, found " + std::to_string(bad));
  }
  CHECK(fault<std::uint32_t>(port, text("80")) ==
        "a.toml:7: x.port: expected a number from 1 to 65535, found '80'");
  CHECK(fault<std::uint32_t>(port, {true, place}) ==
        "a.toml:7: x.port: expected a number from 1 to 65535, found true");
  CHECK(fault<std::uint32_t>(port, {Given::Other{"a table"}, place}) ==
        "a.toml:7: x.port: expected a number from 1 to 65535, found a table");
  CHECK(Value<std::uint32_t>::type(port) == "number");
  CHECK(Value<std::uint32_t>::range(port) == "1 to 65535");
  CHECK(Value<std::uint32_t>::shown(port, 80) == "80");
}

TEST_CASE("config values: sizes are bytes or have a unit") {
  const Rule rule{.name = "x.size", .form = Form::size, .most = 1ULL << 50U};
  const auto size = [&](const Given& given) { return read<std::uint64_t>(rule, given); };
  CHECK(size(number(0)) == 0);
  CHECK(size(number(1234)) == 1234);
  CHECK(size(text("12B")) == 12);
  CHECK(size(text("64KiB")) == 65536);
  CHECK(size(text("3MiB")) == 3 << 20);
  CHECK(size(text("4GiB")) == 4ULL << 30);
  CHECK(size(text("2TiB")) == 2ULL << 40);
  CHECK(size(text("1PiB")) == 1ULL << 50);
  for (const std::string_view bad : {"", "1234", "KiB", "64 KiB", "64kib", "64KB", "1.5GiB",
                                     "-1KiB", "2PiBB", "99999999999999999999B"}) {
    CHECK(fault<std::uint64_t>(rule, text(bad)) ==
          "a.toml:7: x.size: expected a size from 0 to 1PiB like 65536 or \"64KiB\", found '" +
              std::string(bad) + "'");
  }
  CHECK(fault<std::uint64_t>(rule, text("2PiB")) ==
        "a.toml:7: x.size: expected a size from 0 to 1PiB, found '2PiB'");
  // 2^64 and more must not come out as something small.
  CHECK_FALSE(fault<std::uint64_t>(rule, text("16384PiB")).empty());
  CHECK_FALSE(fault<std::uint64_t>(rule, text("18446744073709551615KiB")).empty());
  CHECK(Value<std::uint64_t>::shown(rule, 0) == "0");
  CHECK(Value<std::uint64_t>::shown(rule, 65536) == "\"64KiB\"");
  CHECK(Value<std::uint64_t>::shown(rule, 65537) == "\"65537B\"");
}

TEST_CASE("config values: durations are milliseconds or have a unit") {
  const Rule rule{.name = "x.span", .most = 86'400'000};
  const auto span = [&](const Given& given) { return read<Millis>(rule, given).count(); };
  CHECK(span(number(0)) == 0);
  CHECK(span(number(1500)) == 1500);
  CHECK(span(text("500ms")) == 500);
  CHECK(span(text("30s")) == 30'000);
  CHECK(span(text("5m")) == 300'000);
  CHECK(span(text("1h")) == 3'600'000);
  CHECK(span(text("1d")) == 86'400'000);
  for (const std::string_view bad : {"", "s", "30", "30 s", "30S", "1m30s", "-5s", "0.5s"}) {
    CHECK(fault<Millis>(rule, text(bad)) ==
          "a.toml:7: x.span: expected a duration from 0 to 1d like \"30s\" or 500 (milliseconds), "
          "found '" +
              std::string(bad) + "'");
  }
  CHECK(fault<Millis>(rule, text("2d")) ==
        "a.toml:7: x.span: expected a duration from 0 to 1d, found '2d'");
  CHECK(fault<Millis>({.name = "x.span", .least = 1, .most = 500}, number(0)) ==
        "a.toml:7: x.span: expected a duration from 1ms to 500ms, found 0");
  CHECK(Value<Millis>::shown(rule, Millis{90'000}) == "\"90s\"");

  using Optional = std::optional<Millis>;
  CHECK(read<Optional>(rule, text("2s")) == Millis{2000});
  CHECK_FALSE(fault<Optional>(rule, text("2d")).empty());
  CHECK(Value<Optional>::shown(rule, {}).empty());
  CHECK(Value<Optional>::shown(rule, Millis{0}) == "0");
}

TEST_CASE("config values: a file mode is an octal text") {
  const Rule rule{.name = "x.mode", .form = Form::octal, .most = 0777};
  CHECK(read<std::uint32_t>(rule, text("0600")) == 0600);
  CHECK(read<std::uint32_t>(rule, text("777")) == 0777);
  CHECK(fault<std::uint32_t>(rule, number(660)) ==
        "a.toml:7: x.mode: expected an octal text from \"0000\" to \"0777\" like \"0660\", found "
        "660");
  CHECK(fault<std::uint32_t>(rule, text("1777")) ==
        "a.toml:7: x.mode: expected an octal text from \"0000\" to \"0777\", found '1777'");
  for (const std::string_view bad : {"", "0888", "0o660", "-660", "rw-r--r--", "00000660"}) {
    CHECK_FALSE(fault<std::uint32_t>(rule, text(bad)).empty());
  }
  CHECK(Value<std::uint32_t>::shown(rule, 0660) == "\"0660\"");
}

TEST_CASE("config values: true or false is neither a number nor a text") {
  const Rule rule{.name = "x.on"};
  CHECK(read<bool>(rule, {true, place}));
  CHECK(fault<bool>(rule, number(1)) == "a.toml:7: x.on: expected true or false, found 1");
  CHECK(fault<bool>(rule, text("true")) == "a.toml:7: x.on: expected true or false, found 'true'");
}

TEST_CASE("config values: names of levels and formats") {
  const Rule rule{.name = "x.name"};
  CHECK(read<LogLevel>(rule, text("warning")) == LogLevel::warning);
  CHECK(read<LogFormat>(rule, text("combined")) == LogFormat::combined);
  CHECK(fault<LogLevel>(rule, text("Info")) ==
        "a.toml:7: x.name: expected debug, info, warning or error, found 'Info'");
  CHECK(fault<LogFormat>(rule, number(1)) ==
        "a.toml:7: x.name: expected json or combined, found 1");
  for (const LogLevel level :
       {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    const std::string shown = Value<LogLevel>::shown(rule, level);
    CHECK(read<LogLevel>(rule, text(std::string_view(shown).substr(1, shown.size() - 2))) == level);
  }
}

TEST_CASE("config values: texts are checked and never hold control characters") {
  const Rule free{.name = "x.text"};
  CHECK(read<std::string>(free, text("")).empty());
  CHECK(read<std::string>(free, text("b\xC3\xBC"
                                     "cher")) ==
        "b\xC3\xBC"
        "cher");
  CHECK(fault<std::string>(free, number(33)) == "a.toml:7: x.text: expected a text, found 33");
  CHECK(fault<std::string>(free, text("a\nb")) ==
        "a.toml:7: x.text: expected a text without control characters, found 'a?b'");
  CHECK(fault<std::string>(free, text("a\x7F")) ==
        "a.toml:7: x.text: expected a text without control characters, found 'a?'");
  const Rule checked{.name = "x.text", .check = [](std::string_view given) -> Result<void> {
                       if (given == "a") return {};
                       return Error{Errc::invalid, "expected 'a'"};
                     }};
  CHECK(read<std::string>(checked, text("a")) == "a");
  CHECK(fault<std::string>(checked, text("b")) == "a.toml:7: x.text: expected 'a'");
  CHECK(Value<std::string>::shown(free, "a\"b\\") == "\"a\\\"b\\\\\"");
}

TEST_CASE("config values: an array names the line of the value that is wrong") {
  using Texts = std::vector<std::string>;
  const Rule rule{.name = "x.all", .what = "names", .check = [](std::string_view given) {
                    return given.empty() ? Result<void>(Error{Errc::invalid, "expected a name"})
                                         : Result<void>();
                  }};
  const auto array = [](std::vector<Given> parts) { return Given{std::move(parts), place}; };
  const Place below{"a.toml", 9};
  CHECK(read<Texts>(rule, array({})).empty());
  CHECK(read<Texts>(rule, array({text("a"), text("b")})) == Texts{"a", "b"});
  CHECK(fault<Texts>(rule, text("a")) == "a.toml:7: x.all: expected an array of names, found 'a'");
  CHECK(fault<Texts>(rule, array({text("a"), {std::int64_t{5}, below}})) ==
        "a.toml:9: x.all: expected a text in the array of names, found 5");
  CHECK(fault<Texts>(rule, array({text("a"), {std::string(), below}})) ==
        "a.toml:9: x.all: expected a name");
  CHECK(Value<Texts>::type(rule) == "array of names");
  CHECK(Value<Texts>::shown(rule, {"a", "b"}) == "[\"a\", \"b\"]");
}

TEST_CASE("config values: a list of names reads as a sentence") {
  const std::vector<std::string_view> names{"a", "b", "c"};
  CHECK(server::listed({}).empty());
  CHECK(server::listed(std::span(names).first(1)) == "a");
  CHECK(server::listed(std::span(names).first(2)) == "a or b");
  CHECK(server::listed(names) == "a, b or c");
}
