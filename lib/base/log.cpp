#include "base/log.h"

#include "base/json.h"
#include "base/text.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <utility>

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

void write_to_stderr(LogLevel level, std::string_view line) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::string whole;
  if (journal) {
    whole.append(journal_prefix(level));
  } else {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    whole.append(base::iso_date(std::chrono::duration_cast<Millis>(now).count()));
    whole.push_back(' ');
  }
  whole.append(line).push_back('\n');
  // A closed or full stderr is no reason to stop serving.
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

}  // namespace

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(sink_mutex);
  current_sink() = std::move(sink);
}

void set_log_level(LogLevel least) {
  least_level.store(least, std::memory_order_relaxed);
}

namespace base {

void log::write(LogLevel level, std::string_view event, Fields fields) {
  if (level < least_level.load(std::memory_order_relaxed)) return;
  std::string line;
  line.append("level=").append(name_of(level)).append(" event=");
  const auto append = [&](std::string_view value) {
    if (plain(value)) {
      line.append(value);
    } else {
      json::append_quoted(line, value);
    }
  };
  append(event);
  for (const Field& field : fields) {
    line.append(" ").append(field.key).append("=");
    append(field.value);
  }
  const std::lock_guard lock(sink_mutex);
  if (const LogSink& sink = current_sink()) {
    sink(level, line);
  } else {
    write_to_stderr(level, line);
  }
}

}  // namespace base
}  // namespace proxycore
