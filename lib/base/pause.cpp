#include "base/pause.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace proxycore::base {

Result<void> pause(Millis span, const Deadline& by) {
  std::mutex mutex;
  std::condition_variable_any nobody;
  std::unique_lock lock(mutex);
  // What is left is measured once: a deadline far away must not overflow the sum.
  const Millis most = std::min(span, by.left());
  nobody.wait_for(lock, by.stop(), most, [] { return false; });
  if (by.cancelled()) return Error{Errc::cancelled};
  if (most < span) return Error{Errc::timeout};
  return {};
}

}  // namespace proxycore::base
