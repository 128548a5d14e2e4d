// RouteSource: the hosts of the configuration file and of the store, together, as a RouteTable.
//
// A table is built whole, or made of the last one where the store tells which hosts changed.
// The file's are read-only and come first; a host in both is an error when the server starts or
// reloads, and later, when somebody adds it to the store, one log line: the file's goes on.
// Thread: one at a time, but for counted_hosts().
#pragma once

#include "host/route_table.h"
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::server {

class RouteSource {
 public:
  enum class Clash { refuse, skip };  // a host in both the file and the store
  // What becomes of a host whose record cannot be read: it goes, as when a table is built whole, or
  // stays as it was known, since the record is probably half written.
  enum class Broken { removed, kept };

  explicit RouteSource(std::size_t counted) : ids_(counted) {}

  // Replaces the hosts of the file. Errors: conflict (two of one name; names both places).
  Result<void> declare(std::vector<Config::DeclaredHost> hosts);
  // Undoes the last declare().
  void take_back() { declared_.swap(before_); }

  using Table = std::shared_ptr<const host::RouteTable>;
  // From all hosts of `store`; `complete` as RouteTable::complete().
  // Errors: conflict (with Clash::refuse), and those of Store::scan.
  Result<Table> build(Store& store, bool complete, const Deadline& by, Clash clash);
  // Of the file's hosts alone.
  [[nodiscard]] Table build_declared();
  // `before` with what the store holds now under these keys; null: only build() can tell, because a
  // host is kept in a spelling that is not canonical. Errors: those of Store::get.
  Result<Table> update(Table before, Store& store, std::span<const std::string> keys, Broken broken,
                       const Deadline& by);

  // `before` with the hosts of the last declare() in place of those of the one before.
  [[nodiscard]] Table redeclare(Table before);
  [[nodiscard]] Table with_complete(Table before, bool complete);

  // Slots of counters, for who makes routes elsewhere.
  [[nodiscard]] host::StatsIds& ids() noexcept { return ids_; }
  [[nodiscard]] std::size_t declared() const noexcept { return declared_.size(); }
  [[nodiscard]] std::vector<std::string> counted_hosts() const { return ids_.names(); }

 private:
  host::StatsIds ids_;
  std::vector<Config::DeclaredHost> declared_;
  std::set<std::string, std::less<>> respelled_;  // hosts with keys in another spelling
  std::vector<Config::DeclaredHost> before_;
};

}  // namespace proxycore::server
