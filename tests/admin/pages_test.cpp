#include "admin/pages.h"

#include <proxycore/handler.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

namespace proxycore::admin {
namespace {

Request asking(std::string method, std::string field = {}, std::string value = {}) {
  Request request;
  request.method = std::move(method);
  request.target = "/";
  if (!field.empty()) request.fields.emplace_back(std::move(field), std::move(value));
  return request;
}

std::string field_of(const Response& response, std::string_view name) {
  const auto found = std::ranges::find(
      response.fields, name, [](const auto& field) { return std::string_view(field.first); });
  return found == response.fields.end() ? "" : found->second;
}

TEST_CASE("pages: every address of a page shows the shell") {
  for (const char* path :
       {"/", "/login", "/hosts", "/hosts/app.example.com", "/hosts/*.example.com", "/certificates",
        "/dns", "/users", "/tokens", "/audit", "/system"}) {
    CAPTURE(path);
    const Page* page = page_for(path);
    REQUIRE(page);
    CHECK(page->path == "/");
    CHECK(page->type == "text/html; charset=utf-8");
  }
}

TEST_CASE("pages: what the shell names is there") {
  const Page* shell = page_for("/");
  REQUIRE(shell);
  std::size_t named = 0;
  for (std::size_t at = shell->plain.find("\"/assets/"); at != std::string_view::npos;
       at = shell->plain.find("\"/assets/", at + 1)) {
    const std::string_view path =
        shell->plain.substr(at + 1, shell->plain.find('"', at + 1) - at - 1);
    CAPTURE(path);
    CHECK(page_for(path));
    ++named;
  }
  CHECK(named >= 2);
}

TEST_CASE("pages: no script and no style stands in the shell itself") {
  const Page* shell = page_for("/");
  REQUIRE(shell);
  for (const char* forbidden : {"<style", " style=", "<script>", " onclick", "javascript:", "//"}) {
    CAPTURE(forbidden);
    CHECK(shell->plain.find(forbidden) == std::string_view::npos);
  }
}

TEST_CASE("pages: other addresses have none") {
  for (const char* path : {"", "hosts", "/api/host", "/assets", "/assets/", "/assets/nothing.js",
                           "/assets/../hosts", "/Hosts", "/hostsandmore"}) {
    CAPTURE(path);
    CHECK(!page_for(path));
  }
}

TEST_CASE("pages: gzip is sent to those who take it (RFC 9110 §12.5.3)") {
  const Page& page = *page_for("/");
  for (const char* yes : {"gzip", "br, gzip", "GZIP;q=0.5", "deflate, gzip ; q=1"}) {
    CAPTURE(yes);
    const Response response = page_response(page, asking("GET", "Accept-Encoding", yes));
    CHECK(response.status == 200);
    CHECK(field_of(response, "Content-Encoding") == "gzip");
    CHECK(response.body == page.gzip);
  }
  for (const char* no : {"", "identity", "gzip;q=0", "gzip;q=0.0, br", "x-gzip-not"}) {
    CAPTURE(no);
    const Response response = page_response(page, asking("GET", "Accept-Encoding", no));
    CHECK(field_of(response, "Content-Encoding").empty());
    CHECK(response.body == page.plain);
  }
  CHECK(field_of(page_response(page, asking("GET")), "Vary") == "Accept-Encoding");
}

TEST_CASE("pages: a browser that has it is told so (RFC 9110 §13.1.2)") {
  const Page& page = *page_for("/assets/app.js");
  const std::string strong(page.etag.substr(2));
  for (const std::string& tag :
       {std::string(page.etag), strong, "\"other\", " + strong, std::string("*")}) {
    CAPTURE(tag);
    const Response response = page_response(page, asking("GET", "If-None-Match", tag));
    CHECK(response.status == 304);
    CHECK(response.body.empty());
    CHECK(field_of(response, "ETag") == page.etag);
  }
  CHECK(page_response(page, asking("HEAD", "If-None-Match", "\"other\"")).status == 200);
}

TEST_CASE("pages: they are read only") {
  const Response response = page_response(*page_for("/hosts"), asking("POST"));
  CHECK(response.status == 405);
  CHECK(field_of(response, "Allow") == "GET, HEAD");
}

TEST_CASE("pages: each has a tag and a compressed form of its own") {
  for (const Page& page : embedded_pages()) {
    CAPTURE(page.path);
    CHECK(page.etag.starts_with("W/\""));
    CHECK(page.gzip.starts_with("\x1f\x8b"));
    CHECK(page.gzip.size() < page.plain.size());
    CHECK(std::ranges::count(embedded_pages(), page.etag, &Page::etag) == 1);
  }
}

}  // namespace
}  // namespace proxycore::admin
