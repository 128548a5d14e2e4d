#include "admin/audit_routes.h"

#include "admin/changes.h"
#include "admin/replies.h"
#include "base/json.h"
#include "base/text.h"
#include "host/record_fields.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace proxycore::admin {

namespace {

namespace json = base::json;

constexpr std::size_t usual_page = 100;
constexpr std::size_t max_page = 1000;

Result<std::size_t> limit_of(const Call& call) {
  const std::string* text = call.query.find("limit");
  if (text == nullptr) return usual_page;
  const auto limit = base::parse_decimal(*text, max_page);
  if (!limit || *limit == 0) {
    return host::fields::field_error("limit", "expected a number from 1 to 1000");
  }
  return static_cast<std::size_t>(*limit);
}

}  // namespace

Result<Reply> list_audit(Context& admin, const Call& call) {
  PX_TRY(const std::size_t limit, limit_of(call));
  PX_TRY(auto entries, admin.changes.list(call.query.text("cursor"), limit + 1, call.by));
  const bool more = entries.size() > limit;
  if (more) entries.pop_back();
  Reply reply;
  json::Writer out(reply.body);
  out.begin_object().key("results").begin_array();
  for (const AuditEntry& entry : entries) {
    out.begin_object().field("id", entry.id).field("at", entry.at_ms).field("who", entry.who);
    out.field("how", entry.how).field("what", entry.what).field("key", entry.key);
    // Somebody else may have written to the store what is no JSON.
    const bool is_json = json::parse(entry.changes).has_value();
    out.key("changes").raw(is_json ? std::string_view(entry.changes) : "{}").end_object();
  }
  out.end_array().key("next");
  if (more) {
    out.value(entries.back().id);
  } else {
    out.null();
  }
  out.end_object();
  return reply;
}

}  // namespace proxycore::admin
