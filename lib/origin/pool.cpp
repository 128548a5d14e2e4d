#include "origin/pool.h"

#include "base/log.h"

#include <string>

#include <fmt/format.h>

namespace proxycore::origin {

Pool::Pool(io::Loop& loop, const Config& config, const host::TargetPolicy& policy,
           Verification& verification, FailingTargets& failing, io::Resolver::Query query,
           PoolCounters& counters)
    : loop_(loop),
      config_(config),
      policy_(policy),
      verification_(verification),
      failing_(failing),
      counters_(counters),
      resolver_(loop, config.origins.resolve_ttl, config.origins.resolve_failure_ttl,
                std::move(query)) {
  limits_.header_count = config.limits.header_count;
  limits_.header_size = config.limits.header_size;
}

Pool::~Pool() {
  drain();
  // What is still lent belongs to exchanges that are gone by now.
  for (auto& [key, endpoint] : endpoints_) endpoint->connections.clear();
  loop_.sweep();  // connections that died this turn still give their parsers back to us
}

Endpoint& Pool::endpoint(const Route& route, std::size_t index) {
  const Target& target = route.targets[index];
  Key key{target.name, target.port, Speech::plain, route.source, {}};
  if (route.tls) {
    const bool verified = route.tls->verify == TargetVerify::yes;
    key.speech = verified ? Speech::verified : Speech::unverified;
    key.server_name = route.tls->server_name.empty() ? target.name : route.tls->server_name;
  }
  const auto at = endpoints_.find(key);
  if (at != endpoints_.end()) return *at->second;
  if (endpoints_.size() >= max_unused_endpoints) forget_unused();
  auto fresh = std::make_unique<Endpoint>();
  Endpoint& made = *fresh;
  made.target = target;
  made.speech = key.speech;
  made.source = key.source;
  made.server_name = key.server_name;
  made.address = io::Address::parse(target.name, target.port);
  endpoints_.emplace(
      Key{made.target.name, made.target.port, made.speech, made.source, made.server_name},
      std::move(fresh));
  return made;
}

Result<std::shared_ptr<tls::ClientContext>> Pool::client_context() {
  if (!client_context_) {
    tls::ClientContext::Settings settings;
    settings.authorities = verification_.authorities();
    PX_TRY(client_context_, tls::ClientContext::create(settings));
  }
  return client_context_;
}

void Pool::forget_authorities() {
  client_context_.reset();
  // What is resumed is not verified again.
  for (auto& [key, endpoint] : endpoints_) endpoint->session = {};
}

// Asks what is shared with other workers once only.
void Pool::warn(const Route& route) {
  if (warned_.size() >= Verification::max_warned || !warned_.insert(route.pattern).second) return;
  verification_.warn(route);
}

std::optional<Error> Pool::objection(const Endpoint& endpoint, const io::Address& to) {
  if (endpoint.source == HostSource::file) return std::nullopt;
  const std::string_view why = policy_.objection(to);
  if (why.empty()) return std::nullopt;
  counters_.refused.add();
  static base::log::Throttle throttle;
  base::log::write(
      throttle, LogLevel::warning, "target.refused",
      {{"target", endpoint.target.text()}, {"address", to.text()}, {"why", std::string(why)}});
  return Error{Errc::refused, fmt::format("{}: {}", to.text(), why)};
}

void Pool::forget_unused() {
  std::erase_if(endpoints_, [&](const auto& item) {
    Endpoint& endpoint = *item.second;
    if (!endpoint.connections.empty() || endpoint.health.resting(loop_.now())) return false;
    if (endpoint.health.failures != 0) recovered(endpoint);
    return true;
  });
}

Pool::Choice Pool::acquire(const Route& route, std::size_t avoid, bool fresh_only, Waiter& later) {
  Choice choice;
  choice.target = balancer_.pick(route, avoid, loop_.now(), [&](std::size_t at) -> const Health& {
    return endpoint(route, at).health;
  });
  Endpoint& to = endpoint(route, choice.target);
  // Also of a host whose requests go by connections that another has opened.
  if (to.speech == Speech::unverified) warn(route);
  if (!to.idle.empty() && !fresh_only) {
    choice.lease = Lease(to.idle.front());
    return choice;
  }
  if (to.connections.size() >= config_.limits.origin_connections) {
    choice.lease = Error{Errc::limit, "limits.origin_connections is reached for this target"};
    return choice;
  }
  if (to.speech == Speech::unverified) {
    const bool chosen = route.tls->verify == TargetVerify::no;
    (chosen ? counters_.unverified_by_choice : counters_.unverified_by_default).add();
  }
  Connection& fresh = *to.connections.emplace_back(std::make_unique<Connection>(*this, to));
  fresh.index_ = to.connections.size() - 1;
  const Millis limit =
      route.connect_timeout.count() > 0 ? route.connect_timeout : config_.timeouts.origin_connect;
  if (auto failed = fresh.open(limit, later)) choice.lease = *std::move(failed);
  return choice;
}

void Pool::recovered(Endpoint& endpoint) {
  endpoint.health.succeeded();
  failing_.recovered(&endpoint);
}

void Pool::failed(const Route& route, std::size_t target) {
  Endpoint& used = endpoint(route, target);
  const bool rests =
      used.health.failed(loop_.now(), config_.origins.failures, config_.origins.cool_down.count());
  const std::int64_t rest = used.health.rests_until - loop_.now();
  failing_.failed(&used, {.target = used.target.text(),
                          .failures = used.health.failures,
                          .last = loop_.wall(),
                          .rests_until = rest > 0 ? loop_.wall() + rest : 0});
  if (!rests) return;
  static base::log::Throttle throttle;
  base::log::write(throttle, LogLevel::warning, "origin.rests",
                   {{"target", used.target.text()},
                    {"failures", std::to_string(config_.origins.failures)},
                    {"cool_down_ms", std::to_string(config_.origins.cool_down.count())}});
}

// Takes it out of its endpoint; it dies when the current callback has unwound.
void Pool::remove(Connection& connection) {
  auto& all = connection.endpoint_.connections;
  const std::size_t index = connection.index_;
  std::unique_ptr<Connection> dead = std::move(all[index]);
  if (index + 1 < all.size()) {
    all[index] = std::move(all.back());
    all[index]->index_ = index;
  }
  all.pop_back();
  loop_.retire(std::move(dead));
}

void Pool::drain() {
  draining_ = true;
  for (auto& [key, endpoint] : endpoints_) {
    while (!endpoint->idle.empty()) endpoint->idle.front().die();
  }
}

}  // namespace proxycore::origin
