#include "lookup/lookup.h"

#include "base/assert.h"

#include <utility>

namespace proxycore::lookup {

namespace {
// Whether nobody else need be asked.
bool decides(const Answer& answer) {
  return answer ? *answer != nullptr : answer.error().code == Errc::not_found;
}
}  // namespace

Patterns::Patterns(std::span<const std::string> patterns) {
  for (const std::string& pattern : patterns) {
    if (pattern.find('*') == std::string::npos) {
      names_.push_back(pattern);
    } else {
      (void)wild_.insert(pattern, 0);  // fails if it is there already, or can match nothing
    }
  }
}

Lookup::Lookup(io::Loop& loop, std::vector<std::unique_ptr<Tier>> tiers, LookupCounters& counters)
    : loop_(loop), tiers_(std::move(tiers)), counters_(counters) {
  PX_ASSERT(!tiers_.empty() && counters_.tiers.size() == tiers_.size());
  for (std::size_t i = 0; i < tiers_.size(); ++i) {
    counters_.tiers[i].name = tiers_[i]->name();
    counters_.tiers[i].remote = tiers_[i]->remote();
  }
}

Lookup::~Lookup() = default;

std::optional<Answer> Lookup::find(std::string_view host, Waiter& later) {
  if (!by_name_.empty()) {
    if (const auto at = by_name_.find(host); at != by_name_.end()) {
      at->second->waiters.push_back(later);
      return std::nullopt;
    }
  }
  // The first tier decides most, at once and with nobody before it to teach.
  std::optional<Answer> answer;
  if (!counters_.tiers.front().remote) {
    answer = tiers_.front()->find(host, later);
    if (decides(*answer)) {
      counters_.tiers.front().hits.add();
      return answer;
    }
  }
  Flight& flight = take_flight();
  if (answer) {
    (void)weigh(flight, host, *std::move(answer));
    ++flight.tier;
  }
  answer = go_on(flight, host);
  if (answer) {
    give_back(flight);
    return answer;
  }
  ++flying_;
  flight.name = host;
  by_name_.emplace(flight.name, &flight);
  flight.waiters.push_back(later);
  return std::nullopt;
}

Lookup::Flight& Lookup::take_flight() {
  if (free_.empty()) return *all_.emplace_back(std::make_unique<Flight>(*this));
  return free_.pop_front();
}

void Lookup::give_back(Flight& flight) {
  flight.tier = 0;
  flight.failed.reset();
  flight.outdated = false;
  free_.push_front(flight);
}

// Asks one tier after the other; nullopt: one of them will answer later.
std::optional<Answer> Lookup::go_on(Flight& flight, std::string_view host) {
  for (; flight.tier < tiers_.size(); ++flight.tier) {
    std::optional<Answer> answer;
    if (!counters_.tiers[flight.tier].remote) {
      answer = tiers_[flight.tier]->find(host, flight);
    } else if (flying_ >= max_flights) {
      answer = Error{Errc::busy, "too many names are being looked up"};
    } else {
      flight.asked = loop_.nanos();
      answer = tiers_[flight.tier]->find(host, flight);
    }
    if (!answer) return std::nullopt;
    if (auto decided = weigh(flight, host, *std::move(answer))) return decided;
  }
  return give_up(flight, host);
}

// nullopt: the next tier has to be asked.
std::optional<Answer> Lookup::weigh(Flight& flight, std::string_view host, Answer answer) {
  TierCounters& counters = counters_.tiers[flight.tier];
  if (decides(answer)) {
    counters.hits.add();
    teach(flight, host, answer);
    return answer;
  }
  if (answer) {
    counters.misses.add();
  } else {
    counters.failures.add();
    if (!flight.failed) flight.failed = std::move(answer).error();
  }
  return std::nullopt;
}

Answer Lookup::give_up(const Flight& flight, std::string_view host) {
  if (!flight.failed) {
    Answer none = Error{Errc::not_found};
    teach(flight, host, none);
    return none;
  }
  for (const auto& tier : tiers_) {
    if (auto known = tier->last_known(host)) {
      counters_.last_known.add();
      return known;
    }
  }
  return *flight.failed;
}

void Lookup::teach(const Flight& flight, std::string_view host, const Answer& answer) {
  if (flight.outdated) return;
  for (std::size_t i = 0; i < flight.tier; ++i) tiers_[i]->learn(host, answer);
}

void Lookup::answered(Flight& flight, Answer answer) {
  counters_.tiers[flight.tier].latency.observe((loop_.nanos() - flight.asked) / 1000);
  auto decided = weigh(flight, flight.name, std::move(answer));
  if (!decided) {
    ++flight.tier;
    decided = go_on(flight, flight.name);
    if (!decided) return;
  }
  if (!flight.outdated) by_name_.erase(flight.name);
  --flying_;
  base::List<Waiter> waiters;
  waiters.splice(flight.waiters);
  give_back(flight);
  // Whoever is told may ask again, or make others go away.
  while (!waiters.empty()) waiters.pop_front().on_answer(*decided);
}

void Lookup::outdate(Flight& flight) {
  flight.outdated = true;
  by_name_.erase(flight.name);
}

void Lookup::forget(std::span<const std::string> patterns) {
  for (const auto& tier : tiers_) tier->forget(patterns);
  if (by_name_.empty()) return;
  const Patterns changed(patterns);
  for (const std::string_view name : changed.names()) {
    if (const auto at = by_name_.find(name); at != by_name_.end()) outdate(*at->second);
  }
  if (!changed.wild()) return;
  for (const auto& flight : all_) {
    const auto at = by_name_.find(flight->name);
    if (at == by_name_.end() || at->second != flight.get()) continue;
    if (changed.match(flight->name)) outdate(*flight);
  }
}

void Lookup::forget_all() {
  for (const auto& tier : tiers_) tier->forget_all();
  for (const auto& [name, flight] : by_name_) flight->outdated = true;
  by_name_.clear();
}

}  // namespace proxycore::lookup
