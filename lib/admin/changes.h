// Changes: the one way in which writes of the manager are put on record, and the record itself.
//
// Whoever writes a host, a user, a DNS provider, a permission or a token says so here, before and
// after: the audit keeps who did what to what, without secrets, for 90 days; the host index learns
// of it at once. What other processes write is no business of the audit. Dry runs, and revisions to
// go back to, would come here. Thread: any.
#pragma once

#include "auth/access.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::admin {

class HostIndex;

// What of a record may be shown: fields that hold secrets have "***" for a value. `key`: the
// store's, whose model says which those are.
Record without_secrets(std::string_view key, const Record& record);

// One write: {"id","at","who","how","what","key","changes":{field:[before,after]}}.
struct AuditEntry {
  std::string id;  // what the key ends in; later ones are greater
  std::int64_t at_ms = 0;
  std::string who;
  std::string how;             // "session", "cookie", "token"
  std::string what;            // "host.create", "user.password", ...
  std::string key;             // of the record, as in the store
  std::string changes = "{}";  // JSON
};

class Changes {
 public:
  static constexpr Seconds kept{std::int64_t{90} * 24 * 3600};
  static constexpr std::size_t max_owed = 1'000;

  Changes(Store& store, HostIndex& hosts, std::function<std::int64_t()> now_ms);

  // Has been done: `key` of the store was `before` and is `after`; empty records: was, or is, not
  // there. That it cannot be put on record undoes nothing: it is logged, and tried again with the
  // next one and when the record is read.
  void record(const auth::Caller& who, std::string_view what, std::string_view key,
              const Record& before, const Record& after, const Deadline& by);
  // The same where what was written is read here first, and returned. If that fails, the change is
  // on record without its fields. Errors: those of Store::get.
  Result<Record> record_now(const auth::Caller& who, std::string_view what, std::string_view key,
                            const Record& before, const Deadline& by);

  // The newest first, those before `before` (an id; empty: all), at most `limit`. Errors: those of
  // the store.
  Result<std::vector<AuditEntry>> list(std::string_view before, std::size_t limit,
                                       const Deadline& by);

 private:
  struct Owed {
    std::int64_t at_ms = 0;
    Record entry = {};
  };

  // `again`: it may be there already, without our knowing.
  Result<void> write(const Owed& owed, bool again, const Deadline& by);
  void settle(const Deadline& by);

  Store& store_;
  HostIndex& hosts_;
  const std::function<std::int64_t()> now_ms_;
  std::mutex mutex_;
  std::deque<Owed> owed_;  // what the store did not take, the oldest first
};

}  // namespace proxycore::admin
