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

Result<void> RouteTable::Builder::add(const Host& host, std::string_view origin) {
  PX_TRY(Route route, route_of(host));
  if (origins_.empty() || origins_.back() != origin) origins_.emplace_back(origin);
  Placed placed{.route = std::move(route),
                .origin = static_cast<std::uint32_t>(origins_.size() - 1)};
  placed.route.stats_id = ids_.id_of(host.host);
  auto inserted = table_->trie_.insert(host.host, std::move(placed));
  if (inserted || inserted.error().code != Errc::conflict) return inserted;
  // The trie finds a whole pattern before anything that matches it.
  const Placed& other = *table_->trie_.match(host.host);
  return Error{Errc::conflict, "host '" + host.host + "' is in " + origins_[other.origin] +
                                   " and in " + std::string(origin)};
}

}  // namespace proxycore::host
