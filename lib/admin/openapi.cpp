#include "admin/openapi.h"

#include "admin/endpoints.h"
#include "admin/replies.h"
#include "admin/schemas.h"
#include "base/json.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

namespace proxycore::admin {

namespace {

namespace json = base::json;

constexpr std::string_view method_names[] = {"get", "post", "put", "delete", "options"};

// "/api/host/{host}" of "/api/host/:host", and the names in it.
struct Path {
  std::string text;
  std::vector<std::string> names;
};

Path path_of(std::string_view pattern) {
  Path path;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // '/'
    const std::string_view part = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(part.size());
    path.text.append("/");
    if (part.starts_with(':')) {
      path.names.emplace_back(part.substr(1));
      path.text.append("{").append(part.substr(1)).append("}");
    } else {
      path.text.append(part);
    }
  }
  return path;
}

std::string_view who_may(Need need) {
  switch (need) {
    case Need::nothing:
      return "Everybody.";
    case Need::any_login:
      return "Who has logged in, be it with a one-time password.";
    case Need::login:
      return "Who has logged in.";
    case Need::viewer_of_any:
      return "Viewers of any domain; what is told is what they may see.";
    case Need::viewer:
      return "Viewers of the host.";
    case Need::manager:
      return "Managers of the host.";
    case Need::admin:
      return "Administrators.";
  }
  return "";
}

void write_reference(json::Writer& out, std::string_view schema) {
  const std::string target = std::string("#/components/schemas/").append(schema);
  out.begin_object().field("$ref", target).end_object();
}

void write_content(json::Writer& out, std::string_view media, std::string_view schema) {
  out.key(media).begin_object();
  write_reference(out.key("schema"), schema);
  out.end_object();
}

void write_problem(json::Writer& out) {
  out.key("default").begin_object();
  out.field("description", "What went wrong; RFC 9457 where Accept asks for it.");
  out.key("content").begin_object();
  write_content(out, "application/json", "Problem");
  write_content(out, "application/problem+json", "Problem9457");
  out.end_object().end_object();
}

void write_parameters(json::Writer& out, const Path& path, std::string_view query) {
  out.key("parameters").begin_array();
  for (const std::string& name : path.names) {
    out.begin_object().field("name", name).field("in", "path").field("required", true);
    out.key("schema").raw(R"({"type":"string"})").end_object();
  }
  while (!query.empty()) {
    const std::string_view name = query.substr(0, query.find(' '));
    query.remove_prefix(std::min(name.size() + 1, query.size()));
    const auto* known = std::find_if(std::begin(parameters), std::end(parameters),
                                     [name](const Parameter& each) { return each.name == name; });
    if (known == std::end(parameters)) continue;
    out.begin_object().field("name", name).field("in", "query");
    out.field("description", known->description).key("schema").raw(known->schema).end_object();
  }
  out.end_array();
}

void write_operation(json::Writer& out, const Endpoint& endpoint, const Path& path) {
  out.key(method_names[static_cast<std::size_t>(endpoint.method)]).begin_object();
  out.field("summary", endpoint.summary).field("description", who_may(endpoint.need));
  write_parameters(out, path, endpoint.query);
  if (endpoint.need == Need::nothing) out.key("security").begin_array().end_array();
  if (!endpoint.body.empty()) {
    out.key("requestBody").begin_object().key("content").begin_object();
    write_content(out, "application/json", endpoint.body);
    out.end_object().end_object();
  }
  out.key("responses").begin_object().key("200").begin_object();
  out.field("description", "Done.").key("content").begin_object();
  const bool streams = endpoint.run == listen_to_events;
  write_content(out, streams ? "text/event-stream" : "application/json", endpoint.reply);
  out.end_object().end_object();
  write_problem(out);
  out.end_object().end_object();
}

}  // namespace

std::string openapi_document(std::span<const Endpoint> table) {
  std::string text;
  json::Writer out(text);
  out.begin_object().field("openapi", "3.1.0").key("info").begin_object();
  out.field("title", "proxycore").field("version", PROXYCORE_VERSION);
  out.field("description",
            "Hosts, certificates, DNS providers and users of a reverse proxy. Errors are "
            "{name, message}, or RFC 9457 with Accept: application/problem+json.");
  out.end_object();
  out.key("security").begin_array();
  for (const std::string_view scheme : {"token", "bearer", "cookie"}) {
    out.begin_object().key(scheme).begin_array().end_array().end_object();
  }
  out.end_array();

  out.key("paths").begin_object();
  std::set<std::string_view> written;
  for (const Endpoint& first : table) {
    if (!written.insert(first.path).second) continue;
    const Path path = path_of(first.path);
    out.key(path.text).begin_object();
    for (const Endpoint& endpoint : table) {
      if (endpoint.path == first.path) write_operation(out, endpoint, path);
    }
    out.end_object();
  }
  out.end_object();

  out.key("components").begin_object().key("securitySchemes").begin_object();
  out.key("token").raw(R"({"type":"apiKey","in":"header","name":"auth-token"})");
  out.key("bearer").raw(R"({"type":"http","scheme":"bearer"})");
  out.key("cookie").raw(
      R"({"type":"apiKey","in":"cookie","name":"__Host-session",)"
      R"("description":"`session` without TLS; unsafe methods need X-CSRF-Token as well."})");
  out.end_object().key("schemas").begin_object();
  for (const Schema& schema : schemas) out.key(schema.name).raw(schema.json);
  out.end_object().end_object().end_object();
  return text;
}

Result<Reply> show_openapi(Context& /*admin*/, const Call& /*call*/) {
  static const std::string document = openapi_document(endpoints);
  return ok(document);
}

}  // namespace proxycore::admin
