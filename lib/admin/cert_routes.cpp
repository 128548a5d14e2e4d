#include "admin/cert_routes.h"

#include "admin/replies.h"
#include "base/text.h"
#include "host/keys.h"
#include "store/repo.h"
#include <proxycore/host.h>
#include <proxycore/renew.h>

#include <algorithm>
#include <utility>

namespace proxycore::admin {

namespace {

namespace json = base::json;

constexpr std::string_view model = "Certificate";
constexpr std::size_t max_page = 1'000;

// The name as it stands in keys; what is no name is nobody's.
Result<std::string> name_in(const Call& call) {
  auto name = HostName::canonical_pattern(call.path[0]);
  if (!name) return does_not_exist(model, call.path[0]);
  return name;
}

// "*.example.com" of "app.example.com"; empty: a wildcard above it would be none.
std::string wildcard_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos || name.starts_with('*')) return {};
  return std::string("*").append(name.substr(dot));
}

bool is_wanted(const CertificateStory& story, const Call& call) {
  const std::string_view state = call.query.text("state");
  if (!state.empty() && state != name_of(story.state)) return false;
  if (story.name.find(call.query.text("q")) == std::string::npos) return false;
  return auth::role_for(call.caller, story.name) >= auth::Role::viewer;
}

void write_pem(json::Writer& out, std::string_view field, const std::string& pem) {
  if (!pem.empty()) out.field(field, pem);
}

}  // namespace

Result<Reply> list_certificates(Context& admin, const Call& call) {
  std::size_t limit = 0;
  if (const std::string* text = call.query.find("limit")) {
    const auto given = base::parse_decimal(*text, max_page);
    if (!given || *given == 0) {
      return refuse(wrong_fields({{"limit", "expected a number from 1 to 1000"}}));
    }
    limit = *given;
  }
  PX_TRY(std::vector<CertificateStory> stories, admin.renewer.stories(call.by));
  std::erase_if(stories, [&](const auto& story) { return !is_wanted(story, call); });
  const std::size_t total = stories.size();
  auto first = stories.begin();
  if (limit > 0) {
    first = std::find_if(stories.begin(), stories.end(),
                         [&](const auto& story) { return story.name > call.query.text("cursor"); });
  }
  const auto left = static_cast<std::size_t>(stories.end() - first);
  const bool more = limit > 0 && left > limit;
  const auto last = more ? first + static_cast<std::ptrdiff_t>(limit) : stories.end();

  std::string body;
  json::Writer out(body);
  out.begin_object().key("results").begin_array();
  for (auto story = first; story != last; ++story) out.raw(json_of(*story));
  out.end_array();
  if (limit > 0) out.field("total", total);
  if (more) out.field("next", std::prev(last)->name);
  out.end_object();
  return ok(std::move(body));
}

Result<Reply> show_certificate(Context& admin, const Call& call) {
  PX_TRY(const std::string name, name_in(call));
  PX_CHECK(call.allow(auth::Role::viewer, name));
  const auto kept = store::load<store::Certificate>(admin.store, name, call.by);
  if (!kept) {
    if (kept.error().code == Errc::not_found) return does_not_exist(model, name);
    // A broken record is our fault, not the caller's.
    if (kept.error().code == Errc::invalid) return Error{Errc::protocol, kept.error().detail};
    return kept.error();
  }
  std::string body;
  json::Writer out(body);
  out.begin_object();
  write_pem(out, "fullchain_pem", kept->fullchain_pem);
  write_pem(out, "cert_pem", kept->cert_pem);
  write_pem(out, "csr_pem", kept->csr_pem);
  if (kept->expiry) out.field("expiry", *kept->expiry);
  if (kept->real_expiry) out.field("real_expiry", *kept->real_expiry);
  if (auth::role_everywhere(call.caller) == auth::Role::admin) {
    out.field("privkey_pem", kept->privkey_pem);
  } else {
    out.key("privkey_pem").begin_object().field("set", !kept->privkey_pem.empty()).end_object();
  }
  out.end_object();
  return ok(std::move(body));
}

Result<Reply> show_certificate_story(Context& admin, const Call& call) {
  PX_TRY(const std::string name, name_in(call));
  PX_CHECK(call.allow(auth::Role::viewer, name));
  auto story = admin.renewer.story(name, call.by);
  const std::string wildcard = wildcard_of(name);
  if (!story && story.error().code == Errc::not_found && !wildcard.empty()) {
    story = admin.renewer.story(wildcard, call.by);
  }
  if (!story) {
    if (story.error().code == Errc::not_found) return does_not_exist(model, name);
    return story.error();
  }
  std::string body;
  json::Writer out(body);
  out.begin_object().key("results").raw(json_of(*story)).end_object();
  return ok(std::move(body));
}

}  // namespace proxycore::admin
