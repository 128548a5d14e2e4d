#include "dns/vendor_api.h"

#include "dns/cloudflare.h"
#include "dns/digitalocean.h"
#include "dns/duckdns.h"
#include "dns/porkbun.h"
#include "support/http_server.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

struct Rig {
  test::Reply reply;
  test::Ask last;
  test::HttpServer server{[this](const test::Ask& ask) {
    last = ask;
    return reply;
  }};
  client::HttpClient http;
  dns::VendorApi api{http,
                     {.title = "Vendor",
                      .base = server.url("/v1"),
                      .headers = {{"Authorization", "Bearer tok-1"}},
                      .secrets = {"tok-1"}}};

  Error failure(int status, std::string body, Errc code = Errc::invalid,
                std::string_view words = {}) {
    reply = {.status = status, .body = std::move(body)};
    const dns::VendorApi::Call call{.what = "list zones", .path = "/zones"};
    const auto answer = api.send(call, Deadline::in(Millis{10'000}));
    return answer ? api.failure(call, *answer, code, words) : answer.error();
  }
};

}  // namespace

TEST_CASE("dns vendor_api: a call goes where the base says, with its fields and its body") {
  Rig rig;
  rig.reply = {.status = 201, .body = R"({"id": 7})"};
  const auto answer =
      rig.api.send({.what = "add record", .method = "POST", .path = "/zones?a=b", .body = "{}"},
                   Deadline::in(Millis{10'000}));
  REQUIRE(answer);
  CHECK(answer->ok());
  CHECK(answer->json.integer("id").value_or(0) == 7);
  CHECK(rig.last.method == "POST");
  CHECK(rig.last.target == "/v1/zones?a=b");
  CHECK(rig.last.header("authorization") == "Bearer tok-1");
  CHECK(rig.last.header("content-type") == "application/json");
  CHECK(rig.last.body == "{}");
}

TEST_CASE("dns vendor_api: a failure has the vendor's words and no credentials") {
  Rig rig;
  CHECK(rig.failure(403, "{}", Errc::denied, "token tok-1 is\nnot good").message() ==
        "denied: Vendor: list zones: 403: token *** is not good");
  CHECK(rig.failure(500, "oops, tok-1").detail == "Vendor: list zones: 500: oops, ***");
  CHECK(rig.failure(502, "").detail == "Vendor: list zones: 502: no explanation");
  CHECK(rig.failure(502, " <html><body>Bad gateway").detail ==
        "Vendor: list zones: 502: an HTML page in place of an answer");
}

TEST_CASE("dns vendor_api: a vendor that asks to wait long is busy until then") {
  Rig rig;
  rig.reply.headers.emplace_back("Retry-After", "120");
  const dns::VendorApi::Call call{.what = "list zones", .path = "/zones"};
  rig.reply.status = 429;
  const auto answer = rig.api.send(call, Deadline::in(Millis{10'000}));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::busy);
  CHECK(answer.error().retry_after_s == 120);
  CHECK(answer.error().detail == "Vendor: list zones: 429: asks to wait 120 s");
}

TEST_CASE("dns vendor_api: what a status means") {
  using dns::VendorApi;
  CHECK(VendorApi::code_of(400) == Errc::invalid);
  CHECK(VendorApi::code_of(401) == Errc::denied);
  CHECK(VendorApi::code_of(402) == Errc::limit);
  CHECK(VendorApi::code_of(403) == Errc::denied);
  CHECK(VendorApi::code_of(404) == Errc::not_found);
  CHECK(VendorApi::code_of(409) == Errc::conflict);
  CHECK(VendorApi::code_of(422) == Errc::invalid);
  CHECK(VendorApi::code_of(429) == Errc::busy);
  CHECK(VendorApi::code_of(500) == Errc::io);
  CHECK(VendorApi::code_of(504) == Errc::timeout);
  CHECK(VendorApi::code_of(200) == Errc::protocol);
  CHECK(VendorApi::code_of(301) == Errc::protocol);
}

TEST_CASE("dns vendor_api: ids are numbers or strings, zones become canonical") {
  const auto ids = base::json::parse(R"({"a": 7, "b": "x-1", "c": null})");
  REQUIRE(ids);
  CHECK(dns::id_text(ids->find("a")) == "7");
  CHECK(dns::id_text(ids->find("b")) == "x-1");
  CHECK(dns::id_text(ids->find("c")).empty());
  CHECK(dns::id_text(ids->find("d")).empty());
  CHECK(dns::canonical_name("Example.COM.") == "example.com");
  CHECK(dns::canonical_name("b\xC3\xBC"
                            "cher.example") == "xn--bcher-kva.example");
  CHECK(dns::canonical_name("not a name").empty());
}

TEST_CASE("dns vendor_api: no answer, however odd, is taken for a success or repeats a secret") {
  const std::string secret = "s3cret-0123456789";
  test::Reply reply;
  test::HttpServer server([&](const test::Ask& ask) {
    test::Reply answer = reply;
    // As a server that shows what it was sent.
    if (answer.body == "echo") {
      answer.body = R"({"message":")" + ask.header("authorization") + ask.target + "\"}" + ask.body;
    }
    return answer;
  });
  client::HttpClient http;
  const auto nothing = [](std::string_view, const Deadline&) {
    return Result<std::vector<std::string>>{Error{Errc::not_found}};
  };
  std::vector<std::unique_ptr<dns::Provider>> providers;
  const dns::Settings token = {{"token", secret}};
  providers.push_back(std::make_unique<dns::Cloudflare>(token, http, server.url()));
  providers.push_back(std::make_unique<dns::DigitalOcean>(token, http, server.url()));
  providers.push_back(std::make_unique<dns::Porkbun>(
      dns::Settings{{"apiKey", secret}, {"secretApiKey", secret}}, http, server.url()));
  providers.push_back(std::make_unique<dns::DuckDns>(
      dns::Settings{{"token", secret}, {"subdomains", "home"}}, http, nothing, server.url()));

  const std::string deep(40, '[');
  const std::vector<std::string> bodies = {
      "",
      "null",
      "[]",
      "{}",
      "7",
      "\"text\"",
      "{",
      "\xff\xfe",
      deep,
      "echo",
      "ok",
      "OKAY",
      R"({"success":true})",
      R"({"success":true,"result":null})",
      R"({"success":true,"result":[7]})",
      R"({"success":false,"errors":[7,{"code":"x","message":7},{"error_chain":[null]}]})",
      R"({"success":true,"result":[],"result_info":{"total_pages":-1}})",
      R"({"success":true,"result":{"id":{}}})",
      R"({"domains":{},"domain_records":[]})",
      R"({"domains":[{"name":"a.example"}],"domain_records":[{"type":7}]})",
      R"({"domain_record":{"id":null},"domain_records":[{"type":"TXT","name":"a","data":"v"}]})",
      R"({"status":"SUCCESS"})",
      R"({"status":"SUCCESS","id":null,"records":[{}],"domains":[null]})",
      R"({"status":7,"message":[]})"};
  const dns::Zone zone{"home.duckdns.org", "zone-0"};
  const dns::Txt record{.name = "a", .value = "v"};
  const Deadline by = Deadline::in(Millis{60'000});
  const auto no_secret = [&](const Error& error) {
    CHECK(error.detail.find(secret) == std::string::npos);
  };
  for (const int status : {200, 301, 400, 404, 500}) {
    for (const std::string& body : bodies) {
      reply = {.status = status, .body = body};
      for (const auto& provider : providers) {
        INFO(provider->info().type, " ", status, " ", body);
        const auto added = provider->add(zone, record, by);
        REQUIRE_FALSE(added);
        no_secret(added.error());
        if (const auto zones = provider->zones(by); !zones) no_secret(zones.error());
        if (const auto checked = provider->check(by); !checked) no_secret(checked.error());
        if (const auto removed = provider->remove(zone, record, {}, by); !removed) {
          no_secret(removed.error());
        }
      }
    }
  }
}
