// RouteTable: the immutable trie of Routes in which the workers look hosts up. StatsIds: which
// hosts have counters of their own.
//
// A table is built whole from all hosts and swapped whole; who builds it decides what to do about a
// host that cannot be added. Not here: where hosts come from (host_record.h, the configuration).
// Thread: a Builder's its own; a finished table any.
#pragma once

#include <proxycore/host.h>
#include <proxycore/host_trie.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace proxycore::host {

// Slots of the per-host counters. The first `most` patterns get one each and keep it for good, so
// that counters survive a new table; everybody else shares 0, a host of the name "other" as well.
// Thread: any.
class StatsIds {
 public:
  explicit StatsIds(std::size_t most) : most_(most) {}
  std::uint32_t id_of(const std::string& pattern);
  // By slot; the first is "other".
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::vector<std::string> names_ = {"other"};
  std::unordered_map<std::string, std::uint32_t> ids_ = {{"other", 0}};
};

class RouteTable {
 public:
  class Builder;

  // The best match of a normalized name (HostName::normalize), or nullptr. Allocates nothing.
  [[nodiscard]] const Route* find(std::string_view host) const noexcept {
    const Placed* found = trie_.match(host);
    return found != nullptr ? &found->route : nullptr;
  }
  // As HostTrie::explain.
  [[nodiscard]] std::vector<Candidate> explain(std::string_view host,
                                               std::size_t most = 100) const {
    return trie_.explain(host, most);
  }
  [[nodiscard]] std::size_t size() const noexcept { return trie_.size(); }

 private:
  struct Placed {
    Route route;
    std::uint32_t origin = 0;  // the Builder's
  };
  // The routes lie beside their patterns: with a million hosts every place more to look at is a
  // cache miss more.
  HostTrie<Placed> trie_;
};

class RouteTable::Builder {
 public:
  // `ids` must live as long.
  explicit Builder(StatsIds& ids) : ids_(ids), table_(std::make_shared<RouteTable>()) {}

  // `host` is valid (Host::validate); `origin` says where it is written, for messages:
  // "proxycore.toml:12". Errors: conflict (it is there already; names both origins), invalid,
  // limit. Nothing is added then, and the others can be.
  Result<void> add(const Host& host, std::string_view origin);
  // The builder is spent.
  [[nodiscard]] std::shared_ptr<const RouteTable> finish() { return std::move(table_); }

 private:
  StatsIds& ids_;
  std::shared_ptr<RouteTable> table_;
  std::vector<std::string> origins_;  // each once if they come in a row
};

}  // namespace proxycore::host
