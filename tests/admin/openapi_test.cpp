#include "admin/openapi.h"

#include "admin/endpoints.h"
#include "base/text.h"
#include "client/http_client.h"
#include "dns/cloudflare.h"
#include "host/keys.h"
#include "store/repo.h"
#include "support/admin_rig.h"
#include "support/json_schema.h"
#include "support/mock_vendors.h"

#include <map>
#include <set>
#include <span>

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

namespace json = base::json;
namespace keys = host::keys;
using test::AdminRig;
using test::JsonSchema;

constexpr std::string_view method_names[] = {"GET", "POST", "PUT", "DELETE", "OPTIONS"};

// Who asks wrongly: an administrator with a wrong request, somebody who may not, another site's
// page whose name has been let point to us.
enum class Wrong { admin, viewer, nobody, other_site };

// One operation, called rightly and wrongly, in an order in which each finds what it needs.
// "$token", "$dns": ids that were given before.
struct Step {
  std::string_view operation;
  std::string_view target;
  std::string_view body;
  Wrong who;
  int status;                          // of the wrong call
  std::string_view wrong_target = {};  // empty: the right one
  std::string_view wrong_body = {};    // empty: the right one
};

constexpr std::string_view host_body =
    R"({"host":"app.example.com","ip":"10.0.0.1","targetPort":80})";
constexpr std::string_view dns_body =
    R"({"name":"work","dnsProvider":"Mock","token":"cf-token-0123456789"})";

constexpr Step steps[] = {
    {"GET /health", "/health", "", Wrong::other_site, 421},
    {"GET /api/openapi.json", "/api/openapi.json", "", Wrong::other_site, 421},
    {"GET /api/events", "/api/events", "", Wrong::nobody, 401},

    {"POST /api/user", "/api/user", R"({"username":"carol","password":"Correct-Horse-9"})",
     Wrong::admin, 422, "", R"({"username":"dave","password":"short"})"},
    {"POST /api/auth/login", "/api/auth/login",
     R"({"username":"carol","password":"Correct-Horse-9"})", Wrong::nobody, 401, "",
     R"({"username":"carol","password":"wrong"})"},
    {"GET /api/auth/session", "/api/auth/session", "", Wrong::nobody, 401},
    {"GET /api/auth/logout", "/api/auth/logout", "", Wrong::other_site, 421},
    {"GET /api/user", "/api/user?detail=true", "", Wrong::viewer, 403},
    {"GET /api/user/me", "/api/user/me", "", Wrong::nobody, 401},
    {"GET /api/user/{user}", "/api/user/carol", "", Wrong::admin, 404, "/api/user/nobody"},
    {"PUT /api/user/{user}", "/api/user/carol", R"({"disabled":true})", Wrong::admin, 422, "",
     R"({"disabled":"yes"})"},
    {"PUT /api/user/password/{user}", "/api/user/password/carol",
     R"({"password":"Battery-Staple-9"})", Wrong::admin, 422, "", R"({"password":""})"},

    {"POST /api/permission", "/api/permission",
     R"({"subject":"carol","scope":"domain","domain":"example.com","role":"viewer"})", Wrong::admin,
     422, "", R"({"subject":"carol","scope":"domain","domain":"example.com","role":"king"})"},
    {"GET /api/permission", "/api/permission", "", Wrong::viewer, 403},
    {"GET /api/permission/subjects", "/api/permission/subjects", "", Wrong::viewer, 403},
    {"PUT /api/permission/{id}", "/api/permission/user:carol:domain:example.com",
     R"({"role":"manager"})", Wrong::admin, 404, "/api/permission/user:carol:domain:example.net"},
    {"DELETE /api/permission/{id}", "/api/permission/user:carol:domain:example.com", "",
     Wrong::admin, 404, "/api/permission/user:carol:domain:example.net"},

    {"POST /api/api-token", "/api/api-token", R"({"name":"deploy","role":"viewer"})", Wrong::admin,
     422, "", R"({"name":""})"},
    {"GET /api/api-token", "/api/api-token", "", Wrong::nobody, 401},
    {"GET /api/api-token/{id}", "/api/api-token/$token", "", Wrong::viewer, 403},
    {"PUT /api/api-token/{id}", "/api/api-token/$token", R"({"name":"deploy 2"})", Wrong::admin,
     422, "", R"({"name":5})"},
    {"POST /api/api-token/{id}/rotate", "/api/api-token/$token/rotate", "", Wrong::viewer, 403},
    {"DELETE /api/api-token/{id}", "/api/api-token/$token", "", Wrong::admin, 404,
     "/api/api-token/000000000000000000000000"},

    {"POST /api/dns", "/api/dns", dns_body, Wrong::admin, 422, "",
     R"({"name":"work","dnsProvider":"Mock","token":"wrong"})"},
    {"OPTIONS /api/dns", "/api/dns", "", Wrong::nobody, 401},
    {"GET /api/dns", "/api/dns?detail=true", "", Wrong::viewer, 403},
    {"GET /api/dns/domain", "/api/dns/domain?detail=true", "", Wrong::viewer, 403},
    {"GET /api/dns/domain/{name}", "/api/dns/domain/www.example.com", "", Wrong::admin, 404,
     "/api/dns/domain/example.net"},
    {"POST /api/dns/domain/refresh/{id}", "/api/dns/domain/refresh/$dns", "", Wrong::admin, 404,
     "/api/dns/domain/refresh/0000000000000000"},
    {"GET /api/dns/{id}", "/api/dns/$dns", "", Wrong::admin, 404, "/api/dns/0000000000000000"},
    {"PUT /api/dns/{id}", "/api/dns/$dns", R"({"name":"play"})", Wrong::admin, 422, "",
     R"({"name":""})"},
    {"DELETE /api/dns/{id}", "/api/dns/$dns", "", Wrong::admin, 404, "/api/dns/0000000000000000"},

    {"POST /api/host", "/api/host", host_body, Wrong::admin, 409},
    {"GET /api/host", "/api/host?limit=10", "", Wrong::admin, 422, "/api/host?limit=x"},
    {"GET /api/host/lookup/{name}", "/api/host/lookup/app.example.com", "", Wrong::admin, 400,
     "/api/host/lookup/%zz"},
    {"GET /api/host/lookupobj", "/api/host/lookupobj", "", Wrong::viewer, 403},
    {"GET /api/host/wildcard-parent/{name}", "/api/host/wildcard-parent/app.example.com", "",
     Wrong::viewer, 403, "/api/host/wildcard-parent/app.test"},
    {"GET /api/host/{host}", "/api/host/app.example.com", "", Wrong::admin, 404,
     "/api/host/none.example.com"},
    {"PUT /api/host/{host}", "/api/host/app.example.com", R"({"targetPort":81})", Wrong::admin, 422,
     "", R"({"targetPort":70000})"},
    {"PUT /api/host/{host}/renew", "/api/host/app.example.com/renew", "", Wrong::admin, 404,
     "/api/host/none.example.com/renew"},
    {"GET /api/host/{host}/explain", "/api/host/app.example.com/explain", "", Wrong::admin, 424,
     "/api/host/none.example.com/explain"},
    {"GET /api/host/{host}/certificate", "/api/host/app.example.com/certificate", "", Wrong::admin,
     404, "/api/host/none.example.com/certificate"},
    {"GET /api/cert", "/api/cert?limit=10", "", Wrong::admin, 422, "/api/cert?limit=x"},
    {"GET /api/cert/{host}", "/api/cert/app.example.com", "", Wrong::admin, 404,
     "/api/cert/none.example.com"},
    {"DELETE /api/host/cache", "/api/host/cache", "", Wrong::viewer, 403},
    {"DELETE /api/host/{host}", "/api/host/app.example.com", "", Wrong::admin, 404},

    {"GET /api/target", "/api/target", "", Wrong::nobody, 401},
    {"GET /api/system", "/api/system", "", Wrong::viewer, 403},
    {"GET /api/audit", "/api/audit?limit=5", "", Wrong::admin, 422, "/api/audit?limit=0"},
    {"DELETE /api/user/{user}", "/api/user/carol", "", Wrong::admin, 404, "/api/user/nobody"},
    {"PUT /api/user/password", "/api/user/password", R"({"password":"Battery-Staple-9"})",
     Wrong::admin, 422, "", R"({"password":"x"})"},
    {"POST /api/auth/logout", "/api/auth/logout", "", Wrong::other_site, 421},
};

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text.append(line).append("\n");
  return text;
}

class Walk {
 public:
  Walk() : rig_(options()), viewer_(rig_.log_in("viewer")) {
    store::Certificate certificate{
        .name = "app.example.com",
        .fullchain_pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
        .privkey_pem = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"};
    REQUIRE(store::create(*rig_.store, certificate, {}, AdminRig::by()));
    REQUIRE(rig_.store->put(keys::story("app.example.com"),
                            {{"name", "app.example.com"}, {"state", "valid"}}, {}, AdminRig::by()));
    document_ = AdminRig::json(rig_.ask(AdminRig::request("GET", "/api/openapi.json")));
  }

  const json::Value& document() const { return document_; }

  void right(const Step& step, const json::Value& operation) {
    // A session of its own: some operations end it.
    const Response response =
        rig_.as(rig_.log_in("admin"), method(step), filled(step.target), std::string(step.body));
    INFO(response.body);
    REQUIRE(response.status == 200);
    if (!step.body.empty()) {
      fits(*json::parse(step.body), operation.find("requestBody"), "application/json");
    }
    if (AdminRig::field(response, "content-type") == "text/event-stream") return;
    const json::Value body = AdminRig::json(response);
    fits(body, operation.find("responses")->find("200"), "application/json");
    if (step.operation == "POST /api/api-token") {
      ids_["$token"] = *body.find("results")->text("id");
    }
    if (step.operation == "POST /api/dns") ids_["$dns"] = *body.text("id");
  }

  void wrong(const Step& step, const json::Value& operation) {
    const json::Value* problems = operation.find("responses")->find("default");
    for (const std::string media : {"application/json", "application/problem+json"}) {
      Request request = AdminRig::request(
          method(step), filled(step.wrong_target.empty() ? step.target : step.wrong_target),
          std::string(step.wrong_body.empty() ? step.body : step.wrong_body), {{"Accept", media}});
      if (step.who == Wrong::admin) {
        request.fields.emplace_back("auth-token", rig_.log_in("admin"));
      }
      if (step.who == Wrong::viewer) request.fields.emplace_back("auth-token", viewer_);
      if (step.who == Wrong::other_site) request.host = "evil.example";
      const Response response = rig_.ask(std::move(request));
      INFO(response.body);
      CHECK(response.status == step.status);
      CHECK(AdminRig::field(response, "content-type") == media);
      fits(AdminRig::json(response), problems, media);
    }
  }

  // Without a credential, where one is needed.
  void nobody(const Step& step) {
    CHECK(rig_.ask(AdminRig::request(method(step), filled(step.target), std::string(step.body)))
              .status == 401);
  }

 private:
  static std::string method(const Step& step) {
    return std::string(step.operation.substr(0, step.operation.find(' ')));
  }

  std::string filled(std::string_view target) const {
    std::string text(target);
    for (const auto& [name, id] : ids_) {
      const std::size_t at = text.find(name);
      if (at != std::string::npos) text.replace(at, name.size(), id);
    }
    return text;
  }

  void fits(const json::Value& value, const json::Value* holder, const std::string& media) const {
    REQUIRE(holder != nullptr);
    const JsonSchema schema(document_);
    const auto faults =
        schema.faults_of(value, *holder->find("content")->find(media)->find("schema"));
    INFO(joined(faults));
    CHECK(faults.empty());
  }

  AdminRig::Options options() {
    dns::ProviderInfo info = dns::Cloudflare::describe();
    info.type = "Mock";
    const auto open =
        [this](const dns::Settings& settings) -> Result<std::unique_ptr<dns::Provider>> {
      return std::unique_ptr<dns::Provider>(
          std::make_unique<dns::Cloudflare>(settings, http_, vendor_.url()));
    };
    const auto proxyd = [](std::string_view target, const Deadline&) -> Result<Response> {
      if (target == "/explain?host=app.example.com") return Response{.body = R"({"found":true})"};
      if (target == "/targets") {
        return Response{
            .body =
                R"({"targets":[{"target":"10.0.0.1:80","state":"resting","failures":3,"since":1}]})"};
      }
      if (target == "/metrics") return Response{.body = "proxycore_requests_total 5\n"};
      return Error{Errc::refused, "nobody listens"};
    };
    return {.proxyd = proxyd, .dns_types = {{info, open}}};
  }

  test::MockCloudflare vendor_{{{"example.com"}}};
  client::HttpClient http_;
  AdminRig rig_;
  std::string viewer_;
  json::Value document_;
  std::map<std::string, std::string> ids_;
};

// "GET /api/host/{host}" and the operation, for each of the document.
std::map<std::string, const json::Value*> operations_of(const json::Value& document) {
  std::map<std::string, const json::Value*> all;
  for (const json::Value::Member& path : std::span(*document.find("paths")->object())) {
    for (const json::Value::Member& operation : std::span(*path.value.object())) {
      std::string name;
      for (const char c : operation.name) name.push_back(static_cast<char>(c - 'a' + 'A'));
      all.emplace(name + " " + path.name, &operation.value);
    }
  }
  return all;
}

}  // namespace

TEST_CASE(
    "openapi: every operation of the document does what it says, called rightly and wrongly") {
  Walk walk;
  auto operations = operations_of(walk.document());
  for (const Step& step : steps) {
    INFO(std::string(step.operation));
    const auto at = operations.find(std::string(step.operation));
    REQUIRE(at != operations.end());
    const json::Value& operation = *at->second;
    operations.erase(at);
    walk.right(step, operation);
    walk.wrong(step, operation);
    if (operation.find("security") == nullptr) walk.nobody(step);
  }
  for (const auto& operation : operations) {
    INFO(operation.first);
    FAIL_CHECK("the walk does not call it");
  }
}

TEST_CASE("openapi: every endpoint is in the document, once, with schemas that are there") {
  const auto document = json::parse(openapi_document(endpoints));
  REQUIRE(document);
  const auto operations = operations_of(*document);
  CHECK(operations.size() == std::size(endpoints));
  const JsonSchema schema(*document);
  for (const Endpoint& endpoint : endpoints) {
    INFO(std::string(endpoint.path));
    CHECK_FALSE(endpoint.summary.empty());
    CHECK(endpoint.summary.ends_with('.'));
    CHECK(schema.at("#/components/schemas/" + std::string(endpoint.reply)) != nullptr);
    if (!endpoint.body.empty()) {
      CHECK(schema.at("#/components/schemas/" + std::string(endpoint.body)) != nullptr);
    }
  }
}

TEST_CASE("openapi: no schema refers to one that is not there, and none is there for nothing") {
  const std::string text = openapi_document(endpoints);
  const auto document = json::parse(text);
  REQUIRE(document);
  const JsonSchema schema(*document);
  std::set<std::string> used;
  constexpr std::string_view opening = R"("$ref":")";
  for (std::size_t at = text.find(opening); at != std::string::npos; at = text.find(opening, at)) {
    at += opening.size();
    const std::string pointer = text.substr(at, text.find('"', at) - at);
    INFO(pointer);
    CHECK(schema.at(pointer) != nullptr);
    used.insert(pointer.substr(pointer.rfind('/') + 1));
  }
  for (const json::Value::Member& each :
       std::span(*document->find("components")->find("schemas")->object())) {
    INFO(each.name);
    CHECK(used.contains(each.name));
  }
}

TEST_CASE("openapi: query parameters are described") {
  const auto document = json::parse(openapi_document(endpoints));
  REQUIRE(document);
  for (const Endpoint& endpoint : endpoints) {
    INFO(std::string(endpoint.path));
    std::size_t wanted = endpoint.query.empty() ? 0 : 1;
    for (const char c : endpoint.query) wanted += c == ' ' ? 1 : 0;
    std::string path(endpoint.path);
    std::size_t colons = 0;
    for (std::size_t at = path.find(':'); at != std::string::npos; at = path.find(':')) {
      const std::size_t end = std::min(path.find('/', at), path.size());
      path.replace(at, end - at, "{" + path.substr(at + 1, end - at - 1) + "}");
      ++colons;
    }
    std::string method;
    for (const char c : method_names[static_cast<std::size_t>(endpoint.method)]) {
      method.push_back(base::lower(c));
    }
    const auto parameters = document->find("paths")->find(path)->find(method)->array("parameters");
    REQUIRE(parameters);
    CHECK(parameters->size() == wanted + colons);
  }
}

}  // namespace proxycore::admin
