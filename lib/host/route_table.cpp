#include "host/route_table.h"

#include <algorithm>
#include <utility>

namespace proxycore::host {

namespace {

// Changes that are kept beside the base even if it is small.
constexpr std::size_t least_merged = 1024;
constexpr std::size_t most_shared = 10'000;  // lists of targets

}  // namespace

Result<Route> route_of(const Host& host) {
  std::vector<Target> targets;
  targets.reserve(1 + host.targets.size());
  targets.push_back({host.ip, host.target_port});
  for (const std::string& text : host.targets) {
    PX_TRY(Target target, Target::parse(text));
    targets.push_back(std::move(target));
  }
  Route route;
  route.pattern = host.host;
  route.targets = Targets(std::move(targets));
  route.forcessl = host.forcessl;
  route.hsts = host.hsts;
  if (host.targetssl) {
    route.tls =
        std::make_shared<const TargetTls>(TargetTls{host.target_verify, host.target_server_name});
  }
  route.pass_host = host.pass_host;
  route.connect_timeout = host.connect_timeout.value_or(Millis{0});
  route.first_byte_timeout = host.first_byte_timeout.value_or(Millis{0});
  route.idle_timeout = host.idle_timeout.value_or(Millis{0});
  return route;
}

std::uint32_t StatsIds::id_of(const std::string& pattern) {
  const std::lock_guard lock(mutex_);
  if (const auto at = ids_.find(pattern); at != ids_.end()) return at->second;
  if (names_.size() > most_) return 0;
  const auto id = static_cast<std::uint32_t>(names_.size());
  names_.push_back(pattern);
  ids_.emplace(pattern, id);
  return id;
}

std::vector<std::string> StatsIds::names() const {
  const std::lock_guard lock(mutex_);
  return names_;
}

const Route* RouteTable::at(std::string_view pattern) const noexcept {
  if (const Trie::Entry* entry = changed_.at(pattern)) return &entry->value.route;
  const Trie::Entry* entry = base_->at(pattern);
  return entry != nullptr && !is_hidden(*entry) ? &entry->value.route : nullptr;
}

const Route* RouteTable::find_changed(std::string_view host) const noexcept {
  MatchTrace old_way;
  MatchTrace new_way;
  const Trie::Entry* found =
      base_->find(host, old_way, [this](const auto& entry) { return !is_hidden(entry); });
  const Trie::Entry* changed = changed_.find(host, new_way);
  if (changed != nullptr && (found == nullptr || new_way.fits < old_way.fits)) found = changed;
  return found != nullptr ? &found->value.route : nullptr;
}

std::vector<Candidate> RouteTable::explain(std::string_view host, std::size_t most) const {
  if (hidden_count_ == 0 && changed_.size() == 0) return base_->explain(host, most);
  // One trie of all that is worth telling has the reasons.
  HostTrie<char> told;
  const auto add = [&](const Trie& from) {
    for (const Candidate& row : from.explain(host, from.size())) {
      const Trie::Entry* entry = from.at(row.pattern);
      if (&from == base_.get() && is_hidden(*entry)) continue;
      (void)told.insert(row.pattern, 0);  // valid, and in one of the two only
    }
  };
  add(*base_);
  add(changed_);
  return told.explain(host, most);
}

Result<void> RouteTable::Builder::add(const Host& host, std::string_view origin,
                                      HostSource source) {
  PX_TRY(Route route, route_of(host));
  route.source = source;
  share_targets(route);
  if (origins_.empty() || origins_.back() != origin) origins_.emplace_back(origin);
  Placed placed{.route = std::move(route),
                .origin = static_cast<std::uint32_t>(origins_.size() - 1),
                .number = static_cast<std::uint32_t>(trie_.size())};
  placed.route.stats_id = ids_.id_of(host.host);
  auto inserted = trie_.insert(host.host, std::move(placed));
  if (inserted || inserted.error().code != Errc::conflict) return inserted;
  const Placed& other = trie_.at(host.host)->value;
  return Error{Errc::conflict, "host '" + host.host + "' is in " + origins_[other.origin] +
                                   " and in " + std::string(origin)};
}

// Many hosts have few targets between them: one list then stays in the processor's cache where a
// million would not.
void RouteTable::Builder::share_targets(Route& route) {
  std::string text;
  for (const Target& target : route.targets) text.append(target.text()).append(" ");
  if (const auto known = targets_.find(text); known != targets_.end()) {
    route.targets = known->second;
  } else if (targets_.size() < most_shared) {
    targets_.emplace(std::move(text), route.targets);
  }
}

std::shared_ptr<const RouteTable> RouteTable::Builder::finish(bool complete) {
  auto table = std::make_shared<RouteTable>();
  table->base_ = std::make_shared<const Trie>(std::move(trie_));
  table->complete_ = complete;
  return table;
}

Result<void> RouteTable::Change::put(const Host& host, HostSource source) {
  PX_TRY(Route route, route_of(host));
  route.source = source;
  // What a trie takes, another one takes as well.
  Trie trial;
  PX_CHECK(trial.insert(host.host, {}));
  route.stats_id = ids_.id_of(host.host);
  changes_.insert_or_assign(host.host, std::move(route));
  return {};
}

void RouteTable::Change::remove(std::string_view pattern) {
  changes_.insert_or_assign(std::string(pattern), std::nullopt);
}

std::shared_ptr<const RouteTable> RouteTable::Change::finish(bool complete) {
  auto table = std::make_shared<RouteTable>();
  table->complete_ = complete;
  table->base_ = before_->base_;
  table->hidden_ = before_->hidden_;
  table->hidden_count_ = before_->hidden_count_;
  for (const auto& [pattern, route] : changes_) {
    const Trie::Entry* entry = table->base_->at(pattern);
    if (entry == nullptr) continue;
    table->hidden_.resize(table->base_->size());
    if (!table->hidden_[entry->value.number]) ++table->hidden_count_;
    table->hidden_[entry->value.number] = true;
  }
  std::uint32_t number = 0;
  const auto place = [&](Trie& into, const Route& route) {
    // Valid, as put() tried it or it came from a trie; fails only in a trie of 16 GiB.
    (void)into.insert(route.pattern, {.route = route, .number = number++});
  };
  const auto is_changed = [this](const Trie::Entry& entry) {
    return changes_.find(entry.pattern()) != changes_.end();
  };
  // The changed ones are copied with each change; whole tables seldom.
  const std::size_t most = std::max(least_merged, table->base_->size() / 32);
  const bool merge =
      before_->changed_.size() + changes_.size() > most || table->hidden_count_ > most;
  Trie merged;
  Trie& into = merge ? merged : table->changed_;
  if (merge) {
    table->base_->for_each([&](const Trie::Entry& entry) {
      if (!table->is_hidden(entry)) place(into, entry.value.route);
    });
  }
  before_->changed_.for_each([&](const Trie::Entry& entry) {
    if (!is_changed(entry)) place(into, entry.value.route);
  });
  for (const auto& [pattern, route] : changes_) {
    if (route) place(into, *route);
  }
  if (merge) {
    table->base_ = std::make_shared<const Trie>(std::move(merged));
    table->hidden_.clear();
    table->hidden_count_ = 0;
  }
  return table;
}

}  // namespace proxycore::host
