#include "admin/dns_routes.h"

#include "client/http_client.h"
#include "dns/cloudflare.h"
#include "host/keys.h"
#include "support/away_store.h"
#include "support/endpoint_rig.h"
#include "support/mock_vendors.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::admin;
using test::ApiAnswer;
using test::EndpointRig;

namespace {

const std::string token{test::MockCloudflare::token};

// The vendor's type under another name: that one's calls go where the test wants them.
struct Vendor {
  test::MockCloudflare mock{{{"example.com"}, {"dev.example.com"}}};
  client::HttpClient http;

  Renewer::DnsType type() {
    dns::ProviderInfo info = dns::Cloudflare::describe();
    info.type = "Mock";
    info.fields.push_back({.name = "region", .label = "Region", .required = false});
    return {info, [this](const dns::Settings& settings) -> Result<std::unique_ptr<dns::Provider>> {
              return std::unique_ptr<dns::Provider>(
                  std::make_unique<dns::Cloudflare>(settings, http, mock.url()));
            }};
  }
};

struct Rig : Vendor, EndpointRig {
  explicit Rig(std::unique_ptr<Store> on = open_memory()) : EndpointRig({type()}, std::move(on)) {}

  ApiAnswer add(const std::string& with_token = token) {
    return run(
        add_dns_provider, {},
        R"({"name":"work","dnsProvider":"mock","region":"eu","token":")" + with_token + R"("})");
  }
  Record record(const std::string& id) {
    auto found = store->get(host::keys::dns_provider(id), Deadline::in(Millis{1'000}));
    return found ? *found : Record{};
  }
};

std::string joined(std::span<const base::json::Value> list) {
  std::string text;
  for (const base::json::Value& one : list) {
    const base::json::Value* domain = one.find("domain");
    const auto name = domain != nullptr ? domain->text() : one.text();
    text.append(text.empty() ? "" : " ").append(name.value_or("?"));
  }
  return text;
}

}  // namespace

TEST_CASE("dns routes: an account that its vendor takes is kept, and its secret not shown") {
  Rig rig;
  const ApiAnswer added = rig.add();
  REQUIRE_MESSAGE(added.status == 200, added.text);
  const std::string id = added.text_at("id");
  CHECK(id.size() == 16);
  CHECK(added.text_at("message") == "\"" + id + "\" added.");
  CHECK(added.text_at("dnsProvider") == "Mock");
  CHECK(added.text_at("name") == "work");
  CHECK(added.text_at("region") == "eu");
  CHECK(added.text_at("created_by") == "alice");
  CHECK(*added.at("token", "set").boolean());
  CHECK(joined(added.list_at("domains")) == "dev.example.com example.com");
  CHECK(added.text.find(token) == std::string::npos);
  CHECK(rig.record(id)["token"].find(token) == std::string::npos);

  const ApiAnswer shown = rig.run(show_dns_provider, {id});
  CHECK(shown.status == 200);
  CHECK(shown.text_at("item") == id);
  CHECK(*shown.at("results", "token", "set").boolean());
  CHECK(joined(shown.list_at("results", "domains")) == "dev.example.com example.com");
  CHECK(joined(rig.run(list_dns_providers).list_at("results")) == id);
  const ApiAnswer detail = rig.run(list_dns_providers, {}, {}, "detail=true");
  CHECK(detail.text.find("\"displayName\":\"Cloudflare\"") != std::string::npos);
  CHECK(detail.text.find("\"displayIconHtml\":\"data:image/png;base64,") != std::string::npos);
  CHECK(detail.text.find("\"fields\":{\"token\":{") != std::string::npos);
  CHECK(detail.text.find(token) == std::string::npos);
}

TEST_CASE("dns routes: what the vendor refuses is told by field, and nothing is kept") {
  Rig rig;
  const ApiAnswer refused = rig.add("wrong");
  CHECK(refused.status == 422);
  CHECK(refused.text_at("name") == "ObjectValidateError");
  CHECK(refused.text.find(R"({"key":"token","message":"Invalid Key"})") != std::string::npos);
  CHECK(refused.text.find(R"({"key":"dnsProvider","message":"Cloudflare)") != std::string::npos);
  CHECK(joined(rig.run(list_dns_providers).list_at("results")).empty());
}

TEST_CASE("dns routes: what else a vendor says is 424, a store that is away is not") {
  Rig rig;
  rig.mock.answer_next({500, "<html>down</html>"});
  const ApiAnswer failed = rig.add();
  CHECK(failed.status == 424);
  CHECK(failed.text_at("name") == "OtherDnsApiError");
  CHECK(failed.text_at("message").find("Cloudflare") == 0);
  rig.mock.answer_next({500, "{}"});
  CHECK(rig.add().status == 424);
  CHECK(joined(rig.run(list_dns_providers).list_at("results")).empty());

  auto own = std::make_unique<test::AwayStore>();
  test::AwayStore& store = *own;
  Rig ours(std::move(own));
  const std::string id = ours.add().text_at("id");
  const auto is_ours = [](const ApiAnswer& answer) {
    return answer.status == 503 && answer.text_at("name") == "Unavailable";
  };
  // It can be read, but not written.
  store.before_write = []() -> Result<void> { return Error{Errc::closed, "gone"}; };
  CHECK(is_ours(ours.run(change_dns_provider, {id}, R"({"name":"home"})")));
  store.before_write = {};
  // It goes once the account has been found.
  int reads = 0;
  store.before_get = [&](const Deadline&) -> Result<void> {
    store.away = ++reads > 1;
    return {};
  };
  CHECK(is_ours(ours.run(refresh_dns_domains, {id})));
  store.before_get = {};
  store.away = false;
  CHECK(ours.run(refresh_dns_domains, {id}).status == 200);
}

TEST_CASE("dns routes: a domain that another account has is a conflict") {
  Rig rig;
  REQUIRE(rig.add().status == 200);
  const ApiAnswer again = rig.add();
  CHECK(again.status == 409);
  CHECK(again.text_at("name") == "EntryNameUsed");
  CHECK(again.text_at("message").find("dev.example.com belongs to") != std::string::npos);
  CHECK(again.list_at("keys").front().text("key").value() == "domain");
}

TEST_CASE("dns routes: all that is wrong with a body is told at once") {
  Rig rig;
  const auto faults = [&](std::string_view body) {
    const ApiAnswer answer = rig.run(add_dns_provider, {}, body);
    CHECK(answer.status == 422);
    return answer.text;
  };
  CHECK(faults("{}") ==
        R"({"name":"ObjectValidateError","message":[{"key":"name","message":"name is required."},)"
        R"({"key":"dnsProvider","message":"dnsProvider is required."}]})");
  CHECK(faults(R"({"name":"x","dnsProvider":"Mock"})")
            .find(R"([{"key":"token","message":"token is required."}])") != std::string::npos);
  CHECK(faults(R"({"name":1,"dnsProvider":"Mock","token":true})")
            .find(R"({"key":"token","message":"token is not string type."})") != std::string::npos);
  CHECK(faults(R"({"name":"x","dnsProvider":"Nobody"})").find("\"dnsProvider\"") !=
        std::string::npos);
  CHECK(rig.mock.asks().empty());
  CHECK(rig.run(add_dns_provider).status == 422);
}

TEST_CASE("dns routes: a change keeps what it does not name, the secret too") {
  Rig rig;
  const std::string id = rig.add().text_at("id");
  const ApiAnswer renamed = rig.run(change_dns_provider, {id}, R"({"name":"home"})");
  REQUIRE_MESSAGE(renamed.status == 200, renamed.text);
  CHECK(renamed.text_at("message") == "\"" + id + "\" updated.");
  CHECK(renamed.text_at("__requestedHost") == id);
  CHECK(renamed.text_at("name") == "home");
  CHECK(renamed.text_at("region") == "eu");
  CHECK(*renamed.at("token", "set").boolean());
  CHECK(renamed.text_at("created_by") == "alice");
  // As the pages send back what they were shown.
  CHECK(rig.run(change_dns_provider, {id}, R"({"token":{"set":true},"name":"x"})").status == 200);
  CHECK(rig.run(change_dns_provider, {id}, R"({"token":"********","name":"y"})").status == 200);
  CHECK(rig.run(refresh_dns_domains, {id}).status == 200);
  // A setting may say whom a secret is sent to.
  const ApiAnswer moved = rig.run(change_dns_provider, {id}, R"({"region":"us"})");
  CHECK(moved.status == 422);
  CHECK(moved.text.find("\"key\":\"token\"") != std::string::npos);
  CHECK(rig.run(change_dns_provider, {id}, R"({"token":"wrong"})").status == 422);
  CHECK(rig.run(change_dns_provider, {"0000000000000000"}, "{}").status == 404);
}

TEST_CASE("dns routes: If-Match guards changes") {
  Rig rig;
  const ApiAnswer added = rig.add();
  const std::string id = added.text_at("id");
  rig.request.fields = {{"If-Match", rig.run(show_dns_provider, {id}).etag}};
  CHECK(rig.run(change_dns_provider, {id}, R"({"name":"one"})").status == 200);
  CHECK(rig.run(change_dns_provider, {id}, R"({"name":"two"})").status == 412);
  CHECK(rig.run(remove_dns_provider, {id}).status == 412);
  rig.request.fields.clear();
  CHECK(rig.run(show_dns_provider, {id}).text_at("results", "name") == "one");
}

TEST_CASE("dns routes: an account goes with its domains") {
  Rig rig;
  const std::string id = rig.add().text_at("id");
  const ApiAnswer removed = rig.run(remove_dns_provider, {id});
  REQUIRE_MESSAGE(removed.status == 200, removed.text);
  CHECK(removed.text_at("message") == id + " deleted");
  CHECK(removed.text.find(token) == std::string::npos);
  CHECK(*removed.at("token", "set").boolean());
  CHECK(joined(rig.run(list_dns_domains).list_at("results")).empty());
  const ApiAnswer again = rig.run(remove_dns_provider, {id});
  CHECK(again.status == 404);
  CHECK(again.text_at("message") == "DnsProvider:" + id + " does not exists");
  CHECK(rig.run(show_dns_provider, {id}).status == 404);
}

TEST_CASE("dns routes: domains are listed, found by any name in them, and asked for again") {
  Rig rig;
  const std::string id = rig.add().text_at("id");
  CHECK(joined(rig.run(list_dns_domains).list_at("results")) == "dev.example.com example.com");
  const ApiAnswer detail = rig.run(list_dns_domains, {}, {}, "detail=1");
  CHECK(detail.list_at("results").front().find("dnsProvider")->text("id").value() == id);
  CHECK(detail.text.find(token) == std::string::npos);
  CHECK(joined(rig.run(find_dns_domain, {"a.b.DEV.example.com"}).list_at("results")) ==
        "dev.example.com");
  CHECK(joined(rig.run(find_dns_domain, {"*.example.com"}).list_at("results")) == "example.com");
  CHECK(rig.run(find_dns_domain, {"example.org"}).status == 404);
  CHECK(rig.run(find_dns_domain, {"not a name"}).status == 404);
  CHECK(joined(rig.run(refresh_dns_domains, {id}).list_at("domains")) ==
        "dev.example.com example.com");
  rig.mock.answer_next({500, "{}"});
  CHECK(rig.run(refresh_dns_domains, {id}).status == 424);
  CHECK(rig.run(refresh_dns_domains, {"0000000000000000"}).status == 404);
}

TEST_CASE("dns routes: the types say what they want") {
  Rig rig;
  const ApiAnswer types = rig.run(list_dns_types);
  CHECK(types.status == 200);
  const auto all = types.list_at("results");
  const auto mock = std::find_if(
      all.begin(), all.end(), [](const auto& type) { return type.text("name").value() == "Mock"; });
  REQUIRE(mock != all.end());
  const base::json::Value* field = mock->find("fields")->find("token");
  REQUIRE(field != nullptr);
  CHECK(*field->boolean("isRequired"));
  CHECK(*field->boolean("isPrivate"));
  CHECK(field->text("type").value() == "string");
  CHECK_FALSE(field->text("displayName").value().empty());
  CHECK(types.text.find("\"Cloudflare\"") != std::string::npos);
}

TEST_CASE("dns routes: what is written is put on record, without secrets") {
  Rig rig;
  const std::string id = rig.add().text_at("id");
  REQUIRE(rig.run(change_dns_provider, {id}, R"({"name":"home"})").status == 200);
  REQUIRE(rig.run(remove_dns_provider, {id}).status == 200);
  std::string what;
  REQUIRE(rig.store->scan(
      host::keys::audit_prefix,
      [&](std::string_view, Record&& record) {
        what.append(record["what"]).append(" ");
        for (const auto& [name, value] : record) CHECK(value.find(token) == std::string::npos);
        CHECK(record["who"] == "alice");
      },
      Deadline::in(Millis{1'000})));
  CHECK(what == "dns.create dns.update dns.remove ");
}
