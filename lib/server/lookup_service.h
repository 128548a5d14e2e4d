// LookupService: the lookup service over the hosts that this process knows, on a thread of its own.
//
// A name is found in the table of hosts; its record comes from the store, or from the copy on disk
// if the store is on other machines, so that a store that is away delays nobody. Where there is no
// record (hosts of the configuration file) the answer is made of the route.
// Not here: the protocol (lookup/socket_server). Thread: the constructor's and destructor's.
#pragma once

#include "base/snapshot.h"
#include "host/route_table.h"
#include "io/loop.h"
#include "lookup/socket_server.h"
#include "server/wildcard_cache.h"
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <string_view>
#include <thread>

namespace proxycore::server {

class LookupService final : lookup::Directory {
 public:
  // Takes the listening descriptor. `records`: a store on this machine, or null; `cache`: told of
  // wildcard hits, or null. All must outlive it.
  LookupService(int fd, const base::Snapshot<host::RouteTable>& table, Store* records,
                WildcardCache* cache);
  virtual ~LookupService();
  LookupService(const LookupService&) = delete;
  LookupService& operator=(const LookupService&) = delete;

  [[nodiscard]] const lookup::ServiceCounters& counters() const noexcept { return counters_; }

 private:
  Result<lookup::Listing> find(std::string_view name) override;
  void on_wildcard_hit(std::string_view name, const lookup::Listing& listing) override;

  const base::Snapshot<host::RouteTable>& table_;
  Store* const records_;
  WildcardCache* const cache_;
  lookup::ServiceCounters counters_;
  io::Loop* loop_ = nullptr;  // of the thread, while it runs
  std::thread thread_;
};

}  // namespace proxycore::server
