// Observing a server from the application that embeds it: where its diagnostics go.
//
// Thread: any.
#pragma once

#include <proxycore/config.h>

#include <functional>
#include <string_view>

namespace proxycore {

// Gets every diagnostic line (without a line end) at or above the level; may be called by several
// threads, one at a time, and must not log itself. The default writes to stderr.
using LogSink = std::function<void(LogLevel level, std::string_view line)>;
void set_log_sink(LogSink sink);  // an empty one restores the default
void set_log_level(LogLevel least);

}  // namespace proxycore
