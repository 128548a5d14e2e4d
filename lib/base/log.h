// log: diagnostics as key=value lines: log::warning("reload", {{"file", path}, {"why", text}}).
//
// Values are quoted when they have to be and cut when they are long, so that a peer can neither
// forge a line nor blow one up. Log where an error is handled, not where it passes; nothing is
// logged per request (that is the access log). What peers can cause goes through a Throttle.
// Not here: the access log (proxy/access_log). Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/observe.h>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::base::log {

struct Field {
  std::string_view key;
  std::string value;
};
using Fields = std::initializer_list<Field>;

// `event` and the keys are literals of ours: "origin.resting", "why".
void write(LogLevel level, std::string_view event, Fields fields = {});
inline void debug(std::string_view event, Fields fields = {}) {
  write(LogLevel::debug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) {
  write(LogLevel::info, event, fields);
}
inline void warning(std::string_view event, Fields fields = {}) {
  write(LogLevel::warning, event, fields);
}
inline void error(std::string_view event, Fields fields = {}) {
  write(LogLevel::error, event, fields);
}

// Lets a few lines through in a time and counts the others; a static one at each place that logs
// what peers can cause.
class Throttle {
 public:
  static constexpr std::uint32_t lines = 10;
  static constexpr Seconds interval{10};

  // nullopt: not now. Else how many were held back since the last one that was let through.
  std::optional<std::uint64_t> admit(std::chrono::steady_clock::time_point now);

 private:
  std::mutex mutex_;
  std::chrono::steady_clock::time_point began_ = {};
  std::uint32_t admitted_ = 0;
  std::uint64_t held_back_ = 0;
};

// As write(), with the number of those held back when there are any.
void write(Throttle& throttle, LogLevel level, std::string_view event, Fields fields = {});

}  // namespace proxycore::base::log
