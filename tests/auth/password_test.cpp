#include "auth/password.h"

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::auth {

namespace {
// Made by the old software, and by others, for "bob-secret".
constexpr std::string_view bobs = "$2b$10$9K9hh9o4ZJThoQ9E4a0l2.qtC421vT1/6G6FSlnC8e80IVR26s6Se";

std::string as_form(std::string_view form, std::string_view hash) {
  return std::string(form).append(hash.substr(form.size()));
}

std::string detail(const Result<std::string>& result) {
  return result ? "" : result.error().detail;
}
std::string detail(const Result<void>& result) {
  return result ? "" : result.error().detail;
}

// Of this thread's time on a core, which others on the machine do not add to; the least of a few
// tries.
template <class Function>
double seconds(Function&& function) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const double began = now();
    function();
    best = std::min(best, now() - began);
  }
  return best;
}
}  // namespace

TEST_CASE("password: a hash is verified with its own password alone") {
  const auto hash = hash_password("correct horse", min_cost);
  REQUIRE(hash);
  CHECK(hash->starts_with("$2b$04$"));
  CHECK(hash->size() == 60);
  CHECK(verify_password("correct horse", *hash, min_cost));
  CHECK_FALSE(verify_password("correct horsf", *hash, min_cost));
  CHECK_FALSE(verify_password("Correct horse", *hash, min_cost));
  CHECK_FALSE(verify_password("", *hash, min_cost));
  CHECK(*hash_password("correct horse", min_cost) != *hash);
}

TEST_CASE("password: hashes of existing installations are verified, in all three forms") {
  CHECK(verify_password("bob-secret", bobs, min_cost));
  CHECK(verify_password("bob-secret", as_form("$2a$", bobs), min_cost));
  CHECK(verify_password("bob-secret", as_form("$2y$", bobs), min_cost));
  CHECK_FALSE(verify_password("bob-Secret", as_form("$2y$", bobs), min_cost));
}

TEST_CASE("password: the first 72 bytes count, up to a NUL, as when they were set") {
  const std::string longest(72, 'x');
  const auto hash = hash_password(longest, min_cost);
  REQUIRE(hash);
  CHECK(verify_password(longest + "y", *hash, min_cost));
  CHECK_FALSE(verify_password(std::string(71, 'x') + "y", *hash, min_cost));
  CHECK(verify_password(std::string(10'000, 'x'), *hash, min_cost));
  const auto small = hash_password("abc", min_cost);
  REQUIRE(small);
  CHECK(verify_password(std::string_view("abc\0def", 7), *small, min_cost));
  CHECK_FALSE(verify_password(std::string_view("\0abc", 4), *small, min_cost));
}

TEST_CASE("password: what bcrypt would cut short is not taken") {
  CHECK(hash_password("", min_cost).error().code == Errc::invalid);
  CHECK(detail(hash_password(std::string(73, 'x'), min_cost)) ==
        "expected at most 72 bytes, found 73; bcrypt takes no more");
  CHECK(detail(hash_password(std::string_view("a\0b", 3), min_cost)) ==
        "expected a text, found a NUL in it");
  CHECK(detail(hash_password("a", 3)) == "expected a cost of 4..16, found 3");
  CHECK(detail(hash_password("a", 17)) == "expected a cost of 4..16, found 17");
}

TEST_CASE("password: what is no bcrypt hash matches nothing") {
  for (const std::string_view hash :
       {std::string_view{}, std::string_view{"bob-secret"}, std::string_view{"$6$salt$abc"},
        std::string_view{"$2b$10$9K9hh9o4ZJThoQ9E4a0l2"}, std::string_view{"*0"}}) {
    CAPTURE(hash);
    CHECK_FALSE(verify_password("bob-secret", hash, min_cost));
    CHECK_FALSE(verify_password("", hash, min_cost));
  }
  CHECK_FALSE(verify_password("bob-secret", as_form("$2x$", bobs), min_cost));
  CHECK_FALSE(verify_password("bob-secret", as_form("$2b$99", bobs), min_cost));
  // It would take days.
  CHECK_FALSE(verify_password("bob-secret", as_form("$2b$31", bobs), min_cost));
  CHECK_FALSE(verify_password("bob-secret", as_form("$2b$1a", bobs), min_cost));
}

TEST_CASE("password: nobody tells by the time whether there is a hash, or of what cost") {
  constexpr unsigned cost = 8;
  const auto same = hash_password("some password", cost);
  const auto older = hash_password("some password", 5);
  REQUIRE(same);
  REQUIRE(older);
  const double known = seconds([&] { CHECK_FALSE(verify_password("another", *same, cost)); });
  const double unknown = seconds([&] { CHECK_FALSE(verify_password("another", "", cost)); });
  const double cheap = seconds([&] { CHECK_FALSE(verify_password("another", *older, cost)); });
  const double right = seconds([&] { CHECK(verify_password("some password", *older, cost)); });
  CAPTURE(known);
  for (const double other : {unknown, cheap, right}) {
    CAPTURE(other);
    CHECK(other > known / 2);
    CHECK(other < known * 2);
  }
}

TEST_CASE("password: strength is length, or kinds of characters") {
  CHECK(detail(check_strength("Ab1!xyz")) == "expected at least 8 characters");
  CHECK(detail(check_strength("")) == "expected at least 8 characters");
  CHECK(detail(check_strength("abcdefgh")).starts_with("expected 12 characters or more"));
  CHECK(detail(check_strength("abcdefg1")).starts_with("expected 12 characters or more"));
  CHECK(check_strength("abcdefgH1"));
  CHECK(check_strength("abcdefg-1"));
  CHECK(check_strength("ABCDEFG-1"));
  CHECK(check_strength("abcdefghijkl"));
}

}  // namespace proxycore::auth
