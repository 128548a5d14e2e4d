#include "tls/accel/random.h"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore::tls;

TEST_CASE("random: fills any size, and never the same twice") {
  for (const std::size_t size : {std::size_t{32}, std::size_t{1} << 20}) {
    std::vector<unsigned char> one(size);
    std::vector<unsigned char> other(size);
    CHECK(random_bytes(nullptr, one.data(), size) == 0);
    CHECK(random_bytes(nullptr, other.data(), size) == 0);
    CHECK(one != other);
    // All of it was written: a run of 16 zeroes would be a hole.
    const std::vector<unsigned char> hole(16);
    CHECK(std::search(one.begin(), one.end(), hole.begin(), hole.end()) == one.end());
  }
  CHECK(random_bytes(nullptr, nullptr, 0) == 0);
}
