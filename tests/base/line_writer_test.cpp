#include "base/line_writer.h"

#include "support/temp_dir.h"
#include <proxycore/observe.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace proxycore;
using base::LineWriter;

namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// What is read until everybody who writes has gone.
std::string read_all(int fd) {
  std::string all;
  char part[4096];
  for (::ssize_t count = 0; (count = ::read(fd, part, sizeof part)) > 0;) {
    all.append(part, static_cast<std::size_t>(count));
  }
  return all;
}

// A named pipe, and its end that reads.
struct Pipe {
  test::TempDir dir;
  std::string path = dir.file("pipe");
  int reader = -1;

  Pipe() {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    REQUIRE(reader >= 0);
    REQUIRE(::fcntl(reader, F_SETFL, 0) == 0);
  }
  ~Pipe() {
    if (reader >= 0) ::close(reader);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
};

// Counts the errors that are logged meanwhile.
class LoggedErrors {
 public:
  LoggedErrors() {
    set_log_sink([this](LogLevel level, std::string_view line) {
      if (level == LogLevel::error) ++count_;
      last_ = line;
    });
  }
  ~LoggedErrors() { set_log_sink({}); }
  LoggedErrors(const LoggedErrors&) = delete;
  LoggedErrors& operator=(const LoggedErrors&) = delete;

  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] const std::string& last() const { return last_; }

 private:
  std::atomic<int> count_ = 0;
  std::string last_;  // written one at a time, read when the writer is gone
};

}  // namespace

TEST_CASE("line writer: appends batches in order, and all of them before it goes") {
  test::TempDir dir;
  const std::string path = dir.file("a.log");
  std::ofstream{path} << "before\n";
  std::string expected = "before\n";
  {
    const auto writer = LineWriter::open(path);
    REQUIRE(writer);
    for (int i = 0; i < 200; ++i) {
      std::string batch = std::to_string(i) + std::string(10'000, 'x') + "\n";
      expected += batch;
      (*writer)->write(std::move(batch));
    }
    CHECK((*writer)->dropped() == 0);
  }
  CHECK(bytes_of(path) == expected);
}

TEST_CASE("line writer: a new file is not for others to read") {
  test::TempDir dir;
  const ::mode_t before = ::umask(0);
  REQUIRE(LineWriter::open(dir.file("a.log")));
  ::umask(before);
  struct stat status {};
  REQUIRE(::stat(dir.file("a.log").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777U) == 0640);
}

TEST_CASE("line writer: after rotation lines go to the new file, none is lost") {
  test::TempDir dir;
  const std::string path = dir.file("a.log");
  {
    const auto writer = LineWriter::open(path);
    REQUIRE(writer);
    (*writer)->write("1\n");
    std::filesystem::rename(path, path + ".1");
    (*writer)->write("2\n");
    REQUIRE((*writer)->reopen());
    (*writer)->write("3\n");
    REQUIRE((*writer)->reopen());  // nothing was renamed
    (*writer)->write("4\n");
  }
  // A batch that was queued before reopen() belongs to the old file; later ones may still reach it.
  const std::string old = bytes_of(path + ".1");
  CHECK(old.starts_with("1\n2\n"));
  CHECK(old + bytes_of(path) == "1\n2\n3\n4\n");
}

TEST_CASE("line writer: when the new file cannot be opened the old one goes on") {
  test::TempDir dir;
  const std::string folder = dir.file("logs");
  const std::string path = folder + "/a.log";
  std::filesystem::create_directory(folder);
  {
    const auto writer = LineWriter::open(path);
    REQUIRE(writer);
    std::filesystem::rename(folder, dir.file("moved"));
    const auto reopened = (*writer)->reopen();
    REQUIRE_FALSE(reopened);
    CHECK(reopened.error().message() == "io: open '" + path + "': No such file or directory");
    (*writer)->write("1\n");
  }
  CHECK(bytes_of(dir.file("moved/a.log")) == "1\n");
}

TEST_CASE("line writer: what cannot be opened is named") {
  test::TempDir dir;
  CHECK(LineWriter::open(dir.path()).error().message() ==
        "io: open '" + dir.path() + "': Is a directory");
  REQUIRE(::mkfifo(dir.file("pipe").c_str(), 0600) == 0);
  CHECK_FALSE(LineWriter::open(dir.file("pipe")));  // nobody reads it; and we did not wait
}

TEST_CASE("line writer: a pipe that is read gets every byte") {
  Pipe pipe;
  std::string expected;
  std::string got;
  auto writer = LineWriter::open(pipe.path);
  REQUIRE(writer);
  std::thread reader([&] { got = read_all(pipe.reader); });
  for (int i = 0; i < 100; ++i) {
    std::string batch = std::to_string(i) + std::string(9'000, 'x') + "\n";
    expected += batch;
    (*writer)->write(std::move(batch));
  }
  writer->reset();
  reader.join();
  CHECK(got == expected);
}

TEST_CASE("line writer: a pipe that nobody reads holds up no one, and memory is bounded") {
  Pipe pipe;
  auto writer = LineWriter::open(pipe.path);
  REQUIRE(writer);
  constexpr std::size_t batch = std::size_t{1} << 20;
  const std::size_t batches = 2 * LineWriter::max_queued / batch;
  for (std::size_t i = 0; i < batches; ++i) (*writer)->write(std::string(batch, 'x'));
  CHECK((*writer)->dropped() == batches / 2);
  writer->reset();  // ends, too
}

TEST_CASE("line writer: a disk that is full is logged once, and every batch is counted") {
  const LoggedErrors errors;
  {
    const auto writer = LineWriter::open("/dev/full");
    REQUIRE(writer);
    for (int i = 0; i < 5; ++i) (*writer)->write("line\n");
    while ((*writer)->dropped() < 5) std::this_thread::yield();
  }
  CHECK(errors.count() == 1);
  CHECK(errors.last() ==
        "level=error event=log.write path=/dev/full why=\"No space left on device\"");
}

TEST_CASE("line writer: a reader that has gone away ends nothing") {
  const LoggedErrors errors;
  Pipe pipe;
  {
    const auto writer = LineWriter::open(pipe.path);
    REQUIRE(writer);
    ::close(std::exchange(pipe.reader, -1));
    (*writer)->write("line\n");
    while ((*writer)->dropped() == 0) std::this_thread::yield();
  }
  CHECK(errors.last() == "level=error event=log.write path=" + pipe.path + " why=\"Broken pipe\"");
}

TEST_CASE("line writer: many threads write, no line is torn") {
  test::TempDir dir;
  const std::string path = dir.file("a.log");
  {
    const auto writer = LineWriter::open(path);
    REQUIRE(writer);
    std::vector<std::thread> threads;
    for (char c = 'a'; c < 'e'; ++c) {
      threads.emplace_back([&writer, c] {
        for (int i = 0; i < 200; ++i) (*writer)->write(std::string(100, c) + "\n");
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::istringstream lines(bytes_of(path));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    REQUIRE(line == std::string(100, line[0]));
  }
  CHECK(count == 800);
}
