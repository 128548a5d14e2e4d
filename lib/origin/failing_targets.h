// FailingTargets: the targets whose last requests failed, as all workers see them, for operators.
//
// A pool tells of a target when it fails and when it is well again; no request waits for that, and
// none asks. Each worker has its own view of a target (Balancer); what is shown is the worst one.
// Not here: which target is used (balancer). Owned by what the workers share. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace proxycore::origin {

class FailingTargets {
 public:
  struct Entry {
    std::string target;            // "127.0.0.1:8080"
    std::uint32_t failures = 0;    // in a row, up to origins.failures
    std::int64_t since = 0;        // the first of them; milliseconds since 1970, like the others
    std::int64_t last = 0;         // the last of them
    std::int64_t rests_until = 0;  // 0: it does not rest
  };
  static constexpr std::size_t max_entries = 4096;
  static constexpr std::int64_t kept_for = 3'600'000;  // milliseconds, of a target nobody asks for

  // `view`: whose view of a target it is, the same as long as it has one. `seen`: all but `since`.
  void failed(const void* view, Entry seen);
  void recovered(const void* view);
  // In the order of their names. `now`: milliseconds since 1970.
  [[nodiscard]] std::vector<Entry> list(std::int64_t now) const;

 private:
  void forget_oldest();

  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<const void*, Entry> entries_;
};

}  // namespace proxycore::origin
