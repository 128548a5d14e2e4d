// RouteSource: the hosts of the configuration file and of the store, together, as a RouteTable.
//
// The file's are read-only and come first; a host in both is an error when the server starts or
// reloads, and later, when somebody adds it to the store, one log line: the file's goes on.
// Thread: one at a time, but for counted_hosts().
#pragma once

#include "host/route_table.h"
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::server {

class RouteSource {
 public:
  enum class Clash { refuse, skip };  // a host in both the file and the store

  RouteSource(Store& store, std::size_t counted) : store_(store), ids_(counted) {}

  // Replaces the hosts of the file. Errors: conflict (two of one name; names both places).
  Result<void> declare(std::vector<Config::DeclaredHost> hosts);
  // Undoes the last declare().
  void take_back() { declared_.swap(before_); }

  // Errors: conflict (with Clash::refuse), and those of Store::scan.
  Result<std::shared_ptr<const host::RouteTable>> build(const Deadline& by, Clash clash);

  [[nodiscard]] Store& store() noexcept { return store_; }
  [[nodiscard]] std::string prefix() const;
  [[nodiscard]] std::vector<std::string> counted_hosts() const { return ids_.names(); }

 private:
  Store& store_;
  host::StatsIds ids_;
  std::vector<Config::DeclaredHost> declared_;
  std::vector<Config::DeclaredHost> before_;
};

}  // namespace proxycore::server
