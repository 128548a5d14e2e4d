#include "admin/token_routes.h"

#include "admin/changes.h"
#include "admin/replies.h"
#include "auth/accounts.h"
#include "base/json.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace proxycore::admin {

namespace {

namespace fields = host::fields;
namespace json = base::json;
namespace keys = host::keys;

constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int64_t max_days = 36'500;

// The fields of an object that is begun.
void write_token(json::Writer& out, const auth::ApiToken& token) {
  out.field("id", token.id).field("name", token.name).field("description", token.description);
  out.field("created_by", token.owner).field("role", name_of(token.at_most));
  out.field("created_on", std::to_string(token.created_on));
  out.field("expires_at", token.expires_at).field("last_used_on", token.last_used_on);
  out.field("is_valid", token.is_valid);
}

// {"results":{record},...}: the caller ends the object.
json::Writer& begin_told(json::Writer& out, const auth::ApiToken& token) {
  out.begin_object().key("results").begin_object();
  write_token(out, token);
  return out.end_object();
}

Result<void> check_how(const Call& call) {
  if (call.caller.how != auth::How::token) return {};
  return Error{Errc::denied, "API tokens are made and changed by whoever has logged in."};
}

// The token of the path. Errors: denied (there is none, or it is another's: which, is not said).
Result<auth::ApiToken> own(Context& admin, const Call& call) {
  auto token = admin.accounts.api_tokens().load(call.path[0], call.by);
  const bool gone = !token && token.error().code == Errc::not_found;
  if (!token && !gone) return token;
  if (gone && call.caller.admin) return does_not_exist("ApiToken", call.path[0]);
  if (gone || (token->owner != call.caller.user && !call.caller.admin)) {
    return Error{Errc::denied, "You do not own this API token."};
  }
  return token;
}

// A text of the body, if it is there. Errors: invalid.
Result<void> take_text(const json::Value& body, std::string_view name, std::string& into) {
  const json::Value* value = body.find(name);
  if (value == nullptr) return {};
  const auto text = value->text();
  if (!text) return fields::field_error(name, fmt::format("{} is not string type.", name));
  into = *text;
  return {};
}

// A whole number, or the text of one as forms send it; nullopt: not there, or empty.
Result<std::optional<std::int64_t>> number_of(const json::Value& body, std::string_view name,
                                              std::int64_t max) {
  const json::Value* value = body.find(name);
  if (value == nullptr || value->kind() == json::Value::Kind::null) {
    return std::optional<std::int64_t>{};
  }
  if (const auto text = value->text()) {
    if (text->empty()) return std::optional<std::int64_t>{};
    const auto number = base::parse_decimal(*text, static_cast<std::uint64_t>(max));
    if (number) return std::optional<std::int64_t>{static_cast<std::int64_t>(*number)};
  } else if (const auto number = value->integer(0, max)) {
    return std::optional<std::int64_t>{*number};
  }
  return fields::field_error(name, fmt::format("expected a whole number from 0 to {}", max));
}

// What a body says about a token. Errors: invalid (names the field).
Result<void> take(Context& admin, const json::Value& body, auth::ApiToken& token) {
  PX_CHECK(take_text(body, "name", token.name));
  PX_CHECK(take_text(body, "description", token.description));
  std::string role(name_of(token.at_most));
  PX_CHECK(take_text(body, "role", role));
  token.at_most = auth::role_from(role).value_or(auth::Role::none);
  PX_TRY(const auto at, number_of(body, "expires_at", fields::max_time));
  if (at) token.expires_at = *at;
  PX_TRY(const auto days, number_of(body, "expires_in_days", max_days));
  if (days) token.expires_at = *days == 0 ? 0 : admin.now_ms() + *days * day_ms;
  return {};
}

Result<Record> record_of(Context& admin, const std::string& id, const Deadline& by) {
  return admin.store.get(keys::api_token(id), by);
}

}  // namespace

Result<Reply> list_api_tokens(Context& admin, const Call& call) {
  const std::string owner = call.caller.admin ? std::string{} : call.caller.user;
  PX_TRY(const auto tokens, admin.accounts.api_tokens().list(owner, call.by));
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().key("results").begin_array();
  for (const auth::ApiToken& token : tokens) {
    out.begin_object();
    write_token(out, token);
    out.end_object();
  }
  out.end_array().end_object();
  return reply;
}

Result<Reply> show_api_token(Context& admin, const Call& call) {
  PX_TRY(const auth::ApiToken token, own(admin, call));
  PX_TRY(const Record record, record_of(admin, token.id, call.by));
  Reply reply{.etag = tag_of(record)};
  json::Writer out(reply.body);
  begin_told(out, token).end_object();
  return reply;
}

Result<Reply> add_api_token(Context& admin, const Call& call) {
  PX_CHECK(check_how(call));
  PX_TRY(const json::Value* body, call.content());
  auth::ApiToken wanted{.name = {}, .owner = call.caller.user};
  PX_CHECK(take(admin, *body, wanted));
  PX_TRY(const auto made, admin.accounts.api_tokens().create(std::move(wanted), call.by));
  // The secret is told whatever comes: nobody else knows it.
  (void)admin.changes.record_now(call.caller, "token.create", keys::api_token(made.token.id), {},
                                 call.by);
  Reply reply;
  json::Writer out(reply.body);
  begin_told(out, made.token).field("token", made.secret);
  out.field("message", fmt::format("API token '{}' created. Save it now: it is not shown again.",
                                   made.token.name));
  out.end_object();
  return reply;
}

Result<Reply> rotate_api_token(Context& admin, const Call& call) {
  PX_CHECK(check_how(call));
  PX_TRY(const auth::ApiToken token, own(admin, call));
  PX_TRY(const Record before, record_of(admin, token.id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_TRY(const auto made, admin.accounts.api_tokens().rotate(token.id, call.by));
  (void)admin.changes.record_now(call.caller, "token.rotate", keys::api_token(token.id), before,
                                 call.by);
  Reply reply;
  json::Writer out(reply.body);
  begin_told(out, token).field("token", made.secret);
  out.field("message",
            fmt::format("API token '{}' rotated. Save it now: it is not shown again.", token.name));
  out.end_object();
  return reply;
}

Result<Reply> change_api_token(Context& admin, const Call& call) {
  PX_CHECK(check_how(call));
  PX_TRY(const json::Value* body, call.content());
  PX_TRY(auth::ApiToken token, own(admin, call));
  PX_TRY(const Record before, record_of(admin, token.id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_CHECK(take(admin, *body, token));
  PX_CHECK(admin.accounts.api_tokens().change(token, call.by));
  PX_TRY(const Record after, admin.changes.record_now(call.caller, "token.update",
                                                      keys::api_token(token.id), before, call.by));
  Reply reply{.etag = tag_of(after)};
  json::Writer out(reply.body);
  begin_told(out, token).field("message", fmt::format("API token '{}' updated.", token.name));
  out.end_object();
  return reply;
}

Result<Reply> remove_api_token(Context& admin, const Call& call) {
  PX_CHECK(check_how(call));
  PX_TRY(const auth::ApiToken token, own(admin, call));
  PX_TRY(const Record before, record_of(admin, token.id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_CHECK(admin.accounts.api_tokens().remove(token.id, call.by));
  admin.changes.record(call.caller, "token.remove", keys::api_token(token.id), before, {}, call.by);
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("id", token.id);
  out.field("message", fmt::format("API token '{}' revoked.", token.name)).end_object();
  return reply;
}

}  // namespace proxycore::admin
