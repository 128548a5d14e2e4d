#include "host/route_table.h"

#include <utility>

namespace proxycore::host {

namespace {

Result<Route> route_of(const Host& host) {
  Route route;
  route.pattern = host.host;
  route.targets.reserve(1 + host.targets.size());
  route.targets.push_back({host.ip, host.target_port});
  for (const std::string& text : host.targets) {
    PX_TRY(Target target, Target::parse(text));
    route.targets.push_back(std::move(target));
  }
  route.forcessl = host.forcessl;
  route.targetssl = host.targetssl;
  route.pass_host = host.pass_host;
  route.connect_timeout = host.connect_timeout.value_or(Millis{0});
  route.first_byte_timeout = host.first_byte_timeout.value_or(Millis{0});
  route.idle_timeout = host.idle_timeout.value_or(Millis{0});
  return route;
}

}  // namespace

std::uint32_t StatsIds::id_of(const std::string& pattern) {
  const std::lock_guard lock(mutex_);
  if (const auto at = ids_.find(pattern); at != ids_.end()) return at->second;
  if (ids_.size() >= most_) return 0;
  const auto id = static_cast<std::uint32_t>(names_.size());
  names_.push_back(pattern);
  ids_.emplace(pattern, id);
  return id;
}

std::vector<std::string> StatsIds::names() const {
  const std::lock_guard lock(mutex_);
  return names_;
}

Result<void> RouteTable::Builder::add(const Host& host, std::string_view origin) {
  PX_TRY(Route route, route_of(host));
  const auto index = static_cast<std::uint32_t>(table_->routes_.size());
  if (auto inserted = table_->trie_.insert(host.host, index); !inserted) {
    if (inserted.error().code != Errc::conflict) return inserted;
    // A host is no pattern's match but its own: the trie finds the whole pattern first.
    const std::uint32_t other = *table_->trie_.match(host.host);
    return Error{Errc::conflict, "host '" + host.host + "' is in " + origins_[origin_of_[other]] +
                                     " and in " + std::string(origin)};
  }
  route.stats_id = ids_.id_of(host.host);
  table_->routes_.push_back(std::move(route));
  if (origins_.empty() || origins_.back() != origin) origins_.emplace_back(origin);
  origin_of_.push_back(static_cast<std::uint32_t>(origins_.size() - 1));
  return {};
}

}  // namespace proxycore::host
