#include "auth/sessions.h"

#include "auth/secret.h"
#include "base/log.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include "store/repo.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

namespace proxycore::auth {

namespace {
namespace fields = host::fields;
namespace keys = host::keys;

constexpr std::string_view ends_field = "expires_on";  // milliseconds since 1970
constexpr std::array<std::size_t, 4> dashes = {8, 13, 18, 23};
constexpr std::size_t token_size = 36;
constexpr std::size_t digest_size = 64;

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_dash(std::size_t at) {
  return std::find(dashes.begin(), dashes.end(), at) != dashes.end();
}

// The form of a UUID, as old clients and their records have it. What has it is no digest: nobody
// can show the key of a record in place of its token.
bool is_token(std::string_view text) {
  if (text.size() != token_size) return false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (is_dash(at) ? text[at] != '-' : !is_hex(text[at])) return false;
  }
  return true;
}

std::string with_dashes(std::string_view hex) {
  std::string token;
  token.reserve(token_size);
  for (const char digit : hex) {
    if (is_dash(token.size())) token.push_back('-');
    token.push_back(digit);
  }
  return token;
}

// What a record's session is called, by the name in its key.
std::string id_of_record(std::string_view name) {
  return name.size() == digest_size ? std::string(name) : digest(name);
}

Error no_such_session() {
  return {Errc::denied, "no such session"};
}
}  // namespace

std::string csrf_of(std::string_view token) {
  return digest(std::string("csrf of ").append(token));
}

Sessions::Sessions(Store& store, Millis ttl, bool legacy, Clock now_ms)
    : store_(store),
      ttl_(std::max(std::chrono::ceil<Seconds>(ttl), Seconds{1})),
      legacy_(legacy),
      now_ms_(std::move(now_ms)) {
  auto watch = store_.watch(keys::auth_token_prefix, [this](std::string_view key) {
    const auto member = keys::member(key);
    if (member) return forget(id_of_record(member->name));
    forget_all();
  });
  if (watch) {
    watch_ = *std::move(watch);
  } else {
    base::log::warning("auth.watch", {{"of", std::string(keys::auth_token_prefix)},
                                      {"why", watch.error().message()}});
  }
}

Result<std::string> Sessions::begin(std::string_view user, const Deadline& by) {
  PX_TRY(const std::string random, random_hex(16));
  std::string token = with_dashes(random);
  const std::int64_t now = now_ms_();
  Record record = store::record_of(store::AuthToken{
      .token = digest(token),
      .written = {.created_by = std::string(user), .created_on = now, .updated_on = now}});
  record.emplace(ends_field, std::to_string(now + Millis{ttl_}.count()));
  PX_CHECK(store_.create(keys::auth_token(digest(token)), record, ttl_, by));
  return token;
}

Result<Session> Sessions::resolve(std::string_view token, const Deadline& by) {
  if (!is_token(token)) return no_such_session();
  std::string id = digest(token);
  std::uint64_t changes = 0;
  {
    const std::lock_guard lock(mutex_);
    changes = changes_;
    const auto found = known_.find(id);
    if (found != known_.end() && Deadline::Clock::now() - found->second.read_at < fresh) {
      const Session& session = found->second.session;
      if (session.ends_ms != 0 && session.ends_ms <= now_ms_()) return no_such_session();
      return session;
    }
  }
  std::string name = id;
  auto record = store_.get(keys::auth_token(name), by);
  if (!record && record.error().code == Errc::not_found && legacy_) {
    name = token;
    record = store_.get(keys::auth_token(name), by);
  }
  if (!record) {
    if (record.error().code == Errc::not_found) return no_such_session();
    return std::move(record).error();
  }
  const auto row = store::from<store::AuthToken>(keys::auth_token(name), *record);
  if (!row || !row->is_valid || row->written.created_by.empty()) return no_such_session();
  const auto ends = fields::time_stamp(*record, ends_field);
  Session session{
      .id = std::move(id), .user = row->written.created_by, .ends_ms = ends.value_or(0)};
  if (session.ends_ms != 0 && session.ends_ms <= now_ms_()) return no_such_session();
  const std::lock_guard lock(mutex_);
  if (changes == changes_) {
    if (known_.size() >= max_known) known_.clear();
    known_.insert_or_assign(session.id, Known{session, Deadline::Clock::now()});
  }
  return session;
}

Result<bool> Sessions::end(std::string_view token, const Deadline& by) {
  if (!is_token(token)) return false;
  const std::string id = digest(token);
  auto erased = store_.erase(keys::auth_token(id), by);
  if (erased && !*erased && legacy_) erased = store_.erase(keys::auth_token(token), by);
  forget(id);
  return erased;
}

Result<std::size_t> Sessions::end_all(std::string_view user, std::string_view keep,
                                      const Deadline& by) {
  std::vector<std::string> theirs;
  PX_CHECK(store_.scan(
      keys::auth_token_prefix,
      [&](std::string_view key, Record&& record) {
        if (fields::user(record, "created_by") != user) return;
        const auto member = keys::member(key);
        if (member && id_of_record(member->name) != keep) theirs.emplace_back(key);
      },
      by));
  std::size_t ended = 0;
  for (const std::string& key : theirs) {
    PX_TRY(const bool erased, store_.erase(key, by));
    if (erased) ++ended;
    forget(id_of_record(keys::member(key)->name));
  }
  return ended;
}

void Sessions::forget(std::string_view id) {
  const std::lock_guard lock(mutex_);
  known_.erase(std::string(id));
  ++changes_;
}

void Sessions::forget_all() {
  const std::lock_guard lock(mutex_);
  known_.clear();
  ++changes_;
}

}  // namespace proxycore::auth
