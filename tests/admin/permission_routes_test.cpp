#include "admin/permission_routes.h"

#include "support/endpoint_rig.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::admin;
using test::ApiAnswer;
using test::EndpointRig;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

// `admin`, who is the rig's caller, and alice and bob, who may do nothing.
struct Rig : EndpointRig {
  Rig() {
    REQUIRE(accounts.begin("", soon()));
    REQUIRE(accounts.create_user("alice", "a good password", "admin", soon()));
    REQUIRE(accounts.create_user("bob", "a good password", "admin", soon()));
    caller.user = "admin";
  }
  auth::Role role(std::string_view user, std::string_view host) {
    const auto rights = accounts.rights_of(user, soon());
    REQUIRE(rights);
    return role_for(*rights, host);
  }
  // The field that is wrong with a body.
  std::string fault(std::string_view body) {
    const ApiAnswer answer = run(add_permission, {}, body);
    CHECK(answer.status == 422);
    const auto faults = answer.list_at("message");
    return faults.empty() ? std::string{} : std::string(*faults[0].text("key"));
  }
  std::string last_change() {
    const auto entries = changes.list("", 1, soon());
    REQUIRE(entries);
    return entries->empty() ? std::string{} : entries->front().what + " " + entries->front().key;
  }
};

constexpr std::string_view alice_manages =
    R"({"subjectType":"user","subject":"alice","scope":"domain","domain":"Example.com",)"
    R"("role":"manager"})";

}  // namespace

TEST_CASE("permission routes: a role that is given counts, and is listed") {
  Rig rig;
  const ApiAnswer given = rig.run(add_permission, {}, alice_manages);
  CHECK(given.status == 200);
  CHECK(given.text_at("message") == "Granted manager to user \"alice\" on example.com.");
  CHECK(given.text_at("id") == "user:alice:domain:example.com");
  CHECK(given.text_at("created_by") == "admin");
  CHECK(rig.role("alice", "www.example.com") == auth::Role::manager);
  CHECK(rig.last_change() == "permission.create proxy_Permission_user:alice:domain:example.com");

  const ApiAnswer all = rig.run(list_permissions);
  CHECK_FALSE(*all.at("open").boolean());
  REQUIRE(all.list_at("results").size() == 2);
  CHECK(*all.list_at("results")[0].text("id") == "user:admin:global:*");
  CHECK(*all.list_at("results")[0].text("domain") == "*");
  CHECK(*all.list_at("results")[1].text("role") == "manager");
}

TEST_CASE("permission routes: giving one again changes its role") {
  Rig rig;
  REQUIRE(rig.run(add_permission, {}, alice_manages).status == 200);
  const ApiAnswer again =
      rig.run(add_permission, {}, R"({"subject":"alice","domain":"example.com","role":"viewer"})");
  CHECK(again.status == 200);
  CHECK(again.text_at("role") == "viewer");
  CHECK(rig.role("alice", "example.com") == auth::Role::viewer);
  CHECK(rig.run(list_permissions).list_at("results").size() == 2);
}

TEST_CASE("permission routes: one for everything needs no domain") {
  Rig rig;
  const ApiAnswer given = rig.run(
      add_permission, {},
      R"({"subjectType":"user","subject":"alice","scope":"global","domain":"*","role":"viewer"})");
  CHECK(given.status == 200);
  CHECK(given.text_at("message") == "Granted viewer to user \"alice\" globally.");
  CHECK(given.text_at("id") == "user:alice:global:*");
  CHECK(rig.role("alice", "any.test") == auth::Role::viewer);
}

TEST_CASE("permission routes: what is wrong is said field by field") {
  Rig rig;
  CHECK(rig.fault(R"({"subject":"alice","domain":"example.com"})") == "role");
  CHECK(rig.fault(R"({"subject":"alice","domain":"example.com","role":"owner"})") == "role");
  CHECK(rig.fault(R"({"subject":"alice","role":"viewer"})") == "domain");
  CHECK(rig.fault(R"({"subject":"alice","role":"viewer","domain":"a b"})") == "domain");
  CHECK(rig.fault(R"({"subject":"alice","role":"viewer","domain":5})") == "domain");
  CHECK(rig.fault(R"({"subject":"alice","role":"viewer","scope":"all"})") == "scope");
  CHECK(rig.fault(R"({"subject":"nobody","role":"viewer","scope":"global"})") == "subject");
  CHECK(rig.fault(R"({"role":"viewer","scope":"global"})") == "subject");
  CHECK(rig.fault(R"({"subjectType":"group","subject":"x","role":"viewer","scope":"global"})") ==
        "subjectType");
  CHECK(rig.run(add_permission).status == 422);
  CHECK(rig.run(list_permissions).list_at("results").size() == 1);
}

TEST_CASE("permission routes: one that is changed leaves nothing of the old one behind") {
  Rig rig;
  REQUIRE(rig.run(add_permission, {}, alice_manages).status == 200);
  const std::string id = "user:alice:domain:example.com";
  const ApiAnswer role = rig.run(change_permission, {id}, R"({"role":"viewer"})");
  CHECK(role.status == 200);
  CHECK(role.text_at("id") == id);
  CHECK(rig.role("alice", "example.com") == auth::Role::viewer);

  const ApiAnswer moved =
      rig.run(change_permission, {id}, R"({"subject":"bob","domain":"example.org"})");
  CHECK(moved.status == 200);
  CHECK(moved.text_at("id") == "user:bob:domain:example.org");
  CHECK(rig.role("alice", "example.com") == auth::Role::none);
  CHECK(rig.role("bob", "example.org") == auth::Role::viewer);
  CHECK(rig.last_change() == "permission.update proxy_Permission_user:bob:domain:example.org");
  const ApiAnswer none = rig.run(change_permission, {id}, R"({"role":"viewer"})");
  CHECK(none.status == 404);
  CHECK(none.text_at("name") == "EntryNotFound");
}

TEST_CASE("permission routes: one that is taken away counts no more") {
  Rig rig;
  REQUIRE(rig.run(add_permission, {}, alice_manages).status == 200);
  const std::string id = "user:alice:domain:example.com";
  const ApiAnswer gone = rig.run(remove_permission, {id});
  CHECK(gone.text == R"({"message":"Permission user:alice:domain:example.com removed."})");
  CHECK(rig.role("alice", "example.com") == auth::Role::none);
  CHECK(rig.last_change() == "permission.remove proxy_Permission_user:alice:domain:example.com");
  CHECK(rig.run(remove_permission, {id}).status == 404);
}

TEST_CASE("permission routes: the last administrator is not demoted") {
  Rig rig;
  REQUIRE(rig.run(add_permission, {}, R"({"subject":"alice","scope":"global","role":"admin"})")
              .status == 200);
  REQUIRE(rig.accounts.set_disabled("admin", true, "alice", soon()));
  const ApiAnswer answer = rig.run(remove_permission, {"user:alice:global:*"});
  CHECK(answer.status == 403);
  CHECK(answer.text_at("name") == "Forbidden");
  CHECK(rig.run(change_permission, {"user:alice:global:*"}, R"({"role":"viewer"})").status == 403);
}

TEST_CASE("permission routes: who can be given a role") {
  Rig rig;
  CHECK(rig.run(list_subjects).text == R"({"users":["admin","alice","bob"],"groups":[]})");
  REQUIRE(rig.accounts.permissions().put(
      {.subject_type = "group", .subject = "ops", .grant = {.role = auth::Role::viewer}}, soon()));
  CHECK(rig.run(list_subjects).text == R"({"users":["admin","alice","bob"],"groups":["ops"]})");
}

TEST_CASE("permission routes: an installation that never gave one says that it is open") {
  EndpointRig rig;
  const ApiAnswer all = rig.run(list_permissions);
  CHECK(*all.at("open").boolean());
  CHECK(all.list_at("results").empty());
}
