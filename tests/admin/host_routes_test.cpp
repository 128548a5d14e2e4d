#include "admin/host_routes.h"

#include "host/keys.h"
#include "support/admin_rig.h"

#include <span>

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

namespace json = base::json;
namespace keys = host::keys;
using test::AdminRig;

constexpr const char* app = R"({"host":"app.example.com","ip":"10.0.0.1","targetPort":8080})";

Record stored(const AdminRig& rig, const std::string& name) {
  return rig.store->get(keys::host(name), AdminRig::by()).value_or(Record{});
}

std::string text(const Response& response, std::string_view field) {
  return std::string(AdminRig::json(response).text(field).value_or(""));
}

std::vector<std::string> names(const Response& response) {
  std::vector<std::string> all;
  const json::Value body = AdminRig::json(response);
  for (const json::Value& entry : std::span(*body.array("results"))) {
    all.emplace_back(entry.kind() == json::Value::Kind::text ? *entry.text() : *entry.text("host"));
  }
  return all;
}

using Names = std::vector<std::string>;

Response pages_of_proxyd(std::string body) {
  return {.body = std::move(body)};
}

}  // namespace

TEST_CASE("host routes: a host is added with who and when, and shown as old clients know it") {
  const AdminRig rig;
  const Response added = rig.send("POST", "/api/host", app);
  CHECK(added.status == 200);
  CHECK(text(added, "message") == "\"app.example.com\" added.");
  CHECK(AdminRig::json(added).integer("targetPort").value_or(0) == 8080);
  CHECK(AdminRig::json(added).boolean("forcessl").value_or(false));
  const Record record = stored(rig, "app.example.com");
  CHECK(record.at("created_by") == "admin");
  CHECK(record.at("updated_by") == "admin");
  CHECK(record.contains("created_on"));
  CHECK(record.at("forcessl") == "true");

  const Response shown = rig.send("GET", "/api/host/app.example.com");
  CHECK(shown.status == 200);
  CHECK(text(shown, "item") == "app.example.com");
  CHECK(AdminRig::json(shown).find("results")->text("ip").value_or("") == "10.0.0.1");
  CHECK(AdminRig::field(shown, "etag") == AdminRig::field(added, "etag"));
  CHECK(names(rig.send("GET", "/api/host")) == Names{"app.example.com"});
  CHECK(names(rig.send("GET", "/api/host?detail=1")) == Names{"app.example.com"});
}

TEST_CASE("host routes: names are kept in their canonical form") {
  const AdminRig rig;
  const Response added =
      rig.send("POST", "/api/host",
               R"({"host":"B\u00fccher.Example.COM.","ip":"10.0.0.1","targetPort":80})");
  CHECK(text(added, "host") == "xn--bcher-kva.example.com");
  CHECK(rig.send("GET", "/api/host/XN--bcher-kva.example.com").status == 200);
}

TEST_CASE("host routes: what cannot be a host is refused, and says why") {
  const AdminRig rig;
  const Response missing = rig.send("POST", "/api/host", R"({"ip":5})");
  CHECK(missing.status == 422);
  CHECK(missing.body ==
        R"({"name":"ObjectValidateError","message":[{"key":"host","message":"host is required."},)"
        R"({"key":"ip","message":"ip is not string type."},)"
        R"({"key":"targetPort","message":"targetPort is required."}]})");
  const Response wrong = rig.send("POST", "/api/host",
                                  R"({"host":"a.example.com","ip":"10.0.0.1","targetPort":70000})");
  CHECK(wrong.status == 422);
  CHECK(wrong.body.find(R"("key":"targetPort")") != std::string::npos);
  CHECK(rig.send("POST", "/api/host").status == 422);
  CHECK(names(rig.send("GET", "/api/host")).empty());
}

TEST_CASE("host routes: a host that exists is not added again, a wildcard's hit gives way") {
  const AdminRig rig({.before = [](Store& store) {
    REQUIRE(store.put(keys::host("hit.example.com"),
                      {{"host", "hit.example.com"},
                       {"ip", "10.0.0.9"},
                       {"targetPort", "1"},
                       {"is_cache", "true"},
                       {"wildcard_parent", "*.example.com"}},
                      {}, AdminRig::by()));
    REQUIRE(store.put(keys::cached("hit.example.com"),
                      {{"host", "hit.example.com"}, {"parent", "*.example.com"}}, {},
                      AdminRig::by()));
  }});
  CHECK(rig.send("POST", "/api/host", app).status == 200);
  const Response again = rig.send("POST", "/api/host", app);
  CHECK(again.status == 409);
  CHECK(again.body ==
        R"({"name":"EntryNameUsed","message":"Host:app.example.com already exists","keys":)"
        R"([{"key":"host","message":"Host:app.example.com already exists"}]})");
  CHECK(rig.send("GET", "/api/host/hit.example.com").status == 404);
  CHECK(
      rig.send("POST", "/api/host", R"({"host":"hit.example.com","ip":"10.0.0.1","targetPort":80})")
          .status == 200);
  CHECK(stored(rig, "hit.example.com").at("is_cache") == "false");
  CHECK_FALSE(stored(rig, "hit.example.com").contains("wildcard_parent"));
  CHECK_FALSE(rig.store->get(keys::cached("hit.example.com"), AdminRig::by()));
}

TEST_CASE("host routes: a change touches what it names and keeps the rest, unknown fields too") {
  const AdminRig rig({.before = [](Store& store) {
    REQUIRE(store.put(keys::host("old.example.com"),
                      {{"host", "old.example.com"},
                       {"ip", "10.0.0.1"},
                       {"targetPort", "80"},
                       {"created_by", "bob"},
                       {"created_on", "7"},
                       {"ratelimit_rate", "5"}},
                      {}, AdminRig::by()));
  }});
  const Response changed = rig.send("PUT", "/api/host/old.example.com",
                                    R"({"targetPort":81,"created_by":"x","is_cache":true})");
  CHECK(changed.status == 200);
  CHECK(text(changed, "message") == "\"old.example.com\" updated.");
  CHECK(text(changed, "__requestedHost") == "old.example.com");
  const Record record = stored(rig, "old.example.com");
  CHECK(record.at("targetPort") == "81");
  CHECK(record.at("created_by") == "bob");
  CHECK(record.at("created_on") == "7");
  CHECK(record.at("ratelimit_rate") == "5");
  CHECK(record.at("updated_by") == "admin");
  CHECK(record.at("is_cache") == "false");
  CHECK(rig.send("PUT", "/api/host/none.example.com", R"({"targetPort":81})").status == 404);
  CHECK(rig.send("PUT", "/api/host/old.example.com", R"({"targetPort":0})").status == 422);
}

TEST_CASE("host routes: another name moves the host, its certificate stays") {
  const AdminRig rig;
  REQUIRE(rig.send("POST", "/api/host", app).status == 200);
  REQUIRE(
      rig.store->put(keys::certificate("app.example.com"), {{"value", "{}"}}, {}, AdminRig::by()));
  const Response moved =
      rig.send("PUT", "/api/host/app.example.com", R"({"host":"new.example.com"})");
  CHECK(moved.status == 200);
  CHECK(text(moved, "message") == "\"new.example.com\" updated.");
  CHECK(stored(rig, "app.example.com").empty());
  CHECK(stored(rig, "new.example.com").at("ip") == "10.0.0.1");
  CHECK(rig.store->get(keys::certificate("app.example.com"), AdminRig::by()));
  CHECK(names(rig.send("GET", "/api/host")) == Names{"new.example.com"});
  REQUIRE(rig.send("POST", "/api/host", app).status == 200);
  CHECK(rig.send("PUT", "/api/host/app.example.com", R"({"host":"new.example.com"})").status ==
        409);
}

TEST_CASE(
    "host routes: If-Match refuses to write over what somebody else wrote (RFC 9110 §13.1.1)") {
  const AdminRig rig;
  const std::string etag = AdminRig::field(rig.send("POST", "/api/host", app), "etag");
  const Response first =
      rig.send("PUT", "/api/host/app.example.com", R"({"targetPort":81})", {{"If-Match", etag}});
  CHECK(first.status == 200);
  const Response second =
      rig.send("PUT", "/api/host/app.example.com", R"({"targetPort":82})", {{"If-Match", etag}});
  CHECK(second.status == 412);
  CHECK(text(second, "name") == "PreconditionFailed");
  CHECK(rig.send("DELETE", "/api/host/app.example.com", "", {{"If-Match", etag}}).status == 412);
  CHECK(stored(rig, "app.example.com").at("targetPort") == "81");
  CHECK(rig.send("DELETE", "/api/host/app.example.com", "",
                 {{"If-Match", AdminRig::field(first, "etag")}})
            .status == 200);
  CHECK(stored(rig, "app.example.com").empty());
}

TEST_CASE("host routes: what a client has already is not sent again") {
  const AdminRig rig;
  const std::string etag = AdminRig::field(rig.send("POST", "/api/host", app), "etag");
  CHECK(rig.send("GET", "/api/host/app.example.com", "", {{"If-None-Match", etag}}).status == 304);
  CHECK(rig.send("GET", "/api/host/app.example.com", "", {{"If-None-Match", "\"x\""}}).status ==
        200);
}

TEST_CASE("host routes: a wildcard that changes or goes takes its hits along") {
  const auto fill = [](Store& store) {
    for (const char* name : {"a.w.test", "b.w.test"}) {
      const std::string text = name;
      REQUIRE(
          store.put(keys::host(text),
                    {{"host", text}, {"ip", "10.0.0.9"}, {"targetPort", "1"}, {"is_cache", "true"}},
                    {}, AdminRig::by()));
      const std::string parent = text.starts_with('a') ? "*.w.test" : "*.other.test";
      REQUIRE(
          store.put(keys::cached(text), {{"host", text}, {"parent", parent}}, {}, AdminRig::by()));
    }
  };
  const AdminRig rig({.before = fill});
  REQUIRE(rig.send("POST", "/api/host", R"({"host":"*.w.test","ip":"10.0.0.1","targetPort":80})")
              .status == 200);
  CHECK(stored(rig, "a.w.test").empty());
  CHECK_FALSE(stored(rig, "b.w.test").empty());
  fill(*rig.store);
  CHECK(rig.send("PUT", "/api/host/%2A.w.test", R"({"targetPort":81})").status == 200);
  CHECK(stored(rig, "a.w.test").empty());
  fill(*rig.store);
  CHECK(rig.send("DELETE", "/api/host/*.w.test").status == 200);
  CHECK(stored(rig, "a.w.test").empty());
  CHECK_FALSE(stored(rig, "b.w.test").empty());
  const Response cleared = rig.send("DELETE", "/api/host/cache");
  CHECK(cleared.body == R"({"message":"Cleared 1 cached hosts.","count":1})");
  CHECK(stored(rig, "b.w.test").empty());
}

TEST_CASE("host routes: a host that is removed says what it was; its story stays") {
  const AdminRig rig;
  REQUIRE(rig.send("POST", "/api/host", app).status == 200);
  REQUIRE(rig.store->put(keys::story("app.example.com"), {{"name", "app.example.com"}}, {},
                         AdminRig::by()));
  const Response removed = rig.send("DELETE", "/api/host/app.example.com");
  CHECK(removed.status == 200);
  CHECK(text(removed, "message") == "app.example.com deleted");
  CHECK(text(removed, "ip") == "10.0.0.1");
  CHECK(rig.store->get(keys::story("app.example.com"), AdminRig::by()));
  CHECK(rig.send("DELETE", "/api/host/app.example.com").status == 404);
}

TEST_CASE(
    "host routes: the spelling of older software is found, and changed to the canonical one") {
  const AdminRig rig({.before = [](Store& store) {
    REQUIRE(store.put(keys::host("UPPER.example.com"),
                      {{"host", "UPPER.example.com"}, {"ip", "10.0.0.1"}, {"targetPort", "80"}}, {},
                      AdminRig::by()));
  }});
  CHECK(rig.send("GET", "/api/host/UPPER.example.com").status == 200);
  CHECK(rig.send("PUT", "/api/host/UPPER.example.com", R"({"targetPort":81})").status == 200);
  CHECK(stored(rig, "UPPER.example.com").empty());
  CHECK(stored(rig, "upper.example.com").at("targetPort") == "81");
}

TEST_CASE("host routes: hosts come in pages with a cursor, and searched") {
  const AdminRig rig({.before = [](Store& store) {
    for (char c = 'a'; c <= 'e'; ++c) {
      const std::string name = std::string(1, c) + ".example.com";
      REQUIRE(store.put(keys::host(name),
                        {{"host", name}, {"ip", "10.0.0.1"}, {"targetPort", "80"}}, {},
                        AdminRig::by()));
    }
  }});
  const Response first = rig.send("GET", "/api/host?limit=2");
  CHECK(names(first) == Names{"a.example.com", "b.example.com"});
  CHECK(AdminRig::json(first).integer("total").value_or(0) == 5);
  const Response second = rig.send("GET", "/api/host?limit=2&cursor=" + text(first, "next"));
  CHECK(names(second) == Names{"c.example.com", "d.example.com"});
  const Response third = rig.send("GET", "/api/host?limit=2&cursor=" + text(second, "next"));
  CHECK(names(third) == Names{"e.example.com"});
  CHECK(AdminRig::json(third).find("next")->kind() == json::Value::Kind::null);
  CHECK(names(rig.send("GET", "/api/host?limit=9&q=B.EX")) == Names{"b.example.com"});
  CHECK(rig.send("GET", "/api/host?limit=0").status == 422);
  CHECK(rig.send("GET", "/api/host?limit=1001").status == 422);
  CHECK(rig.send("GET", "/api/host?limit=2&cursor=%20").status == 422);
  CHECK(rig.send("GET", "/api/host?limit=2&show=x").status == 422);
}

TEST_CASE("host routes: hosts with a target down, or a failing certificate, can be asked for") {
  const AdminRig rig(
      {.before =
           [](Store& store) {
             for (const char* name : {"a.example.com", "b.example.com"}) {
               REQUIRE(store.put(keys::host(name),
                                 {{"host", name}, {"ip", name}, {"targetPort", "80"}}, {},
                                 AdminRig::by()));
             }
             REQUIRE(store.put(keys::story("a.example.com"),
                               {{"name", "a.example.com"}, {"state", "failing"}}, {},
                               AdminRig::by()));
           },
       .proxyd = [](std::string_view target, const Deadline&) -> Result<Response> {
         CHECK(target == "/targets");
         return pages_of_proxyd(R"({"targets":[{"target":"b.example.com:80","state":"resting"},)"
                                R"({"target":"a.example.com:80","state":"up"}]})");
       }});
  CHECK(names(rig.send("GET", "/api/host?limit=9&show=down")) == Names{"b.example.com"});
  const Response failing = rig.send("GET", "/api/host?limit=9&show=certificate");
  CHECK(names(failing) == Names{"a.example.com"});
  CHECK(failing.body.find(R"("certificate":{"name":"a.example.com","state":"failing")") !=
        std::string::npos);
}

TEST_CASE("host routes: viewers see their hosts alone, and managers change theirs") {
  AdminRig people;
  const std::string viewer = people.log_in("viewer");
  const std::string manager = people.log_in("manager");
  REQUIRE(people.send("POST", "/api/host", app).status == 200);
  REQUIRE(people.send("POST", "/api/host", R"({"host":"app.test","ip":"10.0.0.1","targetPort":80})")
              .status == 200);
  CHECK(names(people.as(viewer, "GET", "/api/host")) == Names{"app.example.com"});
  CHECK(names(people.as(viewer, "GET", "/api/host?limit=5")) == Names{"app.example.com"});
  CHECK(people.as(viewer, "GET", "/api/host/app.example.com").status == 200);
  CHECK(people.as(viewer, "GET", "/api/host/app.test").status == 403);
  CHECK(people.as(viewer, "GET", "/api/host/none.test").status == 403);
  CHECK(people.as(viewer, "PUT", "/api/host/app.example.com", R"({"targetPort":1})").status == 403);
  CHECK(people.as(viewer, "DELETE", "/api/host/app.example.com").status == 403);
  CHECK(people.as(viewer, "GET", "/api/host/lookupobj").status == 403);
  CHECK(people.as(viewer, "DELETE", "/api/host/cache").status == 403);
  CHECK(people.as(viewer, "GET", "/api/host/lookup/app.test").body == R"({"string":"app.test"})");

  CHECK(people.as(manager, "PUT", "/api/host/app.example.com", R"({"targetPort":1})").status ==
        200);
  CHECK(people.as(manager, "PUT", "/api/host/app.test", R"({"targetPort":1})").status == 403);
  CHECK(people.as(manager, "PUT", "/api/host/app.example.com", R"({"host":"x.test"})").status ==
        403);
  CHECK(
      people.as(manager, "POST", "/api/host", R"({"host":"x.test","ip":"1.2.3.4","targetPort":1})")
          .status == 403);
  CHECK(
      people.as(manager, "POST", "/api/host", R"({"host":"*.test","ip":"1.2.3.4","targetPort":1})")
          .status == 403);
  CHECK(people.as(manager, "DELETE", "/api/host/app.example.com").status == 200);
}

TEST_CASE("host routes: rights are asked of what a name means") {
  AdminRig people({.before = [](Store& store) {
    auth::Permissions permissions(store);
    REQUIRE(permissions.put({.subject = "manager", .grant = {auth::Role::manager, "*.test"}},
                            AdminRig::by()));
  }});
  const std::string manager = people.log_in("manager");
  REQUIRE(people.send("POST", "/api/host", R"({"host":"a.b.test","ip":"10.0.0.1","targetPort":80})")
              .status == 200);
  // U+3002, one label of what is asked and the dot of what it means.
  const std::string path = "/api/host/a%E3%80%82b.test";
  CHECK(people.as(manager, "GET", path).status == 403);
  CHECK(people.as(manager, "PUT", path, R"({"targetPort":1})").status == 403);
  CHECK(people.as(manager, "PUT", path + "/renew").status == 403);
  CHECK(people.as(manager, "GET", path + "/explain").status == 403);
  CHECK(people.as(manager, "GET", "/api/host/wildcard-parent/a%E3%80%82b.test").status == 403);
  CHECK(people.as(manager, "DELETE", path).status == 403);
  CHECK(people.send("GET", path).status == 200);
}

TEST_CASE("host routes: what is wrong with a host of others is not told") {
  AdminRig people;
  const std::string manager = people.log_in("manager");
  REQUIRE(people.send("POST", "/api/host", app).status == 200);
  const std::string others =
      R"({"host":"x.test","ip":"10.0.0.1","targetPort":80,"challengeType":"DNS-01"})";
  CHECK(people.as(manager, "POST", "/api/host", others).status == 403);
  CHECK(people.as(manager, "PUT", "/api/host/app.example.com", others).status == 403);
}

TEST_CASE("host routes: of a wildcard above that they may not see viewers are told nothing") {
  AdminRig::Options options;
  options.proxyd = [](std::string_view, const Deadline&) -> Result<Response> {
    return pages_of_proxyd(
        R"({"host":"x.example.com","found":true,"answered_by":"trie","pattern":"*.com","targets":)"
        R"(["10.9.9.9:80"],"tiers":[{"tier":"trie","answer":"found","pattern":"*.com"}],)"
        R"("candidates":[{"pattern":"*.com","matches":true,"wins":true,"reason":"r"},)"
        R"({"pattern":"*.a.example.com","matches":false,"wins":false,"reason":"s"}]})");
  };
  AdminRig people(std::move(options));
  const std::string viewer = people.log_in("viewer");
  CHECK(people.as(viewer, "GET", "/api/host/x.example.com/explain").body ==
        R"({"string":"x.example.com","results":{"host":"x.example.com","found":true,)"
        R"("candidates":[{"pattern":"*.a.example.com","matches":false,"wins":false,)"
        R"("reason":"s"}]}})");
  REQUIRE(people
              .send("POST", "/api/host",
                    R"({"host":"*.com","ip":"10.9.9.9","targetPort":80,"is_wildcard":true})")
              .status == 200);
  const std::string path = "/api/host/wildcard-parent/example.com";
  CHECK(people.as(viewer, "GET", path).body == R"({"results":null})");
  CHECK(people.send("GET", path).body.find("10.9.9.9") != std::string::npos);
}

TEST_CASE("host routes: a name is looked up as the proxy does") {
  const AdminRig rig;
  REQUIRE(
      rig.send("POST", "/api/host", R"({"host":"*.example.com","ip":"10.0.0.1","targetPort":80})")
          .status == 200);
  const Response found = rig.send("GET", "/api/host/lookup/ANY.example.com");
  CHECK(text(found, "string") == "ANY.example.com");
  CHECK(AdminRig::json(found).find("results")->text("host").value_or("") == "*.example.com");
  CHECK(rig.send("GET", "/api/host/lookup/example.com").body == R"({"string":"example.com"})");
  CHECK(rig.send("GET", "/api/host/lookup/a%20b").body == R"({"string":"a b"})");
}

TEST_CASE("host routes: the tree goes label by label from the right") {
  const AdminRig rig;
  for (const char* name : {"example.com", "*.example.com", "a.b.example.com", "test"}) {
    REQUIRE(rig.send("POST", "/api/host",
                     std::string(R"({"host":")") + name + R"(","ip":"10.0.0.1","targetPort":80})")
                .status == 200);
  }
  const json::Value tree = AdminRig::json(rig.send("GET", "/api/host/lookupobj"));
  const json::Value* example = tree.find("results")->find("com")->find("example");
  REQUIRE(example != nullptr);
  CHECK(example->find("#record")->text("host").value_or("") == "example.com");
  CHECK(example->find("*")->find("#record")->text("host").value_or("") == "*.example.com");
  CHECK(example->find("b")->find("#record") == nullptr);
  CHECK(example->find("b")->find("a")->find("#record") != nullptr);
  CHECK(tree.find("results")->find("test")->find("#record") != nullptr);
}

TEST_CASE("host routes: ways to a certificate that cannot be gone are refused") {
  const AdminRig rig;
  const auto add = [&](const std::string& name, const std::string& type) {
    return rig.send("POST", "/api/host",
                    R"({"host":")" + name +
                        R"(","ip":"10.0.0.1","targetPort":80,"challengeType":")" + type + "\"}");
  };
  const Response no_zone = add("*.example.com", "DNS-01-wildcard");
  CHECK(no_zone.status == 422);
  CHECK(no_zone.body.find("No matching DNS provider registered") != std::string::npos);
  CHECK(add("app.example.com", "DNS-01-wildcard").status == 422);
  const Response orphan = add("app.example.com", "wildcardChild");
  CHECK(orphan.status == 422);
  CHECK(orphan.body.find("No parent wild card for app.example.com") != std::string::npos);

  REQUIRE(rig.store->put(keys::domain("example.com"),
                         {{"domain", "example.com"}, {"dnsProvider_id", "0123456789abcdef"}}, {},
                         AdminRig::by()));
  const Response wildcard = add("*.example.com", "DNS-01-wildcard");
  CHECK(wildcard.status == 200);
  CHECK(AdminRig::json(wildcard).boolean("is_wildcard").value_or(false));
  const Response child = add("app.example.com", "wildcardChild");
  CHECK(child.status == 200);
  CHECK(text(child, "wildcard_parent") == "*.example.com");
  const Response parent = rig.send("GET", "/api/host/wildcard-parent/other.example.com");
  CHECK(AdminRig::json(parent).find("results")->text("host").value_or("") == "*.example.com");
  CHECK(rig.send("GET", "/api/host/wildcard-parent/a.b.example.com").body == R"({"results":null})");
}

TEST_CASE("host routes: a host may not point at the manager itself") {
  AdminRig::Options options;
  options.config.admin.listen = {"127.0.0.1:3000"};
  const AdminRig rig(std::move(options));
  const Response refused = rig.send(
      "POST", "/api/host", R"({"host":"a.example.com","ip":"127.0.0.1","targetPort":3000})");
  CHECK(refused.status == 422);
  CHECK(refused.body.find(R"("key":"ip")") != std::string::npos);
  CHECK(rig.send("POST", "/api/host",
                 R"({"host":"a.example.com","ip":"127.0.0.1","targetPort":3001})")
            .status == 200);
}

TEST_CASE("host routes: a certificate can be wished for at once") {
  const AdminRig rig;
  CHECK(rig.send("PUT", "/api/host/app.example.com/renew").status == 404);
  REQUIRE(rig.send("POST", "/api/host", app).status == 200);
  const Response asked = rig.send("PUT", "/api/host/app.example.com/renew");
  CHECK(asked.body == R"({"message":"Requesting cert for app.example.com"})");
  const auto wish = rig.store->get(keys::wish("app.example.com"), AdminRig::by());
  REQUIRE(wish);
  CHECK(wish->at("name") == "app.example.com");
  CHECK(wish->at("at_once") == "true");
}

TEST_CASE("host routes: the proxy explains what it would do, or it is said that it did not") {
  AdminRig::Options options;
  options.proxyd = [](std::string_view target, const Deadline&) -> Result<Response> {
    if (target == "/explain?host=a.example.com") return pages_of_proxyd(R"({"found":false})");
    return Error{Errc::refused, "nobody listens"};
  };
  const AdminRig rig(std::move(options));
  CHECK(rig.send("GET", "/api/host/a.example.com/explain").body ==
        R"({"string":"a.example.com","results":{"found":false}})");
  const Response failed = rig.send("GET", "/api/host/b.example.com/explain");
  CHECK(failed.status == 424);
  CHECK(failed.body.find("nobody listens") != std::string::npos);
  CHECK(AdminRig().send("GET", "/api/host/b.example.com/explain").status == 424);
}

TEST_CASE("host routes: what is written is on record") {
  const AdminRig rig;
  REQUIRE(rig.send("POST", "/api/host", app).status == 200);
  REQUIRE(rig.send("PUT", "/api/host/app.example.com", R"({"targetPort":81})").status == 200);
  REQUIRE(rig.send("DELETE", "/api/host/app.example.com").status == 200);
  std::vector<std::string> whats;
  REQUIRE(rig.store->scan(
      keys::audit_prefix,
      [&](std::string_view, Record&& record) { whats.push_back(record.at("what")); },
      AdminRig::by()));
  CHECK(whats == Names{"host.create", "host.update", "host.delete"});
}

}  // namespace proxycore::admin
