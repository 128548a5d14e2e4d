#include "base/file.h"

#include "support/temp_dir.h"

#include <fstream>
#include <string>
#include <thread>

#include <sys/stat.h>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using base::read_file;

namespace {

std::string write(const TempDir& folder, const std::string& name, const std::string& text) {
  std::ofstream(folder.file(name), std::ios::binary) << text;
  return folder.file(name);
}

}  // namespace

TEST_CASE("file: is read whole, whatever is in it") {
  const TempDir folder;
  const std::string bytes{"a\0\r\n\xff", 5};
  CHECK(read_file(write(folder, "some", bytes), 100).value() == bytes);
  CHECK(read_file(write(folder, "none", ""), 100).value().empty());
  const std::string long_text(3 << 20, 'x');
  CHECK(read_file(write(folder, "long", long_text), 4 << 20).value() == long_text);
}

TEST_CASE("file: what has no size is read to its end") {
  const TempDir folder;
  const std::string pipe = folder.file("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&pipe] { std::ofstream(pipe) << std::string(100'000, 'p'); });
  const auto text = read_file(pipe, 1 << 20);
  writer.join();
  CHECK(text.value() == std::string(100'000, 'p'));
}

TEST_CASE("file: as much as is allowed is, a byte more is not") {
  const TempDir folder;
  const std::string path = write(folder, "exact", std::string(100'000, 'x'));
  CHECK(read_file(path, 100'000).value().size() == 100'000);
  const auto over = read_file(path, 99'999);
  REQUIRE_FALSE(over);
  CHECK(over.error().code == Errc::limit);
  CHECK(over.error().detail == path + ": expected at most 99999 bytes");
  CHECK(read_file("/dev/zero", 64 << 10).error().detail == "/dev/zero: expected at most 64 KiB");
  CHECK(read_file("/dev/zero", 2 << 20).error().detail == "/dev/zero: expected at most 2 MiB");
}

TEST_CASE("file: an error tells which file and why") {
  const TempDir folder;
  const auto missing = read_file(folder.file("missing"), 100);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
  CHECK(missing.error().detail ==
        folder.file("missing") + ": cannot be read: No such file or directory");
  const std::string file = write(folder, "file", "x");
  CHECK(read_file(file + "/below", 100).error().code == Errc::not_found);
  const auto directory = read_file(folder.path(), 100);
  REQUIRE_FALSE(directory);
  CHECK(directory.error().code == Errc::invalid);
  CHECK(directory.error().detail == folder.path() + ": cannot be read: Is a directory");
}
