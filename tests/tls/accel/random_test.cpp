#include "tls/accel/random.h"

#include <algorithm>
#include <array>
#include <set>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace proxycore::tls;

TEST_CASE("random: fills any size, and never the same twice") {
  for (const std::size_t size : {std::size_t{16}, std::size_t{64}, std::size_t{65},
                                 std::size_t{300}, std::size_t{1} << 20}) {
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

namespace {

using Some = std::array<unsigned char, 16>;

Some some() {
  Some bytes{};
  CHECK(random_bytes(nullptr, bytes.data(), bytes.size()) == 0);
  return bytes;
}

}  // namespace

TEST_CASE("random: many small ones are all different, on every thread") {
  std::set<Some> seen;
  for (int i = 0; i < 1'000; ++i) seen.insert(some());
  std::vector<Some> others;
  std::thread other([&others] {
    for (int i = 0; i < 1'000; ++i) others.push_back(some());
  });
  other.join();
  seen.insert(others.begin(), others.end());
  CHECK(seen.size() == 2'000);
}

TEST_CASE("random: a child process gets others than its parent") {
  static_cast<void>(some());  // there is a supply, and some of it left
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::array<unsigned char, 16> bytes{};
    const bool fine = random_bytes(nullptr, bytes.data(), bytes.size()) == 0 &&
                      ::write(ends[1], bytes.data(), bytes.size()) == 16;
    ::_exit(fine ? 0 : 1);
  }
  Some childs{};
  CHECK(::read(ends[0], childs.data(), childs.size()) == 16);
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  for (const int fd : ends) ::close(fd);
  CHECK(childs != some());
}
