// The wall clock: for what is kept, shown to people or agreed on with other machines.
//
// It may jump; what only measures how long something takes goes by Deadline::Clock or Loop::now().
// Thread: any.
#pragma once

#include <chrono>
#include <cstdint>

namespace proxycore::base {

// Milliseconds since 1970, UTC.
inline std::int64_t now_ms() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}
inline std::int64_t now_s() noexcept {
  return now_ms() / 1000;
}

}  // namespace proxycore::base
