// WildcardCache: names that a wildcard has answered, written to the store as hosts of their own.
//
// So does the system whose installations we take over: its proxies ask Redis for the very name, and
// the lookup service only for what is not there. Rows live for a time, are bounded per wildcard, so
// that random names cannot fill the store, and go when their wildcard changes or goes, or another
// one becomes the better match. Rows that others wrote are counted and removed alike.
// Source: the design's compatibility notes, 1.4 and 10. Not here: who answers (directory.h).
// Thread: any; the store is used on a thread of its own.
#pragma once

#include "base/snapshot.h"
#include "host/route_table.h"
#include <proxycore/deadline.h>
#include <proxycore/store.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace proxycore::server {

class WildcardCache {
 public:
  static constexpr std::size_t max_waiting = 1'000;  // hits; beyond, they are dropped

  // `most`: names of one wildcard. The store and the table of hosts must outlive it.
  WildcardCache(Store& store, const base::Snapshot<host::RouteTable>& table, Seconds ttl,
                std::size_t most);
  ~WildcardCache();
  WildcardCache(const WildcardCache&) = delete;
  WildcardCache& operator=(const WildcardCache&) = delete;

  // `parent` answered for `name`. Nothing is written if the store has no record of it, as of those
  // that are configured on one machine only.
  void hit(std::string_view name, std::string_view parent);
  // Hosts changed; none named: any may have.
  void changed(std::span<const std::string> names);

 private:
  struct Hit {
    std::string name;
    std::string parent;
  };
  struct Row {
    std::string parent;
    Deadline::Clock::time_point until;
  };

  void run();
  Result<void> load(const Deadline& by);
  Result<void> note_rows(const std::set<std::string, std::less<>>& keys, const Deadline& by);
  Result<void> write(const Hit& hit, const Deadline& by);
  // Whether a row is there.
  bool is_row(const std::string& name, const Deadline& by);
  Result<void> bust(std::span<const std::string> names, const Deadline& by);
  Result<void> finish_removing(const Deadline& by);
  enum class If { any, replaced };  // replaced: by a host of its own
  Result<void> remove(const std::string& name, If condition, const Deadline& by);
  void add_row(const std::string& name, const std::string& parent);
  void remove_row(const std::string& name);
  void expire();

  Store& store_;
  const base::Snapshot<host::RouteTable>& table_;
  const Seconds ttl_;
  const std::size_t most_;

  // The thread's own.
  std::map<std::string, Row, std::less<>> rows_;
  std::map<std::string, std::size_t, std::less<>> count_;                 // rows, by parent
  std::deque<std::pair<Deadline::Clock::time_point, std::string>> ends_;  // in order
  std::set<std::string, std::less<>> removing_;  // begun; the store failed in between

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<Hit> hits_;
  std::vector<std::string> changed_;
  bool any_changed_ = false;
  std::set<std::string, std::less<>> row_keys_;  // proxy_Cached_* that changed
  bool any_row_ = true;                          // all of them must be read
  bool ending_ = false;
  std::stop_source stop_;

  std::unique_ptr<Watch> watch_;
  std::thread thread_;
};

}  // namespace proxycore::server
