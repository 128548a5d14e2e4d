#include "auth/api_tokens.h"

#include "auth/password.h"
#include "auth/secret.h"
#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <array>
#include <optional>
#include <utility>

namespace proxycore::auth {

namespace {
namespace fields = host::fields;
namespace keys = host::keys;

constexpr std::string_view text_prefix = "prx_";
constexpr std::string_view hash_prefix = "sha256:";
constexpr std::size_t id_bytes = 12;
constexpr std::size_t secret_bytes = 24;
constexpr std::size_t max_name = 255;          // bytes
constexpr std::size_t max_description = 1000;  // bytes

struct Parts {
  std::string_view id;
  std::string_view secret;
};

bool is_lower_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
bool is_id(std::string_view text) {
  return text.size() == 2 * id_bytes && is_lower_hex(text);
}

// nullopt: it has not the form of an API token.
std::optional<Parts> parts_of(std::string_view text) {
  constexpr std::size_t size = text_prefix.size() + 2 * id_bytes + 1 + 2 * secret_bytes;
  if (text.size() != size || !text.starts_with(text_prefix)) return std::nullopt;
  text.remove_prefix(text_prefix.size());
  const Parts parts{text.substr(0, 2 * id_bytes), text.substr(2 * id_bytes + 1)};
  if (text[2 * id_bytes] != '_' || !is_id(parts.id) || !is_lower_hex(parts.secret)) {
    return std::nullopt;
  }
  return parts;
}

std::string hash_of(std::string_view secret) {
  return std::string(hash_prefix) + digest(secret);
}

Result<ApiToken> token_from(std::string_view id, const Record& record) {
  constexpr std::array<std::string_view, 3> required = {"created_by", "name", "secret_hash"};
  PX_CHECK(fields::require(record, required));
  ApiToken token{.id = std::string(id),
                 .name = fields::text(record, "name"),
                 .description = fields::text(record, "description"),
                 .owner = fields::user(record, "created_by"),
                 .created_on = fields::time_stamp(record, "created_on").value_or(0),
                 .last_used_on = fields::time_stamp(record, "last_used_on").value_or(0),
                 .is_valid = fields::boolean(record, "is_valid", true)};
  PX_TRY(const auto expires, fields::whole(record, "expires_at", 0, fields::max_time));
  token.expires_at = expires.value_or(0);
  // Rows of older software are not limited to a role.
  if (const std::string* role = fields::find(record, "role")) {
    token.at_most = role_from(*role).value_or(Role::none);
  }
  return token;
}

// What is written of a token besides its secret and who made it when.
void describe(Record& record, const ApiToken& token, std::int64_t now) {
  record.insert_or_assign("name", token.name);
  record.insert_or_assign("description", token.description);
  record.insert_or_assign("role", std::string(name_of(token.at_most)));
  record.insert_or_assign("expires_at", std::to_string(token.expires_at));
  record.insert_or_assign("updated_on", std::to_string(now));
}

Result<void> check(const ApiToken& token, std::int64_t now) {
  if (token.name.empty()) return fields::field_error("name", "is required");
  if (token.name.size() > max_name) {
    return fields::field_error("name", "expected at most 255 bytes");
  }
  if (token.description.size() > max_description) {
    return fields::field_error("description", "expected at most 1000 bytes");
  }
  if (token.at_most == Role::none) {
    return fields::field_error("role", "expected 'viewer', 'manager' or 'admin'");
  }
  if (token.expires_at < 0 || token.expires_at > fields::max_time) {
    return fields::field_error("expires_at", "expected milliseconds since 1970");
  }
  if (token.expires_at != 0 && token.expires_at <= now) {
    return fields::field_error("expires_at", "expected a time to come");
  }
  return {};
}

Error no_such_token() {
  return {Errc::denied, "no such API token"};
}
}  // namespace

ApiTokens::ApiTokens(Store& store, Clock now_ms) : store_(store), now_ms_(std::move(now_ms)) {
  auto watch = store_.watch(keys::api_token_prefix, [this](std::string_view) { forget(); });
  if (watch) {
    watch_ = *std::move(watch);
  } else {
    base::log::warning("auth.watch", {{"of", std::string(keys::api_token_prefix)},
                                      {"why", watch.error().message()}});
  }
}

Result<ApiTokens::Made> ApiTokens::create(ApiToken wanted, const Deadline& by) {
  const std::int64_t now = now_ms_();
  PX_CHECK(check(wanted, now));
  PX_TRY(const auto theirs, list(wanted.owner, by));
  if (theirs.size() >= max_of_owner) {
    return Error{Errc::limit, "expected at most 100 API tokens of one user"};
  }
  PX_TRY(wanted.id, random_hex(id_bytes));
  PX_TRY(const std::string secret, random_hex(secret_bytes));
  wanted.created_on = now;
  wanted.last_used_on = 0;
  wanted.is_valid = true;
  Record record{{"id", wanted.id},
                {"secret_hash", hash_of(secret)},
                {"created_by", wanted.owner},
                {"created_on", std::to_string(now)},
                {"groups", "[]"},
                {"last_used_on", "0"},
                {"is_valid", fields::spelled(true)}};
  describe(record, wanted, now);
  PX_CHECK(store_.create(keys::api_token(wanted.id), record, std::nullopt, by));
  std::string text = std::string(text_prefix).append(wanted.id).append("_").append(secret);
  return Made{std::move(wanted), std::move(text)};
}

Result<ApiTokens::Made> ApiTokens::rotate(std::string_view id, const Deadline& by) {
  PX_TRY(ApiToken token, load(id, by));
  PX_TRY(const std::string secret, random_hex(secret_bytes));
  const std::int64_t now = now_ms_();
  PX_CHECK(store_.update(
      keys::api_token(id),
      [&](const Record& before) -> Result<Record> {
        if (before.empty()) return Error{Errc::not_found, "no such API token"};
        Record after = before;
        after.insert_or_assign("secret_hash", hash_of(secret));
        after.insert_or_assign("updated_on", std::to_string(now));
        return after;
      },
      Life::as_before, by));
  forget();
  std::string text = std::string(text_prefix).append(id).append("_").append(secret);
  return Made{std::move(token), std::move(text)};
}

Result<void> ApiTokens::change(const ApiToken& token, const Deadline& by) {
  const std::int64_t now = now_ms_();
  PX_CHECK(check(token, now));
  PX_CHECK(store_.update(
      keys::api_token(token.id),
      [&](const Record& before) -> Result<Record> {
        if (before.empty()) return Error{Errc::not_found, "no such API token"};
        Record after = before;
        describe(after, token, now);
        return after;
      },
      Life::as_before, by));
  forget();
  return {};
}

Result<ApiToken> ApiTokens::load(std::string_view id, const Deadline& by) {
  if (!is_id(id)) return Error{Errc::not_found, "no such API token"};
  PX_TRY(const Record record, store_.get(keys::api_token(id), by));
  return token_from(id, record);
}

Result<std::vector<ApiToken>> ApiTokens::list(std::string_view owner, const Deadline& by) {
  std::vector<ApiToken> tokens;
  PX_CHECK(store_.scan(
      keys::api_token_prefix,
      [&](std::string_view key, Record&& record) {
        auto token = token_from(key.substr(keys::api_token_prefix.size()), record);
        if (!token) {
          return base::log::warning("auth.api_token",
                                    {{"key", std::string(key)}, {"why", token.error().message()}});
        }
        if (owner.empty() || token->owner == owner) tokens.push_back(*std::move(token));
      },
      by));
  return tokens;
}

Result<bool> ApiTokens::remove(std::string_view id, const Deadline& by) {
  if (!is_id(id)) return false;
  auto erased = store_.erase(keys::api_token(id), by);
  forget();
  return erased;
}

Result<std::size_t> ApiTokens::remove_all(std::string_view owner, const Deadline& by) {
  PX_TRY(const auto theirs, list(owner, by));
  for (const ApiToken& token : theirs) PX_CHECK(remove(token.id, by));
  return theirs.size();
}

Result<ApiToken> ApiTokens::resolve(std::string_view text, const Deadline& by) {
  const auto parts = parts_of(text);
  if (!parts) return no_such_token();
  const std::string id{parts->id};
  const std::string secret = digest(parts->secret);
  const std::int64_t now = now_ms_();
  const auto is_over = [now](const ApiToken& token) {
    return !token.is_valid || (token.expires_at != 0 && token.expires_at <= now);
  };
  std::uint64_t changes = 0;
  {
    const std::lock_guard lock(mutex_);
    changes = changes_;
    const auto found = known_.find(id);
    if (found != known_.end() && Deadline::Clock::now() - found->second.read_at < fresh) {
      const Known& known = found->second;
      if (!equal(known.secret, secret) || is_over(known.token)) return no_such_token();
      return known.token;
    }
  }
  const auto record = store_.get(keys::api_token(id), by);
  if (!record) {
    if (record.error().code == Errc::not_found) return no_such_token();
    return record.error();
  }
  auto token = token_from(id, *record);
  if (!token || is_over(*token) ||
      !matches(id, parts->secret, fields::text(*record, "secret_hash"))) {
    return no_such_token();
  }
  // Before it is remembered: what is noted changes the record.
  if (now - token->last_used_on >= use_noted_every.count()) note_use(*token, now, by);
  const std::lock_guard lock(mutex_);
  if (changes == changes_) {
    if (known_.size() >= max_known) known_.clear();
    known_.insert_or_assign(id, Known{*token, secret, Deadline::Clock::now()});
  }
  return token;
}

Result<bool> ApiTokens::takes_long(std::string_view text, const Deadline& by) {
  const auto parts = parts_of(text);
  if (!parts) return false;
  const std::string id{parts->id};
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(id);
    if (found != known_.end() && Deadline::Clock::now() - found->second.read_at < fresh) {
      return false;
    }
  }
  const auto record = store_.get(keys::api_token(id), by);
  if (!record) return false;  // as resolve() will say
  return !matches_at_once(id, parts->secret, fields::text(*record, "secret_hash"));
}

std::optional<bool> ApiTokens::matches_at_once(const std::string& id, std::string_view secret,
                                               std::string_view hash) {
  if (hash.starts_with(hash_prefix)) return equal(hash_of(secret), hash);
  const std::lock_guard lock(mutex_);
  const auto found = verified_.find(id);
  if (found == verified_.end() || found->second.hash != hash) return std::nullopt;
  return equal(found->second.secret, digest(secret));
}

bool ApiTokens::matches(const std::string& id, std::string_view secret, const std::string& hash) {
  if (const auto known = matches_at_once(id, secret, hash)) return *known;
  if (!verify_password(secret, hash, min_cost)) return false;
  const std::lock_guard lock(mutex_);
  if (verified_.size() >= max_known) verified_.clear();
  verified_.insert_or_assign(id, Verified{hash, digest(secret)});
  return true;
}

void ApiTokens::note_use(const ApiToken& token, std::int64_t now, const Deadline& by) {
  const auto noted = store_.update(
      keys::api_token(token.id),
      [now](const Record& before) -> Result<Record> {
        if (before.empty()) return Error{Errc::not_found, "it has just gone"};
        Record after = before;
        after.insert_or_assign("last_used_on", std::to_string(now));
        return after;
      },
      Life::as_before, by);
  // Whoever shows it is let in all the same.
  if (!noted) {
    base::log::warning("auth.api_token", {{"id", token.id}, {"why", noted.error().message()}});
  }
}

void ApiTokens::forget() {
  const std::lock_guard lock(mutex_);
  known_.clear();
  ++changes_;
}

}  // namespace proxycore::auth
