#include "certs/sealer.h"

#include "support/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include <doctest/doctest.h>

using namespace proxycore;
using certs::Sealer;
using test::TempDir;

namespace {

void write(const std::string& path, const std::string& text, mode_t mode) {
  std::ofstream(path) << text;
  ::chmod(path.c_str(), mode);
}

unsigned mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777U;
}

const std::string hex_key = "000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const std::string base64url_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

// $CREDENTIALS_DIRECTORY, as systemd sets it.
struct Credentials {
  explicit Credentials(const std::string& directory) {
    ::setenv("CREDENTIALS_DIRECTORY", directory.c_str(), 1);
  }
  ~Credentials() { ::unsetenv("CREDENTIALS_DIRECTORY"); }
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;
};

}  // namespace

TEST_CASE("sealer: a key that is not there is made, for its owner alone") {
  const TempDir dir;
  const std::string path = dir.file("key");
  const auto first = Sealer::open(path);
  REQUIRE(first);
  CHECK(mode_of(path) == 0600);
  const std::string sealed = first->seal("record.field", "secret").value();
  CHECK(sealed.starts_with("sealed:1:"));
  CHECK(sealed.find("secret") == std::string::npos);
  const auto second = Sealer::open(path);
  REQUIRE(second);
  CHECK(second->open("record.field", sealed).value() == "secret");
  // Nothing else is left beside it.
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("sealer: processes that start at once agree on the key") {
  const TempDir dir;
  const std::string path = dir.file("key");
  std::vector<std::string> sealed(8);
  {
    std::vector<std::jthread> starting;
    starting.reserve(sealed.size());
    for (std::string& one : sealed) {
      starting.emplace_back([&one, &path] {
        if (const auto sealer = Sealer::open(path)) one = sealer->seal("", "secret").value_or("");
      });
    }
  }
  const auto sealer = Sealer::open(path);
  REQUIRE(sealer);
  for (const std::string& one : sealed) {
    CHECK(one.starts_with("sealed:1:"));
    CHECK(sealer->open("", one).value_or("") == "secret");
  }
}

TEST_CASE("sealer: hex and base64url are the same key") {
  const TempDir dir;
  write(dir.file("hex"), hex_key + "\n", 0600);
  write(dir.file("base64url"), base64url_key, 0400);
  const auto hex = Sealer::open(dir.file("hex"));
  const auto base64url = Sealer::open(dir.file("base64url"));
  REQUIRE(hex);
  REQUIRE(base64url);
  CHECK(base64url->open("p", hex->seal("p", "secret").value()).value() == "secret");
}

TEST_CASE("sealer: what is no key, or lies open, is refused") {
  const TempDir dir;
  const std::string path = dir.file("key");
  for (const std::string& text : {std::string(), std::string("key"), hex_key.substr(2),
                                  hex_key + "00", std::string(5000, 'a')}) {
    write(path, text, 0600);
    const auto opened = Sealer::open(path);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().detail.starts_with(path));
    CHECK(opened.error().code == (text.size() > 1024 ? Errc::limit : Errc::invalid));
  }
  write(path, hex_key, 0640);
  const auto open_to_others = Sealer::open(path);
  REQUIRE_FALSE(open_to_others);
  CHECK(open_to_others.error().code == Errc::invalid);
  CHECK(open_to_others.error().detail.find("mode 0640") != std::string::npos);
  CHECK(open_to_others.error().detail.find("expected 0600") != std::string::npos);
}

TEST_CASE("sealer: a key that cannot be made says where and why") {
  const TempDir dir;
  const auto opened = Sealer::open(dir.file("no/such/key"));
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::io);
  CHECK(opened.error().detail.starts_with(dir.file("no/such/key")));
}

TEST_CASE("sealer: a systemd credential comes first") {
  const TempDir dir;
  const TempDir given;
  write(given.file("proxycore.key"), hex_key, 0440);
  const Credentials credentials(given.path());
  const auto sealer = Sealer::open(dir.file("key"));
  REQUIRE(sealer);
  CHECK_FALSE(std::filesystem::exists(dir.file("key")));
  std::filesystem::remove(given.file("proxycore.key"));
  CHECK(Sealer::open(dir.file("key")));
  CHECK(std::filesystem::exists(dir.file("key")));
  write(given.file("proxycore.key"), "nonsense", 0400);
  CHECK(Sealer::open(dir.file("key")).error().code == Errc::invalid);
}

TEST_CASE("sealer: what was never sealed is read as it is") {
  const TempDir dir;
  const auto sealer = Sealer::open(dir.file("key"));
  REQUIRE(sealer);
  for (const char* text : {"", "cf-token-1", "sealed", "********"}) {
    CHECK(sealer->open("place", text).value() == text);
  }
}

TEST_CASE("sealer: neither another key nor another place opens it") {
  const TempDir dir;
  const auto sealer = Sealer::open(dir.file("key"));
  const auto other = Sealer::open(dir.file("other"));
  REQUIRE(sealer);
  REQUIRE(other);
  const std::string sealed = sealer->seal("proxy_DnsProvider_1.token", "secret").value();
  for (const auto& opened : {other->open("proxy_DnsProvider_1.token", sealed),
                             sealer->open("proxy_DnsProvider_2.token", sealed),
                             sealer->open("proxy_DnsProvider_1.token", sealed + "!"),
                             sealer->open("proxy_DnsProvider_1.token", "sealed:1:")}) {
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Errc::invalid);
    CHECK(opened.error().detail.find("secret") == std::string::npos);
  }
  CHECK(other->open("proxy_DnsProvider_1.token", sealed).error().detail.find(dir.file("other")) !=
        std::string::npos);
}
