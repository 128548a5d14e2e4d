#include "io/resolver.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <netdb.h>
#include <pthread.h>

#include <fmt/format.h>

namespace proxycore::io {

namespace {

constexpr std::size_t max_addresses = 16;

Error failed(Errc code, const std::string& name, std::string_view why) {
  return {code, fmt::format("resolve '{}': {}", name, why)};
}

struct SystemQuery {
  std::shared_ptr<Inbox> inbox;
  std::string name;
  base::UniqueFunction<void(Addresses)> done;
  Addresses answer = Error{};

  static void* run(void* query) {
    std::unique_ptr<SystemQuery> self(static_cast<SystemQuery*>(query));
    self->answer = look_up(self->name);
    deliver(std::move(self));
    return nullptr;
  }
  static void deliver(std::unique_ptr<SystemQuery> self) {
    const std::shared_ptr<Inbox> inbox = self->inbox;
    inbox->post([self = std::move(self)] { self->done(std::move(self->answer)); });
  }
};

}  // namespace

Addresses look_up(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (status == EAI_SYSTEM) return failed(Errc::io, name, std::strerror(errno));
  if (status != 0) {
    const Errc code = status == EAI_NONAME || status == EAI_NODATA ? Errc::not_found
                      : status == EAI_AGAIN                        ? Errc::busy
                                                                   : Errc::io;
    return failed(code, name, ::gai_strerror(status));
  }
  std::vector<Address> all;
  for (const addrinfo* at = found; at != nullptr && all.size() < max_addresses; at = at->ai_next) {
    const Address address(*at->ai_addr);
    if (!address.unspecified()) all.push_back(address);
  }
  ::freeaddrinfo(found);
  if (all.empty()) return failed(Errc::not_found, name, "no address");
  return all;
}

Resolver::Query Resolver::system_query() {
  return [](Loop& loop, const std::string& name, base::UniqueFunction<void(Addresses)> done) {
    auto query = std::make_unique<SystemQuery>(SystemQuery{loop.inbox(), name, std::move(done)});
    pthread_attr_t detached;
    ::pthread_attr_init(&detached);
    ::pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_t thread{};
    const int status = ::pthread_create(&thread, &detached, &SystemQuery::run, query.get());
    ::pthread_attr_destroy(&detached);
    if (status == 0) {
      query.release();  // NOLINT(bugprone-unused-return-value): the thread owns it now
    } else {
      query->answer = failed(Errc::io, name, std::strerror(status));
      SystemQuery::deliver(std::move(query));
    }
  };
}

Resolver::Resolver(Loop& loop, Millis ttl, Millis failure_ttl, Query query)
    : loop_(loop),
      ttl_(ttl.count()),
      failure_ttl_(failure_ttl.count()),
      query_(std::move(query)),
      alive_(std::make_shared<Alive>(Alive{this})) {}

Resolver::~Resolver() {
  alive_->resolver = nullptr;
}

std::optional<Addresses> Resolver::find(std::string_view name, Waiter& later) {
  Name* const known = entry(name);
  if (known == nullptr) {
    return failed(Errc::busy, std::string(name), "too many names are being looked up");
  }
  if (known->state == State::resting) resting_.push_back(*known);
  const bool answered_once = known->expires != 0;
  if (answered_once && loop_.now() < known->expires) return known->answer;
  if (serves_stale(*known)) {
    ask(*known);
    return known->answer;
  }
  known->waiters.push_back(later);
  ask(*known);
  return std::nullopt;
}

// nullptr: there is no room, as all are being looked up.
Resolver::Name* Resolver::entry(std::string_view name) {
  const auto at = names_.find(name);
  if (at != names_.end()) return at->second.get();
  if (names_.size() >= max_names) {
    if (resting_.empty()) return nullptr;
    names_.erase(names_.find(resting_.front().name));
  }
  auto fresh = std::make_unique<Name>();
  fresh->name = name;
  Name& made = *fresh;
  names_.emplace(made.name, std::move(fresh));
  resting_.push_back(made);
  return &made;
}

bool Resolver::serves_stale(const Name& name) const {
  return name.answer.has_value() && loop_.now() < name.stale_until;
}

void Resolver::ask(Name& name) {
  if (name.state != State::resting) return;
  Lane& lane = name.suspect ? suspect_ : normal_;
  name.state = State::queued;
  lane.queue.push_back(name);
  run(lane);
}

void Resolver::run(Lane& lane) {
  while (lane.running < lane.at_once && !lane.queue.empty()) {
    Name& name = lane.queue.pop_front();
    if (name.waiters.empty() && !serves_stale(name)) {  // nobody wants to know any more
      rest(name);
      continue;
    }
    name.state = State::querying;
    name.asked = loop_.now();
    ++lane.running;
    query_(loop_, name.name, [alive = alive_, &name, &lane](Addresses answer) {
      if (alive->resolver != nullptr) alive->resolver->answered(name, lane, std::move(answer));
    });
  }
}

void Resolver::rest(Name& name) {
  name.state = State::resting;
  resting_.push_back(name);
}

void Resolver::answered(Name& name, Lane& lane, Addresses answer) {
  const std::int64_t now = loop_.now();
  name.suspect = !answer.has_value() || now - name.asked >= slow;
  if (answer) {
    name.answer = std::move(answer);
    name.expires = now + ttl_;
    name.stale_until = name.expires + 9 * ttl_;
  } else {
    // An older good answer stays in use while it may; look again soon.
    if (!serves_stale(name)) name.answer = std::move(answer);
    name.expires = now + failure_ttl_;
  }
  rest(name);
  --lane.running;
  run(lane);

  // Last, and from our own hands: they may look up further names, or destroy us.
  base::List<Waiter> waiting;
  waiting.splice(name.waiters);
  const Addresses told = name.answer;
  while (!waiting.empty()) waiting.pop_front().on_resolved(told);
}

}  // namespace proxycore::io
