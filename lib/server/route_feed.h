// RouteFeed: keeps the table of hosts up to date, and goes on when the store is away.
//
// A thread of its own watches the store. A few changed hosts make a table that differs in them, any
// number more a table built whole. What cannot be read leaves the last table in force. A store on
// other machines may be away when we start: then the copy of it on this machine's disk serves.
// A store that suddenly has no hosts, or far fewer, has probably lost them: it is not believed
// until its hosts are back or an operator reloads. Single changes count all the same.
// Source: the design's "goes on serving known hosts". Not here: what a table is made of
// (route_source.h), keeping the copy (mirror.h). Thread: any, but for the constructor and
// prepare().
#pragma once

#include "base/snapshot.h"
#include "host/route_table.h"
#include "server/mirror.h"
#include "server/route_source.h"
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/store.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
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

class RouteFeed {
 public:
  using Clock = Deadline::Clock;
  // Hosts changed: their canonical names or patterns; none: any may have. Called on the thread
  // here.
  using Changed = std::function<void(std::span<const std::string> names)>;

  struct Options {
    // Whether the table holds the hosts of the store, or the file's only (then the workers ask
    // elsewhere, and `changed` is all that is done about a change).
    bool whole = true;
    bool remote = false;    // the store is on another machine: start without it if need be
    Store* copy = nullptr;  // of the store's hosts, on this machine
  };
  struct State {
    std::uint64_t updates = 0;
    std::uint64_t failures = 0;
    bool known = false;       // hosts were read at least once, from the store or the copy
    bool from_copy = false;   // from the copy only
    bool distrusted = false;  // the store lost hosts; those known before are served
    std::int64_t synced = 0;  // when the table was known to be the store's, milliseconds since 1970
  };

  RouteFeed(RouteSource& source, Store& store, base::Snapshot<host::RouteTable>& table,
            Options options);
  ~RouteFeed();
  RouteFeed(const RouteFeed&) = delete;
  RouteFeed& operator=(const RouteFeed&) = delete;

  // Reads the first table. Errors: conflict (a host in both the file and the store), and those of
  // Store::scan for a store that is not remote.
  Result<void> prepare();
  void start(Changed changed);
  void stop();
  // With these hosts of the file, and everything read again and believed. `before_publishing`, if
  // given, is the last that may fail. Errors: those of RouteSource::declare and, unless the store
  // is remote and away, of build; then nothing has changed.
  Result<void> reload(std::vector<Config::DeclaredHost> hosts,
                      const std::function<Result<void>()>& before_publishing);
  [[nodiscard]] State state();
  [[nodiscard]] bool whole() const noexcept { return options_.whole; }

 private:
  using Table = RouteSource::Table;
  struct Change {
    bool any = false;
    std::vector<std::string> keys;
  };
  enum class Belief { checked, told };  // told: an operator says that it is right

  void run();
  void note(std::string_view key);
  Result<void> read_whole(RouteSource::Clash clash, Belief belief,
                          const std::function<Result<void>()>& before_publishing);
  Result<void> read_copy();
  Result<void> read_changed(const std::vector<std::string>& keys);
  void publish(Table next);
  void tell(bool any, const std::vector<std::string>& keys);
  void repeat_later(bool any, const std::vector<std::string>& keys);
  void repeat_due();
  void look_after();
  void mark_away();
  [[nodiscard]] bool loses_hosts(const host::RouteTable& next) const;
  [[nodiscard]] bool distrusted() const;

  RouteSource& source_;
  Store& store_;
  base::Snapshot<host::RouteTable>& table_;
  const Options options_;
  std::unique_ptr<Mirror> mirror_;
  std::unique_ptr<Watch> watch_;
  Changed changed_;

  std::mutex reading_;  // one reader of the store at a time; guards source_ and what follows
  bool away_ = false;   // the store: the last read failed

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::set<std::string, std::less<>> keys_;  // changed, not read yet
  bool any_ = false;                         // as if all had changed
  bool ending_ = false;
  State state_;
  std::int64_t confirmed_ = 0;  // the copy, last

  std::stop_source stop_;                             // of reading, by who ends this
  std::multimap<Clock::time_point, Change> repeats_;  // the thread's

  std::thread thread_;
};

}  // namespace proxycore::server
