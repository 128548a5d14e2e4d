#include "io/resolver.h"

#include <algorithm>
#include <utility>

#include <netdb.h>

#include <fmt/format.h>
#include <uv.h>

namespace proxycore::io {

namespace {

struct SystemQuery {
  uv_getaddrinfo_t request{};
  std::string name;
  base::UniqueFunction<void(Addresses)> done;
};

Addresses addresses_of(int status, const addrinfo* first, const std::string& name) {
  if (status != 0) {
    const Errc code = status == UV_EAI_NONAME || status == UV_EAI_NODATA ? Errc::not_found
                      : status == UV_EAI_AGAIN                           ? Errc::busy
                                                                         : Errc::io;
    return Error{code, fmt::format("resolve '{}': {}", name, uv_strerror(status))};
  }
  std::vector<Address> all;
  for (const addrinfo* at = first; at != nullptr && all.size() < 16; at = at->ai_next) {
    const Address address(*at->ai_addr);
    if (!address.unspecified()) all.push_back(address);
  }
  if (all.empty()) {
    return Error{Errc::not_found, fmt::format("resolve '{}': no address", name)};
  }
  return all;
}

}  // namespace

Resolver::Query Resolver::system_query() {
  return [](Loop& loop, const std::string& name, base::UniqueFunction<void(Addresses)> done) {
    auto query = std::make_unique<SystemQuery>();
    query->name = name;
    query->done = std::move(done);
    query->request.data = query.get();
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    const int status = uv_getaddrinfo(
        &loop.uv(), &query->request,
        [](uv_getaddrinfo_t* request, int result, addrinfo* found) {
          const std::unique_ptr<SystemQuery> self(static_cast<SystemQuery*>(request->data));
          Addresses answer = addresses_of(result, found, self->name);
          uv_freeaddrinfo(found);
          self->done(std::move(answer));
        },
        name.c_str(), nullptr, &hints);
    if (status == 0) {
      query.release();  // NOLINT(bugprone-unused-return-value): the callback owns it now
      return;
    }
    loop.post([query = std::move(query), status]() mutable {
      query->done(addresses_of(status, nullptr, query->name));
    });
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
  std::string key(name);
  auto at = names_.find(key);
  if (at == names_.end()) {
    if (names_.size() >= max_names) evict();
    auto fresh = std::make_unique<Name>();
    fresh->name = key;
    at = names_.emplace(std::move(key), std::move(fresh)).first;
  }
  Name& entry = *at->second;
  const std::int64_t now = loop_.now();
  entry.used = now;
  const bool answered_once = entry.expires != 0;
  if (answered_once && now < entry.expires) return entry.answer;
  ask(entry);
  if (answered_once && entry.answer && now < entry.stale_until) return entry.answer;
  entry.waiters.push_back(later);
  return std::nullopt;
}

void Resolver::ask(Name& name) {
  if (name.querying || name.queued) return;
  name.queued = true;
  Lane& lane = name.suspect ? suspect_ : normal_;
  lane.queue.push_back(name.name);
  run(lane, name.suspect ? suspect_queries : normal_queries);
}

void Resolver::run(Lane& lane, std::size_t at_once) {
  while (lane.running < at_once && !lane.queue.empty()) {
    const std::string next = lane.queue.front();
    lane.queue.erase(lane.queue.begin());
    const auto at = names_.find(next);
    if (at == names_.end()) continue;
    Name& name = *at->second;
    name.queued = false;
    name.querying = true;
    name.asked = loop_.now();
    ++lane.running;
    query_(loop_, next, [alive = alive_, next, suspect = name.suspect](Addresses answer) {
      if (alive->resolver != nullptr) {
        alive->resolver->answered(next, suspect, std::move(answer));
      }
    });
  }
}

void Resolver::answered(const std::string& name, bool was_suspect, Addresses answer) {
  Lane& lane = was_suspect ? suspect_ : normal_;
  --lane.running;
  if (const auto at = names_.find(name); at != names_.end()) {
    Name& entry = *at->second;
    const std::int64_t now = loop_.now();
    entry.querying = false;
    entry.suspect = !answer.has_value() || now - entry.asked >= slow;
    if (answer) {
      entry.answer = std::move(answer);
      entry.expires = now + ttl_;
      entry.stale_until = entry.expires + 9 * ttl_;
    } else {
      // An older good answer stays in use while it may; look again soon.
      if (!entry.answer || now >= entry.stale_until) entry.answer = std::move(answer);
      entry.expires = now + failure_ttl_;
    }
    base::List<Waiter> waiting;
    waiting.splice(entry.waiters);
    const Addresses told = entry.answer;
    while (!waiting.empty()) waiting.pop_front().on_resolved(told);
  }
  run(lane, was_suspect ? suspect_queries : normal_queries);
}

void Resolver::evict() {
  auto oldest = names_.end();
  for (auto at = names_.begin(); at != names_.end(); ++at) {
    const Name& name = *at->second;
    if (name.querying || name.queued || !name.waiters.empty()) continue;
    if (oldest == names_.end() || name.used < oldest->second->used) oldest = at;
  }
  if (oldest != names_.end()) names_.erase(oldest);
}

}  // namespace proxycore::io
