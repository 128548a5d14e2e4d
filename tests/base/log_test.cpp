#include "base/log.h"

#include <climits>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace proxycore;
namespace log = proxycore::base::log;

namespace {

// What is logged while it lives.
class Logged {
 public:
  Logged() {
    set_log_sink([this](LogLevel level, std::string_view line) {
      levels_.push_back(level);
      lines_.emplace_back(line);
    });
  }
  ~Logged() {
    set_log_sink({});
    set_log_level(LogLevel::info);
  }
  Logged(const Logged&) = delete;
  Logged& operator=(const Logged&) = delete;

  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] const std::vector<LogLevel>& levels() const { return levels_; }

 private:
  std::vector<LogLevel> levels_;
  std::vector<std::string> lines_;
};

// Stands in for stderr while it lives: a pipe that is read at the end.
class Stderr {
 public:
  Stderr() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    before_ = ::dup(STDERR_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
    reader_ = ends[0];
    ::fcntl(reader_, F_SETFL, O_NONBLOCK);
  }
  ~Stderr() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(reader_);
  }
  Stderr(const Stderr&) = delete;
  Stderr& operator=(const Stderr&) = delete;

  // What has been written by now.
  std::string text() const {
    std::string all;
    char part[4096];
    for (::ssize_t count = 0; (count = ::read(reader_, part, sizeof part)) > 0;) {
      all.append(part, static_cast<std::size_t>(count));
    }
    return all;
  }

 private:
  int before_ = -1;
  int reader_ = -1;
};

}  // namespace

TEST_CASE("log: a line is level, event and key=value pairs") {
  const Logged logged;
  log::warning("reload.ignored", {{"key", "workers.count"}, {"why", "needs a restart"}});
  log::info("ready");
  CHECK(logged.lines() ==
        std::vector<std::string>{
            "level=warning event=reload.ignored key=workers.count why=\"needs a restart\"",
            "level=info event=ready"});
  CHECK(logged.levels() == std::vector{LogLevel::warning, LogLevel::info});
}

TEST_CASE("log: no value can forge a line or a field") {
  const Logged logged;
  log::info("e", {{"v", "a\nlevel=error event=x"}});
  log::info("e", {{"v", "a w=b"}});
  log::info("e", {{"v", "\""}});
  log::info("e", {{"v", ""}});
  log::info("e", {{"v", std::string("\0\x1b[31m\xFF", 7)}});
  log::info("e", {{"v", "gr\xC3\xBC\xC3\x9F"}});
  const std::string head = "level=info event=e v=";
  CHECK(logged.lines() == std::vector<std::string>{head + R"("a\nlevel=error event=x")",
                                                   head + R"("a w=b")", head + R"("\"")",
                                                   head + R"("")",
                                                   head + "\"\\u0000\\u001b[31m\xEF\xBF\xBD\"",
                                                   head + "\"gr\xC3\xBC\xC3\x9F\""});
}

TEST_CASE("log: a long value is cut") {
  const Logged logged;
  log::info("e", {{"v", std::string(100'000, 'x')}, {"w", "last"}});
  CHECK(logged.lines()[0] == "level=info event=e v=\"" + std::string(1024, 'x') + "...\" w=last");
}

TEST_CASE("log: what is under the level is not written") {
  const Logged logged;
  log::debug("d");
  set_log_level(LogLevel::error);
  log::warning("w");
  log::error("e");
  set_log_level(LogLevel::debug);
  log::debug("d");
  CHECK(logged.lines() == std::vector<std::string>{"level=error event=e", "level=debug event=d"});
}

TEST_CASE("log: a sink gets whole lines from many threads, one at a time") {
  const Logged logged;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 100; ++n) log::info("e", {{"n", std::to_string(n)}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(logged.lines().size() == 400);
}

TEST_CASE("log: a throttle lets some lines through in a time, and counts the others") {
  log::Throttle throttle;
  auto now = std::chrono::steady_clock::time_point{} + std::chrono::hours{1};
  for (std::uint32_t i = 0; i < log::Throttle::lines; ++i) CHECK(throttle.admit(now) == 0U);
  CHECK_FALSE(throttle.admit(now));
  now += log::Throttle::interval - Millis{1};
  CHECK_FALSE(throttle.admit(now));
  now += Millis{1};
  CHECK(throttle.admit(now) == 2U);
  CHECK(throttle.admit(now) == 0U);
}

TEST_CASE("log: a throttled line says how many were held back") {
  const Logged logged;
  log::Throttle throttle;
  const auto long_ago = std::chrono::steady_clock::now() - 2 * log::Throttle::interval;
  for (std::uint32_t i = 0; i < log::Throttle::lines + 3; ++i) throttle.admit(long_ago);
  log::write(throttle, LogLevel::warning, "e", {{"v", "x"}});
  log::write(throttle, LogLevel::debug, "e");
  for (std::uint32_t i = 0; i < 2 * log::Throttle::lines; ++i) {
    log::write(throttle, LogLevel::warning, "e");
  }
  CHECK(logged.lines().size() == log::Throttle::lines);
  CHECK(logged.lines()[0] == "level=warning event=e v=x held_back=3");
  CHECK(logged.lines()[1] == "level=warning event=e");
}

TEST_CASE("log: stderr gets the time and a line end") {
  const Stderr captured;
  log::info("e", {{"v", "x"}});
  const std::string text = captured.text();
  CHECK(text.size() ==
        std::string_view{"2026-01-01T00:00:00.000Z level=info event=e v=x\n"}.size());
  CHECK(text.substr(10, 1) == "T");
  CHECK(text.substr(23) == "Z level=info event=e v=x\n");
}

TEST_CASE("log: a stderr that nobody reads holds up no one") {
  const Stderr captured;
  for (int i = 0; i < 1000; ++i) log::info("e", {{"v", std::string(1000, 'x')}});
  const std::string text = captured.text();
  CHECK(text.size() <= 64 * 1024);
  CHECK(text.ends_with("x\n"));
  log::info("again");
  const std::string after = captured.text();
  CHECK(after.find(" level=info event=again lines_dropped_before=9") != std::string::npos);
  log::info("again");
  CHECK(captured.text().ends_with(" level=info event=again\n"));
}

TEST_CASE("log: a very long line is cut to what goes out at once") {
  const Stderr captured;
  const std::string value(1000, '\x01');  // six bytes each when escaped
  log::info("e", {{"v", value}});
  const std::string text = captured.text();
  CHECK(text.size() == PIPE_BUF);
  CHECK(text.ends_with('\n'));
}
