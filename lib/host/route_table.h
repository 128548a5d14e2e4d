// RouteTable: the immutable trie of Routes in which the workers look hosts up. StatsIds: which
// hosts have counters of their own.
//
// A table is built whole from all hosts, or made of another by a few changes, and swapped whole;
// who builds it decides what to do about a host that cannot be added. Not here: where hosts come
// from (host_record.h, the configuration). Thread: a Builder's or Change's its own; a finished
// table any.
#pragma once

#include <proxycore/host.h>
#include <proxycore/host_trie.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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

// The route of a host without its counters (StatsIds). Errors: invalid (a target).
Result<Route> route_of(const Host& host);

class RouteTable {
 public:
  class Builder;
  class Change;

  RouteTable() = default;

  // The best match of a normalized name (HostName::normalize), or nullptr. Allocates nothing.
  [[nodiscard]] const Route* find(std::string_view host) const noexcept {
    if (hidden_count_ != 0 || changed_.size() != 0) return find_changed(host);
    const Placed* found = base_->match(host);
    return found != nullptr ? &found->route : nullptr;
  }
  // The route of the pattern itself, or nullptr.
  [[nodiscard]] const Route* at(std::string_view pattern) const noexcept;
  // As HostTrie::explain.
  [[nodiscard]] std::vector<Candidate> explain(std::string_view host, std::size_t most = 100) const;
  [[nodiscard]] std::size_t size() const noexcept {
    return base_->size() - hidden_count_ + changed_.size();
  }
  // Whether every host there is is in it, so that a name it does not find has none.
  [[nodiscard]] bool complete() const noexcept { return complete_; }
  // `visit(const Route&)` for every host, in no order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    base_->for_each([&](const auto& entry) {
      if (!is_hidden(entry)) visit(entry.value.route);
    });
    changed_.for_each([&](const auto& entry) { visit(entry.value.route); });
  }

 private:
  struct Placed {
    Route route;
    std::uint32_t origin = 0;  // the Builder's
    std::uint32_t number = 0;  // in hidden_
  };
  // The routes lie beside their patterns: with a million hosts every place more to look at is a
  // cache miss more.
  using Trie = HostTrie<Placed>;

  [[nodiscard]] bool is_hidden(const Trie::Entry& entry) const noexcept {
    return !hidden_.empty() && hidden_[entry.value.number];
  }
  [[nodiscard]] const Route* find_changed(std::string_view host) const noexcept;

  // Shared by the tables that a few changes make of this one.
  std::shared_ptr<const Trie> base_ = std::make_shared<const Trie>();
  std::vector<bool> hidden_;  // of the base: what was changed or removed since; empty: nothing
  std::size_t hidden_count_ = 0;
  Trie changed_;  // what was put since
  bool complete_ = true;
};

class RouteTable::Builder {
 public:
  // `ids` must live as long.
  explicit Builder(StatsIds& ids) : ids_(ids) {}

  // `host` is valid (Host::validate); `origin` says where it is written, for messages:
  // "proxycore.toml:12". Errors: conflict (it is there already; names both origins), invalid,
  // limit. Nothing is added then, and the others can be.
  Result<void> add(const Host& host, std::string_view origin,
                   HostSource source = HostSource::store);
  [[nodiscard]] std::size_t size() const noexcept { return trie_.size(); }
  // The builder is spent.
  [[nodiscard]] std::shared_ptr<const RouteTable> finish(bool complete = true);

 private:
  void share_targets(Route& route);

  StatsIds& ids_;
  Trie trie_;
  std::vector<std::string> origins_;  // each once if they come in a row
  std::unordered_map<std::string, Targets> targets_;
};

// A table that differs from another in a few hosts, made in a time that does not depend on how many
// the other has; after many changes they are all put into one trie again.
class RouteTable::Change {
 public:
  // `ids` must live as long.
  Change(StatsIds& ids, std::shared_ptr<const RouteTable> before)
      : ids_(ids), before_(std::move(before)) {}

  // Takes the place of what has its name. Errors: invalid, limit; then that stays as it was.
  Result<void> put(const Host& host, HostSource source = HostSource::store);
  // Nothing if it is not there.
  void remove(std::string_view pattern);
  // The change is spent.
  [[nodiscard]] std::shared_ptr<const RouteTable> finish(bool complete);

 private:
  StatsIds& ids_;
  std::shared_ptr<const RouteTable> before_;
  std::map<std::string, std::optional<Route>, std::less<>> changes_;  // nullopt: removed
};

}  // namespace proxycore::host
