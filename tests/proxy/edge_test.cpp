#include "proxy/edge.h"

#include "base/json.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::proxy;
using http::FieldId;
using http::Head;

namespace {

constexpr std::string_view date = "Sun, 06 Nov 1994 08:49:37 GMT";

struct Page {
  Head head;
  std::string body;

  [[nodiscard]] std::string_view type() const {
    return head.fields.find(FieldId::content_type).value_or("");
  }
};

Page page(std::uint16_t status, std::string_view accept = "", std::string_view method = "GET") {
  Head request;
  request.method = method;
  request.authority = "a.test";
  if (!accept.empty()) request.fields.add(FieldId::accept, accept);
  Page made;
  made.body = "left from before";
  made.head.fields.add("Left", "from before");
  edge::error(request, status, "id-1", date, made.head, made.body);
  return made;
}

}  // namespace

TEST_CASE("edge: an error is a small page that tells the request's id") {
  const Page made = page(502);
  CHECK(made.head.status == 502);
  CHECK(made.head.reason == "Bad Gateway");
  CHECK(made.head.framing == http::Framing::length);
  CHECK(made.head.content_length == made.body.size());
  CHECK(made.type() == "text/html; charset=utf-8");
  CHECK(made.head.fields.find(FieldId::date) == date);
  CHECK(made.head.fields.find(FieldId::x_request_id) == "id-1");
  CHECK(made.head.fields.find("Cache-Control") == "no-store");
  CHECK_FALSE(made.head.fields.find("Left"));
  CHECK(made.body.find("<h1>502 Bad Gateway</h1>") != std::string::npos);
  CHECK(made.body.find("id-1") != std::string::npos);
  CHECK(made.body.size() < 1024);
}

TEST_CASE("edge: who would rather have JSON than HTML gets a problem document (RFC 9457)") {
  for (const std::string_view accept :
       {"application/json", "application/problem+json", "application/json, text/html",
        "application/vnd.api+json;q=0.9, */*;q=0.1", "APPLICATION/JSON", "a/b , application/json",
        "text/html;q=0.8, application/json;v=1;Q=0.9", "application/json, text/plain, */*",
        "text/html;q=0, application/json;q=0.001"}) {
    INFO(accept);
    const Page made = page(404, accept);
    CHECK(made.type() == "application/problem+json");
    CHECK(made.head.content_length == made.body.size());
    const auto parsed = base::json::parse(made.body);
    REQUIRE(parsed);
    CHECK(*parsed->integer("status") == 404);
    CHECK(*parsed->text("title") == "Not Found");
    CHECK(*parsed->text("request_id") == "id-1");
  }
}

TEST_CASE("edge: everybody else gets HTML") {
  for (const std::string_view accept :
       {"", "*/*", "text/html", "text/html, application/json", "text/plain",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "image/png",
        "application/json;q=0.5, */*", "application/json;q=0", "application/json5", "+json",
        ",;q="}) {
    CHECK_MESSAGE(page(404, accept).type() == "text/html; charset=utf-8", accept);
  }
}

TEST_CASE("edge: HEAD gets the head alone, with the length that GET would have (RFC 9110 §9.3.2)") {
  const Page made = page(404, "", "HEAD");
  CHECK(made.body.empty());
  CHECK(made.head.content_length == page(404).body.size());
}

TEST_CASE("edge: every status the proxy answers with has its phrase and a sentence") {
  for (const int status : {400, 404, 405, 408, 413, 414, 431, 500, 501, 502, 503, 504, 505, 508}) {
    INFO(status);
    const Page made = page(static_cast<std::uint16_t>(status));
    CHECK_FALSE(made.head.reason.empty());
    CHECK(made.body.find("<p></p>") == std::string::npos);
    CHECK(edge::reason(static_cast<std::uint16_t>(status)) == made.head.reason);
  }
  CHECK(edge::reason(200).empty());
}

TEST_CASE("edge: a status without a page is still a page") {
  const Page made = page(418);
  CHECK(made.head.status == 418);
  CHECK(made.body.find("id-1") != std::string::npos);
}

TEST_CASE("edge: 405 tells what is allowed, 503 when to come back (RFC 9110 §15.5.6, §10.2.3)") {
  const Page not_allowed = page(405);
  REQUIRE(not_allowed.head.fields.find("Allow"));
  CHECK(not_allowed.head.fields.find("Allow")->find("GET") != std::string_view::npos);
  CHECK(not_allowed.head.fields.find("Allow")->find("TRACE") == std::string_view::npos);
  CHECK(page(503).head.fields.find("Retry-After"));
  CHECK_FALSE(page(502).head.fields.find("Retry-After"));
}

TEST_CASE("edge: OPTIONS that goes no further gets what is allowed and no content") {
  Head head;
  edge::options("id-1", date, head);
  CHECK(head.status == 204);
  CHECK(head.framing == http::Framing::none);
  CHECK(head.fields.find("Allow") == page(405).head.fields.find("Allow"));
  CHECK(head.fields.find(FieldId::x_request_id) == "id-1");
}

TEST_CASE("edge: the redirect to TLS keeps path, query and escapes, and the method if it matters") {
  http::Head request;
  request.target = "/p%20q/a?b=c&d=%2F";
  http::Head head;
  for (const auto& [method, status] :
       {std::pair{"GET", 301}, {"HEAD", 301}, {"POST", 308}, {"PUT", 308}, {"OPTIONS", 308}}) {
    request.method = method;
    edge::to_tls(request, "a.test", 443, "id", "date", head);
    CHECK(head.status == status);
    CHECK(head.fields.find("Location") == "https://a.test/p%20q/a?b=c&d=%2F");
  }
  edge::to_tls(request, "[::1]", 8443, "id", "date", head);
  CHECK(head.fields.find("Location") == "https://[::1]:8443/p%20q/a?b=c&d=%2F");
  request.target = "*";
  edge::to_tls(request, "a.test", 443, "id", "date", head);
  CHECK(head.fields.find("Location") == "https://a.test/");
}
