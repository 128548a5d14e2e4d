#include "admin/endpoint.h"

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

Call call_with(const Request& request, const Query& query) {
  return {.request = request, .path = {}, .query = query, .by = Deadline::never()};
}

}  // namespace

TEST_CASE("query: pairs are decoded, the first of a name counts") {
  const Query query = Query::parse("a=1&b=x%20y+z&a=2&empty=&flag&%63=%3d");
  CHECK(query.text("a") == "1");
  CHECK(query.text("b") == "x y z");
  REQUIRE(query.find("empty") != nullptr);
  CHECK(query.find("empty")->empty());
  REQUIRE(query.find("flag") != nullptr);
  CHECK(query.text("c") == "=");
  CHECK(query.find("d") == nullptr);
}

TEST_CASE("query: what is no percent escape stays, and pairs are bounded") {
  CHECK(Query::parse("a=%zz").text("a") == "%zz");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "k" + std::to_string(i) + "=1&";
  const Query query = Query::parse(many);
  CHECK(query.find("k63") != nullptr);
  CHECK(query.find("k64") == nullptr);
}

TEST_CASE(
    "call: If-Match is compared strongly, and a star is whatever there is (RFC 9110 §13.1.1)") {
  const Query query;
  Request request;
  CHECK(call_with(request, query).matches("abc"));
  request.fields = {{"If-Match", "\"x\", \"abc\""}};
  CHECK(call_with(request, query).matches("abc"));
  CHECK_FALSE(call_with(request, query).matches("ab"));
  request.fields = {{"If-Match", "W/\"abc\""}};
  CHECK_FALSE(call_with(request, query).matches("abc"));
  request.fields = {{"If-Match", "*"}};
  CHECK(call_with(request, query).matches("abc"));
  CHECK_FALSE(call_with(request, query).matches(""));
}

TEST_CASE("call: who lacks a role for a host is told which") {
  const Query query;
  const Request request;
  Call call = call_with(request, query);
  call.caller = {.user = "alice", .grants = {{auth::Role::viewer, "example.com"}}};
  CHECK(call.allow(auth::Role::viewer, "app.example.com"));
  const auto refused = call.allow(auth::Role::manager, "app.example.com");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().detail == "You need 'manager' rights on app.example.com.");
}

TEST_CASE("call: an endpoint that needs a body says so") {
  const Query query;
  const Request request;
  const auto content = call_with(request, query).content();
  REQUIRE_FALSE(content);
  CHECK(content.error().code == Errc::invalid);
}

}  // namespace proxycore::admin
