#include "lookup/redis_tier.h"

#include "base/log.h"
#include "host/keys.h"

#include <utility>

namespace proxycore::lookup {

namespace {

constexpr std::string_view command = "HGETALL";
constexpr std::int64_t shunned_for = 60'000;  // milliseconds
constexpr std::size_t most_shunned = 1'000;

// Field, value, field, value. nullopt: that is not what it is.
std::optional<Record> record_of(redis::Reply& reply) {
  using Type = redis::Reply::Type;
  if (!reply.is(Type::array) || reply.items.size() % 2 != 0) return std::nullopt;
  Record record;
  for (std::size_t i = 0; i < reply.items.size(); i += 2) {
    redis::Reply& field = reply.items[i];
    redis::Reply& value = reply.items[i + 1];
    if (!field.is(Type::bulk) || !value.is(Type::bulk)) return std::nullopt;
    record.insert_or_assign(std::move(field.text), std::move(value.text));
  }
  return record;
}

}  // namespace

RedisTier::RedisTier(io::Loop& loop, const redis::Url& url, const io::Conversation::Limits& limits,
                     host::StatsIds& ids, io::Resolver::Query resolver)
    : loop_(loop), ids_(ids), client_(loop, url, limits, std::move(resolver)) {}

RedisTier::~RedisTier() = default;

std::optional<Answer> RedisTier::find(std::string_view host, Waiter& later) {
  if (!too_large_.empty()) {
    const auto at = too_large_.find(std::string(host));
    if (at != too_large_.end() && loop_.now() < at->second) {
      return Error{Errc::limit, client_.server() + ": " + host::keys::host(host) + ": too large"};
    }
  }
  if (free_.empty()) free_.push_back(*all_.emplace_back(std::make_unique<Query>(*this)));
  Query& query = free_.front();
  const std::string key = host::keys::host(host);
  const std::string_view words[] = {command, key};
  const auto asked = client_.ask(words, query);
  if (!asked) return asked.error();
  static_cast<base::ListNode<FreeTag>&>(query).unlink();
  query.host = host;
  query.waiter.push_back(later);
  return std::nullopt;
}

void RedisTier::answered(Query& query, Result<redis::Reply> result) {
  Answer found = answer(query, std::move(result));
  base::List<Waiter> waiter;
  waiter.splice(query.waiter);
  // One that was late is looked at when it comes all the same: it may be too large.
  if (!query.pending()) free_.push_front(query);
  if (!waiter.empty()) waiter.pop_front().on_answer(std::move(found));
}

Answer RedisTier::answer(const Query& query, Result<redis::Reply> result) {
  const std::string key = host::keys::host(query.host);
  if (!result) {
    if (result.error().code != Errc::limit) return std::move(result).error();
    if (too_large_.size() >= most_shunned) too_large_.clear();
    too_large_.insert_or_assign(query.host, loop_.now() + shunned_for);
    return complain(key, std::move(result).error().within(key));
  }
  if (result->is(redis::Reply::Type::error)) {
    Error why = redis::error_of(command, key, *result).within(client_.server());
    // A server that cannot now is no fault of the record.
    return why.code == Errc::busy ? why : complain(key, std::move(why));
  }
  auto record = record_of(*result);
  if (!record) {
    return complain(
        key,
        redis::unexpected(command, key, "fields and values", *result).within(client_.server()));
  }
  // The key says whose record it is.
  if (!record->empty()) record->insert_or_assign("host", query.host);
  Answer found = answer_of(query.host, *std::move(record), ids_);
  if (found) return found;
  return complain(key, std::move(found).error().within(client_.server() + ": " + key));
}

Error RedisTier::complain(std::string_view key, Error why) {
  if (complaints_.admit(key, loop_.now())) {
    base::log::warning("lookup.record", {{"key", std::string(key)}, {"why", why.detail}});
  }
  return why;
}

void RedisTier::forget(std::span<const std::string> patterns) {
  for (const std::string& name : patterns) too_large_.erase(name);
}

}  // namespace proxycore::lookup
