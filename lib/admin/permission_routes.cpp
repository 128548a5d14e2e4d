#include "admin/permission_routes.h"

#include "admin/changes.h"
#include "admin/replies.h"
#include "auth/accounts.h"
#include "base/json.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace proxycore::admin {

namespace {

namespace fields = host::fields;
namespace json = base::json;
namespace keys = host::keys;

constexpr std::string_view model = "Permission";

// The fields of an object that is begun.
void write_permission(json::Writer& out, const Record& record) {
  for (const auto& [name, value] : record) out.field(name, value);
}

// A text of the body; `otherwise` if there is none. Errors: invalid.
Result<std::string> text_of(const json::Value& body, std::string_view name,
                            std::string_view otherwise) {
  const json::Value* value = body.find(name);
  if (value == nullptr) return std::string(otherwise);
  const auto text = value->text();
  if (!text) return fields::field_error(name, fmt::format("{} is not string type.", name));
  return std::string(*text);
}

// What a body says, in place of `before`. Errors: invalid (names the field).
Result<auth::Permission> wanted_from(Context& admin, const Call& call, const Record& before) {
  PX_TRY(const json::Value* body, call.content());
  Record wanted;
  for (const std::string_view name : {"subjectType", "subject", "scope", "domain", "role"}) {
    const std::string* kept = fields::find(before, name);
    PX_TRY(std::string text, text_of(*body, name, kept != nullptr ? *kept : ""));
    wanted.emplace(name, std::move(text));
  }
  if (wanted["subjectType"].empty()) wanted["subjectType"] = "user";
  if (wanted["scope"].empty()) wanted["scope"] = "domain";
  PX_TRY(auth::Permission permission, auth::permission_from(wanted));
  if (permission.subject_type != "user") {
    return fields::field_error("subjectType", "expected 'user': groups have no members here");
  }
  const auto user = admin.accounts.user(permission.subject, call.by);
  if (!user && user.error().code == Errc::not_found) {
    return fields::field_error("subject", "there is no such user");
  }
  if (!user) return user.error();
  permission.created_by = call.caller.user;
  permission.created_on = admin.now_ms();
  return permission;
}

// Errors: not_found, as old clients know it.
Result<Record> record_of(Context& admin, std::string_view id, const Deadline& by) {
  auto record = admin.store.get(keys::permission(id), by);
  if (!record && (record.error().code == Errc::not_found || record.error().code == Errc::limit)) {
    return does_not_exist(model, id);
  }
  return record;
}

// {"message",<the record as it is kept>}
Result<Reply> told(Context& admin, std::string_view done, std::string_view id, const Deadline& by) {
  PX_TRY(const Record record, record_of(admin, id, by));
  PX_TRY(const auto permission, auth::permission_from(record));
  const std::string& domain = permission.grant.domain;
  const std::string where = domain.empty() ? " globally." : fmt::format(" on {}.", domain);
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("message",
                           fmt::format("{} {} to {} \"{}\"{}", done, name_of(permission.grant.role),
                                       permission.subject_type, permission.subject, where));
  write_permission(out, record);
  out.end_object();
  return reply;
}

}  // namespace

Result<Reply> list_permissions(Context& admin, const Call& call) {
  PX_TRY(const auto table, admin.accounts.permissions().all(call.by));
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().key("results").begin_array();
  for (const auth::Permission& permission : table->rows()) {
    out.begin_object();
    write_permission(out, auth::record_of(permission));
    out.end_object();
  }
  out.end_array().field("open", table->empty).end_object();
  return reply;
}

Result<Reply> list_subjects(Context& admin, const Call& call) {
  PX_TRY(const auto users, admin.accounts.users(call.by));
  PX_TRY(const auto table, admin.accounts.permissions().all(call.by));
  std::set<std::string> groups;
  for (const auth::Permission& permission : table->rows()) {
    if (permission.subject_type == "group") groups.insert(permission.subject);
  }
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().key("users").begin_array();
  for (const store::User& user : users) out.value(user.name);
  out.end_array().key("groups").begin_array();
  for (const std::string& group : groups) out.value(group);
  out.end_array().end_object();
  return reply;
}

Result<Reply> add_permission(Context& admin, const Call& call) {
  PX_TRY(const auth::Permission wanted, wanted_from(admin, call, {}));
  PX_TRY(const std::string id, admin.accounts.grant(wanted, call.by));
  (void)admin.changes.record_now(call.caller, "permission.create", keys::permission(id), {},
                                 call.by);
  return told(admin, "Granted", id, call.by);
}

Result<Reply> change_permission(Context& admin, const Call& call) {
  const std::string& before_id = call.path[0];
  PX_TRY(const Record before, record_of(admin, before_id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_TRY(const auth::Permission wanted, wanted_from(admin, call, before));
  PX_TRY(const std::string id, admin.accounts.change_grant(before_id, wanted, call.by));
  (void)admin.changes.record_now(call.caller, "permission.update", keys::permission(id), before,
                                 call.by);
  return told(admin, "Changed", id, call.by);
}

Result<Reply> remove_permission(Context& admin, const Call& call) {
  const std::string& id = call.path[0];
  PX_TRY(const Record before, record_of(admin, id, call.by));
  if (!call.matches(tag_of(before))) return refuse(changed_meanwhile());
  PX_CHECK(admin.accounts.revoke(id, call.by));
  admin.changes.record(call.caller, "permission.remove", keys::permission(id), before, {}, call.by);
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().field("message", fmt::format("Permission {} removed.", id)).end_object();
  return reply;
}

}  // namespace proxycore::admin
