#include "tls/cert_cache.h"

#include <proxycore/host_trie.h>

#include <algorithm>
#include <utility>

namespace proxycore::tls {

bool may_serve(std::string_view kept, std::string_view name) noexcept {
  if (!kept.starts_with("*.")) return kept == name;
  kept.remove_prefix(2);
  if (name == kept) return true;
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && name.substr(dot + 1) == kept;
}

CertCache::Flight::Flight(CertCache& owner, Entry& of)
    : cache(owner), entry(of), timer(owner.loop_.timers(), *this, [](Flight& self) {
        self.cache.counters_.timeouts.add();
        self.cache.tell(self.entry);
      }) {}

std::size_t CertCache::Hash::operator()(std::string_view name) const noexcept {
  return proxycore::detail::hash(name, proxycore::detail::process_seed());
}

CertCache::CertCache(io::Loop& loop, const Limits& limits, Ask ask,
                     std::shared_ptr<const Credentials> fallback, CertCacheCounters& counters)
    : loop_(loop),
      limits_(limits),
      ask_(std::move(ask)),
      fallback_(std::move(fallback)),
      counters_(counters) {}

CertCache::~CertCache() = default;

std::shared_ptr<const Credentials> CertCache::find(std::string_view name,
                                                   CredentialsWaiter& later) {
  if (name.empty()) {
    counters_.fallbacks.add();
    return fallback_;
  }
  const auto at = entries_.find(name);
  if (at != entries_.end() && loop_.now() < at->second->expires) {
    Entry& entry = *at->second;
    used_.push_front(entry);
    return best(entry);
  }
  if (at == entries_.end() || at->second->flight == nullptr) {
    if (flights_ >= max_flights) {
      if (at != entries_.end()) return best(*at->second);
      counters_.fallbacks.add();
      return fallback_;
    }
    ask(at != entries_.end() ? *at->second : add(name));
  }
  Flight& flight = *entries_.find(name)->second->flight;
  flight.waiters.push_back(later);
  if (!flight.timer.armed()) flight.timer.arm(limits_.wait);
  return nullptr;
}

CertCache::Entry& CertCache::add(std::string_view name) {
  while (entries_.size() >= limits_.names && !used_.empty()) {
    Entry& oldest = used_.back();
    // Who is being asked for stays: there are few of them.
    if (oldest.flight != nullptr) {
      if (flights_ >= entries_.size()) break;
      used_.push_front(oldest);
      continue;
    }
    entries_.erase(entries_.find(oldest.name));
  }
  auto entry = std::make_unique<Entry>();
  entry->name = name;
  used_.push_front(*entry);
  Entry& added = *entry;
  entries_.emplace(added.name, std::move(entry));
  return added;
}

void CertCache::ask(Entry& entry) {
  if (entry.flight == nullptr) {
    entry.flight = std::make_unique<Flight>(*this, entry);
    ++flights_;
  }
  entry.flight->number = ++questions_;
  counters_.asked.add();
  ask_(entry.name, [this, inbox = loop_.inbox(), name = entry.name,
                    number = entry.flight->number](CertAnswer answer) mutable {
    inbox->post([this, name = std::move(name), number, answer = std::move(answer)]() mutable {
      answered(name, number, std::move(answer));
    });
  });
}

void CertCache::answered(const std::string& name, std::uint64_t number, CertAnswer answer) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return;
  Entry& entry = *at->second;
  // An answer to a question from before a change does not count.
  if (entry.flight == nullptr || entry.flight->number != number) return;
  if (answer.credentials != nullptr) {
    entry.credentials = std::move(answer.credentials);
  } else {
    counters_.failures.add();
  }
  entry.expires = loop_.now() + answer.ttl.count();
  tell(entry);
  entry.flight.reset();
  --flights_;
}

void CertCache::tell(Entry& entry) {
  auto& waiters = entry.flight->waiters;
  while (!waiters.empty()) waiters.pop_front().on_credentials(best(entry));
}

std::shared_ptr<const Credentials> CertCache::best(const Entry& entry) {
  const auto& found = entry.credentials != nullptr ? entry.credentials : fallback_;
  if (found->fallback) counters_.fallbacks.add();
  return found;
}

void CertCache::forget(std::span<const std::string> names) {
  for (const auto& [name, entry] : entries_) {
    const auto changed = [served = name](std::string_view kept) { return may_serve(kept, served); };
    if (!names.empty() && std::none_of(names.begin(), names.end(), changed)) continue;
    entry->expires = 0;
    // The answer on its way may be that of before.
    if (entry->flight != nullptr) ask(*entry);
  }
}

}  // namespace proxycore::tls
