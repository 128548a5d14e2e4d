// log: diagnostics as key=value lines: log::warning("reload", {{"file", path}, {"why", text}}).
//
// Values are quoted when they have to be, so that a peer cannot forge a line. Log where an error is
// handled, not where it passes; nothing is logged per request (that is the access log).
// Not here: the access log (proxy/access_log). Thread: any.
#pragma once

#include <proxycore/observe.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace proxycore::base::log {

struct Field {
  std::string_view key;
  std::string value;
};
using Fields = std::initializer_list<Field>;

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

}  // namespace proxycore::base::log
