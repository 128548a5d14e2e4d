#include "admin/user_routes.h"

#include "admin/changes.h"
#include "admin/credentials.h"
#include "admin/replies.h"
#include "auth/accounts.h"
#include "auth/sessions.h"
#include "base/json.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include "store/repo.h"

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace proxycore::admin {

namespace {

namespace fields = host::fields;
namespace json = base::json;
namespace keys = host::keys;

constexpr std::string_view model = "User";

// A record as old clients know it, times as texts; the fields of an object that is begun.
void write_user(json::Writer& out, const store::User& user) {
  const store::Written& written = user.written;
  out.field("username", user.name).field("backing", user.backing);
  out.field("disabled", user.disabled);
  out.field("created_by", written.created_by).field("updated_by", written.updated_by);
  if (written.created_on) out.field("created_on", std::to_string(*written.created_on));
  if (written.updated_on) out.field("updated_on", std::to_string(*written.updated_on));
}

// {<name>:...,"results":{record}}, and its tag.
Result<Reply> told(Context& admin, std::string_view name, std::string_view text,
                   const std::string& user, const Deadline& by) {
  PX_TRY(const Record record, admin.store.get(keys::user(user), by));
  PX_TRY(const auto row, store::from<store::User>(keys::user(user), record));
  Reply reply{.etag = tag_of(record)};
  json::Writer out(reply.body);
  out.begin_object().field(name, text).key("results").begin_object();
  write_user(out, row);
  out.end_object().end_object();
  return reply;
}

// Errors: not_found, as old clients know it.
Result<Record> record_of(Context& admin, const std::string& user, const Deadline& by) {
  auto record = admin.store.get(keys::user(user), by);
  if (record) return record;
  if (record.error().code == Errc::not_found || record.error().code == Errc::limit) {
    return does_not_exist(model, user);
  }
  return record;
}

// A text of the body; "": it is not there, or no text.
std::string_view text_of(const json::Value* body, std::string_view name) {
  const json::Value* value = body != nullptr ? body->find(name) : nullptr;
  return value != nullptr ? value->text().value_or(std::string_view{}) : std::string_view{};
}

Result<std::string_view> password_of(const Call& call) {
  PX_TRY(const json::Value* body, call.content());
  if (body->find("password") == nullptr) {
    return fields::field_error("password", "password is required.");
  }
  const auto password = body->text("password");
  if (!password) return fields::field_error("password", "password is not string type.");
  return *password;
}

void note_session(Context& admin, const auth::Caller& who, std::string_view what,
                  const Deadline& by) {
  admin.changes.record(who, what, keys::auth_token_prefix, {}, {}, by);
}

// Sets it, puts that on record, and tells.
Result<Reply> set_password(Context& admin, const Call& call, const std::string& user,
                           std::string_view keep) {
  PX_TRY(const std::string_view password, password_of(call));
  PX_TRY(const Record before, record_of(admin, user, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_CHECK(admin.accounts.set_password(user, password, call.caller.user, keep, call.by));
  (void)admin.changes.record_now(call.caller, "user.password", keys::user(user), before, call.by);
  return told(admin, "message", "Password of " + user + " set.", user, call.by);
}

}  // namespace

Result<Reply> log_in(Context& admin, const Call& call) {
  const std::string_view name = text_of(call.body, "username");
  auto token = admin.accounts.log_in(name, text_of(call.body, "password"),
                                     call.request.client_address, call.by);
  if (!token) {
    if (token.error().code == Errc::denied) return refuse(login_failed());
    return std::move(token).error();
  }
  const json::Value* cookie = call.body != nullptr ? call.body->find("cookie") : nullptr;
  const bool as_cookie = cookie != nullptr && cookie->boolean().value_or(false);
  const auth::Caller who{.user = std::string(name),
                         .how = as_cookie ? auth::How::cookie : auth::How::session};
  note_session(admin, who, "auth.login", call.by);
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("login", true);
  if (as_cookie) {
    const auto lives = std::chrono::ceil<Seconds>(admin.config.admin.token_ttl);
    reply.fields.emplace_back("Set-Cookie", session_cookie(call.request, *token, lives));
    out.field("csrf", auth::csrf_of(*token));
  } else {
    out.field("token", *token);
  }
  out.field("message", who.user + " logged in!").end_object();
  return reply;
}

Result<Reply> log_out(Context& admin, const Call& call) {
  Reply reply = ok(R"({"message":"Bye"})");
  // Nobody's, or an API token, which has a life of its own.
  if (call.caller.how != auth::How::session && call.caller.how != auth::How::cookie) return reply;
  // A link or an image of another page of this machine would be enough.
  if (call.caller.how == auth::How::cookie && call.request.method != "POST") {
    return Error{Errc::denied, "With a cookie, logging out is a POST."};
  }
  PX_CHECK(admin.accounts.log_out(call.credential, call.by));
  note_session(admin, call.caller, "auth.logout", call.by);
  if (call.caller.how == auth::How::cookie) {
    reply.fields.emplace_back("Set-Cookie", no_session_cookie(call.request));
  }
  return reply;
}

Result<Reply> show_session(Context& admin, const Call& call) {
  const auth::Caller& caller = call.caller;
  PX_TRY(const store::User user, admin.accounts.user(caller.user, call.by));
  PX_TRY(const bool open, admin.accounts.is_open(call.by));
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("username", caller.user).field("admin", caller.admin);
  out.field("open", open).field("password_expired", user.password_expired);
  if (caller.how == auth::How::cookie) out.field("csrf", auth::csrf_of(call.credential));
  out.key("grants").begin_array();
  for (const auth::Grant& grant : caller.grants) {
    out.begin_object().field("role", name_of(grant.role));
    out.field("domain", grant.domain).end_object();
  }
  out.end_array().field("at_most", name_of(caller.at_most));
  out.field("ends", caller.ends_ms).end_object();
  return reply;
}

Result<Reply> list_users(Context& admin, const Call& call) {
  PX_TRY(const auto users, admin.accounts.users(call.by));
  const bool detail = !call.query.text("detail").empty();
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().key("results").begin_array();
  for (const store::User& user : users) {
    if (!detail) {
      out.value(user.name);
      continue;
    }
    out.begin_object();
    write_user(out, user);
    out.end_object();
  }
  out.end_array().end_object();
  return reply;
}

Result<Reply> show_me(Context& admin, const Call& call) {
  const auth::Caller& caller = call.caller;
  PX_TRY(const store::User user, admin.accounts.user(caller.user, call.by));
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("username", user.name).field("backing", user.backing);
  for (const std::string_view none : {"groups", "localGroups", "externalGroups"}) {
    out.key(none).begin_array().end_array();
  }
  out.field("isAdmin", caller.admin).key("global");
  const auth::Role everywhere = role_everywhere(caller);
  if (everywhere == auth::Role::none) {
    out.null();
  } else {
    out.value(name_of(everywhere));
  }
  out.key("domains").begin_object();
  for (const auth::Grant& grant : caller.grants) {
    if (!grant.domain.empty()) out.field(grant.domain, name_of(grant.role));
  }
  out.end_object().end_object();
  return reply;
}

Result<Reply> show_user(Context& admin, const Call& call) {
  PX_CHECK(record_of(admin, call.path[0], call.by));
  return told(admin, "item", call.path[0], call.path[0], call.by);
}

Result<Reply> add_user(Context& admin, const Call& call) {
  PX_TRY(const json::Value* body, call.content());
  const auto name = body->text("username");
  if (!name) return fields::field_error("username", "username is required.");
  PX_TRY(const std::string_view password, password_of(call));
  PX_TRY(const store::User user,
         admin.accounts.create_user(*name, password, call.caller.user, call.by));
  PX_TRY(const Record after,
         admin.changes.record_now(call.caller, "user.create", keys::user(user.name), {}, call.by));
  Reply reply{.etag = tag_of(after)};
  json::Writer out(reply.body);
  out.begin_object().field("message", "\"" + user.name + "\" added.");
  write_user(out, user);
  out.end_object();
  return reply;
}

Result<Reply> change_user(Context& admin, const Call& call) {
  const std::string& user = call.path[0];
  PX_TRY(const json::Value* body, call.content());
  PX_TRY(const bool disabled, body->boolean("disabled"));
  PX_TRY(const Record before, record_of(admin, user, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_CHECK(admin.accounts.set_disabled(user, disabled, call.caller.user, call.by));
  (void)admin.changes.record_now(call.caller, "user.update", keys::user(user), before, call.by);
  return told(admin, "message", "\"" + user + "\" updated.", user, call.by);
}

Result<Reply> remove_user(Context& admin, const Call& call) {
  const std::string& user = call.path[0];
  PX_TRY(const Record before, record_of(admin, user, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_TRY(const store::User row, store::from<store::User>(keys::user(user), before));
  PX_CHECK(admin.accounts.remove_user(user, call.by));
  admin.changes.record(call.caller, "user.remove", keys::user(user), before, {}, call.by);
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("username", user).key("results").begin_object();
  write_user(out, row);
  out.end_object().end_object();
  return reply;
}

Result<Reply> set_own_password(Context& admin, const Call& call) {
  if (call.caller.how == auth::How::token) {
    return Error{Errc::denied, "A password is set by whoever has logged in, not by an API token."};
  }
  return set_password(admin, call, call.caller.user, call.caller.id);
}

Result<Reply> set_password_of(Context& admin, const Call& call) {
  // One's own session goes on.
  const bool own = call.path[0] == call.caller.user;
  if (own) return set_own_password(admin, call);
  return set_password(admin, call, call.path[0], {});
}

}  // namespace proxycore::admin
