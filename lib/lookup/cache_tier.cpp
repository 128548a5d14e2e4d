#include "lookup/cache_tier.h"

namespace proxycore::lookup {

namespace {
// More names are not looked through for those that a pattern matches.
constexpr std::size_t most_scanned = 20'000;
}  // namespace

std::optional<Answer> CacheTier::find(std::string_view host, Waiter& /*later*/) {
  const auto at = entries_.find(host);
  if (at == entries_.end()) return unknown();
  Entry& entry = *at->second;
  if (entry.epoch != epoch_ || loop_.now() >= entry.expires) return unknown();
  use(entry);
  if (entry.route == nullptr) return Error{Errc::not_found};
  return entry.route;
}

void CacheTier::learn(std::string_view host, const Answer& answer) {
  const auto at = entries_.find(host);
  if (at != entries_.end()) use(*at->second);
  Entry& entry = at != entries_.end() ? *at->second : add(host);
  entry.route = answer ? *answer : nullptr;
  entry.expires = loop_.now() + (answer ? limits_.ttl : limits_.negative_ttl).count();
  entry.epoch = epoch_;
}

std::shared_ptr<const Route> CacheTier::last_known(std::string_view host) {
  const auto at = entries_.find(host);
  return at != entries_.end() ? at->second->route : nullptr;
}

void CacheTier::use(Entry& entry) {
  again_.push_front(entry);
  if (entry.again) return;
  entry.again = true;
  // Those used once keep a quarter of the room, so that new names have the time to be used again.
  if (++again_count_ <= limits_.entries - limits_.entries / 4) return;
  Entry& oldest = again_.back();
  oldest.again = false;
  --again_count_;
  once_.push_front(oldest);
}

CacheTier::Entry& CacheTier::add(std::string_view host) {
  if (entries_.size() >= limits_.entries) {
    Entry& oldest = once_.empty() ? again_.back() : once_.back();
    if (oldest.again) --again_count_;
    entries_.erase(entries_.find(oldest.name));
  }
  auto entry = std::make_unique<Entry>();
  entry->name = host;
  once_.push_front(*entry);
  Entry& added = *entry;
  entries_.emplace(added.name, std::move(entry));
  return added;
}

void CacheTier::forget(std::span<const std::string> patterns) {
  const Patterns changed(patterns);
  for (const std::string_view name : changed.names()) {
    if (const auto at = entries_.find(name); at != entries_.end()) at->second->expires = 0;
  }
  if (!changed.wild()) return;
  if (entries_.size() > most_scanned) return forget_all();
  for (const auto& [name, entry] : entries_) {
    const bool named = entry->route != nullptr && changed.has(entry->route->pattern);
    if (named || changed.match(name)) entry->expires = 0;
  }
}

}  // namespace proxycore::lookup
