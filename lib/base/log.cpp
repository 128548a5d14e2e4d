#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <mutex>
#include <utility>

#include <poll.h>
#include <unistd.h>

namespace proxycore {

namespace {

std::atomic<LogLevel> least_level{LogLevel::info};
std::mutex sink_mutex;  // guards current_sink, and keeps lines whole

LogSink& current_sink() {
  static LogSink sink;
  return sink;
}

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "unknown";
}

// The journal takes the level from a prefix (sd-daemon(3)) and adds the time itself.
std::string_view journal_prefix(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "<7>";
    case LogLevel::info:
      return "<6>";
    case LogLevel::warning:
      return "<4>";
    case LogLevel::error:
      return "<3>";
  }
  return "<6>";
}

constexpr std::size_t longest_value = 1024;  // bytes, before escaping

// A line goes out whole or not at all, and nobody waits for who reads stderr: what does not fit is
// dropped and counted. Needs sink_mutex.
void write_to_stderr(LogLevel level, std::string_view line) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  static std::uint64_t dropped = 0;
  // A pipe that is ready takes PIPE_BUF bytes without blocking.
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&ready, 1, 0) == 0) {
    ++dropped;
    return;
  }
  std::string whole;
  if (journal) {
    whole.append(journal_prefix(level));
  } else {
    whole.append(base::iso_date(base::now_ms()));
    whole.push_back(' ');
  }
  whole.append(line);
  if (dropped != 0) whole.append(" lines_dropped_before=").append(std::to_string(dropped));
  whole.resize(std::min(whole.size(), std::size_t{PIPE_BUF} - 1));
  whole.push_back('\n');
  dropped = 0;
  // A closed stderr is no reason to stop serving.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, whole.data(), whole.size());
}

bool plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '=' || c == '\\') return false;
  }
  return true;
}

void append_value(std::string& line, std::string_view value) {
  const std::string_view cut = value.substr(0, longest_value);
  if (cut.size() < value.size()) {
    base::json::append_quoted(line, std::string(cut).append("..."));
  } else if (plain(value)) {
    line.append(value);
  } else {
    base::json::append_quoted(line, value);
  }
}

std::string line_of(LogLevel level, std::string_view event, base::log::Fields fields) {
  std::string line;
  line.append("level=").append(name_of(level)).append(" event=").append(event);
  for (const base::log::Field& field : fields) {
    line.append(" ").append(field.key).append("=");
    append_value(line, field.value);
  }
  return line;
}

void hand_out(LogLevel level, std::string_view line) {
  const std::lock_guard lock(sink_mutex);
  if (const LogSink& sink = current_sink()) {
    sink(level, line);
  } else {
    write_to_stderr(level, line);
  }
}

bool wanted(LogLevel level) {
  return level >= least_level.load(std::memory_order_relaxed);
}

}  // namespace

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(sink_mutex);
  current_sink() = std::move(sink);
}

void set_log_level(LogLevel least) {
  least_level.store(least, std::memory_order_relaxed);
}

namespace base::log {

void write(LogLevel level, std::string_view event, Fields fields) {
  if (wanted(level)) hand_out(level, line_of(level, event, fields));
}

void write(Throttle& throttle, LogLevel level, std::string_view event, Fields fields) {
  if (!wanted(level)) return;
  const auto held_back = throttle.admit(std::chrono::steady_clock::now());
  if (!held_back) return;
  std::string line = line_of(level, event, fields);
  if (*held_back != 0) line.append(" held_back=").append(std::to_string(*held_back));
  hand_out(level, line);
}

std::optional<std::uint64_t> Throttle::admit(std::chrono::steady_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (now - began_ >= interval) {
    began_ = now;
    admitted_ = 0;
  }
  if (admitted_ == lines) {
    ++held_back_;
    return std::nullopt;
  }
  ++admitted_;
  return std::exchange(held_back_, 0);
}

}  // namespace base::log
}  // namespace proxycore
