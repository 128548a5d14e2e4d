#include "admin/replies.h"

#include "base/json.h"

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

const std::string* field(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.fields) {
    if (key == name) return &value;
  }
  return nullptr;
}

Request request_of(std::string method, std::string target,
                   std::vector<std::pair<std::string, std::string>> fields = {}) {
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.fields = std::move(fields);
  return request;
}

}  // namespace

TEST_CASE("replies: each kind of error has its status and the name that old clients know") {
  struct Case {
    Error error;
    int status;
    std::string_view name;
  };
  const Case cases[] = {
      {{Errc::not_found, "x"}, 404, "EntryNotFound"},
      {{Errc::conflict, "x"}, 409, "EntryNameUsed"},
      {{Errc::invalid, "x"}, 422, "ObjectValidateError"},
      {{Errc::denied, "x"}, 403, "Forbidden"},
      {{Errc::busy, "x"}, 503, "Unavailable"},
      {{Errc::busy, "x", 7}, 429, "TooManyRequests"},
      {{Errc::timeout, "x"}, 503, "Unavailable"},
      {{Errc::io, "x"}, 500, "InternalError"},
      {{Errc::protocol, "x"}, 500, "InternalError"},
  };
  for (const Case& one : cases) {
    const Problem problem = problem_of(one.error);
    INFO(one.error.message());
    CHECK(problem.status == one.status);
    CHECK(problem.name == one.name);
  }
}

TEST_CASE("replies: what failed inside is not told") {
  CHECK(problem_of({Errc::io, "sqlite: /secret/path"}).message.find("path") == std::string::npos);
  CHECK(problem_of({Errc::timeout, "10.0.0.1"}).message.find("10.0") == std::string::npos);
}

TEST_CASE("replies: an error about a field is a list, in the shape of old clients") {
  const Error error{Errc::invalid, "proxy_Host_x: field 'targetPort': 70000 is over 65535"};
  const Response response = response_of(problem_of(error), Request{});
  CHECK(response.status == 422);
  CHECK(response.body == R"({"name":"ObjectValidateError","message":[{"key":"targetPort",)"
                         R"("message":"70000 is over 65535"}]})");
}

TEST_CASE("replies: a conflict names the key") {
  const Response response = response_of(problem_of(exists_already("Host", "a.example")), Request{});
  CHECK(response.body == R"({"name":"EntryNameUsed","message":"Host:a.example already exists",)"
                         R"("keys":[{"key":"host","message":"Host:a.example already exists"}]})");
}

TEST_CASE("replies: a client that asks for it gets problem details (RFC 9457 §3)") {
  const Request request =
      request_of("GET", "/", {{"Accept", "application/problem+json, application/json"}});
  const Response response = response_of(problem_of(does_not_exist("Host", "x")), request);
  CHECK(*field(response, "Content-Type") == "application/problem+json");
  CHECK(response.body == R"({"type":"about:blank","title":"Not Found","status":404,)"
                         R"("detail":"Host:x does not exists","name":"EntryNotFound"})");
}

TEST_CASE("replies: who shall wait is told how long") {
  const Response response = response_of(too_many(30), Request{});
  CHECK(response.status == 429);
  CHECK(*field(response, "Retry-After") == "30");
}

TEST_CASE("replies: what a client has already is not sent again (RFC 9110 §13.1.2)") {
  Request request = request_of("GET", "/");
  const Response first = response_of(ok("{}"), request);
  REQUIRE(field(first, "ETag") != nullptr);
  request.fields = {{"If-None-Match", "\"other\", W/" + *field(first, "ETag")}};
  const Response second = response_of(ok("{}"), request);
  CHECK(second.status == 304);
  CHECK(second.body.empty());
  CHECK(response_of(ok("[]"), request).status == 200);
  request.method = "PUT";
  CHECK(response_of(ok("{}"), request).status == 200);
}

TEST_CASE("replies: records that differ have tags that differ") {
  CHECK(tag_of(Record{{"a", "1"}}) == tag_of(Record{{"a", "1"}}));
  CHECK(tag_of(Record{{"a", "1"}}) != tag_of(Record{{"a", "2"}}));
  CHECK(tag_of(Record{{"a", "1"}, {"b", ""}}) != tag_of(Record{{"a", "1"}}));
}

TEST_CASE("replies: every response keeps scripts, frames and caches of others out") {
  Response response;
  add_security_fields(response, request_of("GET", "/API/host?x"));
  CHECK(field(response, "Content-Security-Policy")->find("default-src 'none'") == 0);
  CHECK(*field(response, "X-Content-Type-Options") == "nosniff");
  CHECK(*field(response, "Referrer-Policy") == "no-referrer");
  CHECK(*field(response, "Cache-Control") == "no-store");
  Response page;
  add_security_fields(page, request_of("GET", "/hosts"));
  CHECK(field(page, "Cache-Control") == nullptr);
}

}  // namespace proxycore::admin
