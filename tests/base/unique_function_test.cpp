#include "base/unique_function.h"

#include <memory>
#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore::base;

TEST_CASE("unique_function: owns what it captured, and moves") {
  auto text = std::make_unique<std::string>("owned");
  UniqueFunction<std::string(int)> first = [text = std::move(text)](int number) {
    return *text + std::to_string(number);
  };
  UniqueFunction<std::string(int)> second = std::move(first);
  CHECK(second(7) == "owned7");
}

TEST_CASE("unique_function: empty until something is assigned") {
  UniqueFunction<void()> nothing;
  CHECK_FALSE(nothing);
  nothing = [] {};
  CHECK(nothing);
}

TEST_CASE("unique_function: what it captured dies with it, or when it is replaced") {
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = held;
  UniqueFunction<int()> function = [held = std::move(held)] { return *held; };
  CHECK(function() == 1);
  CHECK_FALSE(watched.expired());
  function = [] { return 2; };
  CHECK(watched.expired());
  CHECK(function() == 2);
}

TEST_CASE("unique_function: may change what it captured") {
  UniqueFunction<int()> count = [number = 0]() mutable { return ++number; };
  count();
  CHECK(count() == 2);
}

TEST_CASE("unique_function: passes arguments on as they are") {
  UniqueFunction<void(std::unique_ptr<int>, int&)> store = [](std::unique_ptr<int> from, int& to) {
    to = *from;
  };
  int result = 0;
  store(std::make_unique<int>(5), result);
  CHECK(result == 5);
}
