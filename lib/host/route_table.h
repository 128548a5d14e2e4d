// RouteTable: the immutable trie of Routes that the workers look hosts up in; StatsIds: which hosts
// have counters of their own.
//
// A table is built whole from all hosts and swapped whole. A broken host is told and left out; it
// does not stop the others.
// Thread: StatsIds and Builder one thread at a time; a finished table any.
#pragma once

#include <proxycore/host.h>
#include <proxycore/host_trie.h>
#include <proxycore/result.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace proxycore::host {

// Gives the first `most` hosts a slot each, for good: counters survive a new table. 0 is "other".
class StatsIds {
 public:
  explicit StatsIds(std::size_t most) : most_(most) { names_.emplace_back("other"); }
  std::uint32_t id_of(const std::string& host);
  // By slot. Any thread.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint32_t> ids_;
};

class RouteTable {
 public:
  class Builder;

  // `host` is normalized. The best match, or nullptr.
  [[nodiscard]] const Route* find(std::string_view host) const noexcept {
    const std::uint32_t* at = trie_.match(host);
    return at == nullptr ? nullptr : &routes_[*at];
  }
  [[nodiscard]] std::vector<Candidate> explain(std::string_view host) const {
    return trie_.explain(host);
  }
  [[nodiscard]] std::size_t size() const noexcept { return routes_.size(); }

 private:
  HostTrie<std::uint32_t> trie_;
  std::deque<Route> routes_;  // grows without moving, which a vector of a million could not
};

class RouteTable::Builder {
 public:
  explicit Builder(StatsIds& ids) : ids_(ids), table_(std::make_shared<RouteTable>()) {}
  // `host` was validated; `origin` says where it comes from: "proxycore.toml:12", "the store".
  // Errors: conflict (the host is there already; names both origins), limit.
  Result<void> add(const Host& host, std::string_view origin);
  std::shared_ptr<const RouteTable> finish() { return std::move(table_); }

 private:
  StatsIds& ids_;
  std::shared_ptr<RouteTable> table_;
  std::vector<std::string> origins_;      // the different ones
  std::vector<std::uint32_t> origin_of_;  // by route
};

}  // namespace proxycore::host
