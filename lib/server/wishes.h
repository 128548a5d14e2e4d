// Wishes: tells whoever gets certificates that a visitor came for a name that has none.
//
// A wish is a record in the store that ends by itself; the visitor's handshake is parked meanwhile.
// Only names that a host allows are wished for, a bounded number at a time and of one pattern an
// hour; not those that are none of a CA's, nor those whose last try failed and whose next is not
// due. Not here: parking (certs/directory), getting certificates (certs/runner).
// Owner: TlsService. Thread: wanted() the directory's, the others any.
#pragma once

#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>

namespace proxycore::server {

class Wishes {
 public:
  // The host or pattern that serves `name`; not_found: none does.
  using HostOf = std::function<Result<std::string>(const std::string& name, const Deadline& by)>;
  using Clock = std::function<std::int64_t()>;  // milliseconds since 1970

  // `store` outlives this. Empty `clock`: the system's.
  Wishes(Store& store, const Config::Acme& limits, HostOf host_of, Clock clock = {});
  Wishes(const Wishes&) = delete;
  Wishes& operator=(const Wishes&) = delete;

  // Whether somebody will get a certificate for `name`, or is at it. Blocks, not for long.
  [[nodiscard]] bool wanted(const std::string& name);
  // Whether a visitor may be waiting for that certificate.
  [[nodiscard]] bool pending(std::string_view name);
  // There is one, or there will be none for now: somebody else may be waited for.
  void done(std::string_view name);
  // Ends what wanted() waits for.
  void stop() { stop_.request_stop(); }

 private:
  [[nodiscard]] Result<bool> allowed(const std::string& name, const std::string& pattern,
                                     const Deadline& by);
  bool take_place(const std::string& name, const std::string& pattern);

  Store& store_;
  const std::uint32_t most_pending_;
  const std::uint32_t most_of_pattern_;
  const HostOf host_of_;
  const Clock clock_;
  std::stop_source stop_;

  std::mutex mutex_;                                                      // guards what follows
  std::map<std::string, std::int64_t, std::less<>> pending_;              // until when
  std::map<std::string, std::set<std::string>, std::less<>> of_pattern_;  // in this hour
  std::int64_t hour_ = 0;
};

}  // namespace proxycore::server
