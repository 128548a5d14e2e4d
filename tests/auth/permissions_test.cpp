#include "auth/permissions.h"

#include "support/away_store.h"
#include "support/eventually.h"

#include <string>

#include <doctest/doctest.h>

namespace proxycore::auth {

namespace {
Deadline soon() {
  return Deadline::in(Millis{10'000});
}

// As later versions of the old software write it.
Record row() {
  return {{"created_by", "admin"},
          {"created_on", "1795390271243"},
          {"id", "user:alice:domain:example.com"},
          {"subjectType", "user"},
          {"subject", "alice"},
          {"scope", "domain"},
          {"domain", "example.com"},
          {"role", "manager"}};
}

std::string refusal(std::string_view field, std::string_view value) {
  Record record = row();
  record[std::string(field)] = value;
  const auto read = permission_from(record);
  return read ? "" : read.error().detail;
}
}  // namespace

TEST_CASE("permissions: a row is read, and written the same") {
  const auto permission = permission_from(row());
  REQUIRE(permission);
  CHECK(permission->subject_type == "user");
  CHECK(permission->subject == "alice");
  CHECK(permission->grant == Grant{Role::manager, "example.com"});
  CHECK(permission->created_by == "admin");
  CHECK(permission->created_on == 1795390271243);
  CHECK(permission->id() == "user:alice:domain:example.com");
  CHECK(record_of(*permission) == row());
}

TEST_CASE("permissions: a global one is for every domain") {
  Record record = row();
  record["scope"] = "global";
  record["domain"] = "*";
  record["id"] = "user:alice:global:*";
  const auto permission = permission_from(record);
  REQUIRE(permission);
  CHECK(permission->grant == Grant{Role::manager, ""});
  CHECK(permission->id() == "user:alice:global:*");
  CHECK(record_of(*permission) == record);
}

TEST_CASE("permissions: an error names the field") {
  CHECK(refusal("role", "owner") == "field 'role': expected 'viewer', 'manager' or 'admin'");
  CHECK(refusal("role", "none") == "field 'role': expected 'viewer', 'manager' or 'admin'");
  CHECK(refusal("subjectType", "robot") == "field 'subjectType': expected 'user' or 'group'");
  CHECK(refusal("subject", "") == "field 'subject': is empty");
  CHECK(refusal("scope", "all") == "field 'scope': expected 'global' or 'domain'");
  CHECK(refusal("domain", "") == "field 'domain': is missing");
  Record record = row();
  record.erase("role");
  CHECK(permission_from(record).error().code == Errc::invalid);
}

TEST_CASE("permissions: rows that cannot be read are left out, but counted") {
  const auto store = open_memory();
  Permissions permissions(*store);
  CHECK((*permissions.all(soon()))->empty);
  Record broken = row();
  broken["role"] = "owner";
  REQUIRE(store->put("proxy_Permission_user:alice:domain:example.com", broken, {}, soon()));
  Record elsewhere = row();
  REQUIRE(store->put("proxy_Permission_user:bob:domain:example.com", elsewhere, {}, soon()));
  CHECK(test::eventually([&] { return !(*permissions.all(soon()))->empty; }));
  CHECK((*permissions.all(soon()))->rows().empty());
}

TEST_CASE("permissions: what is put and removed is seen at once") {
  const auto store = open_memory();
  Permissions permissions(*store);
  const Permission permission{.subject = "alice", .grant = {Role::viewer, "example.com"}};
  CHECK((*permissions.all(soon()))->rows().empty());
  REQUIRE(permissions.put(permission, soon()));
  const auto all = permissions.all(soon());
  REQUIRE((*all)->rows().size() == 1);
  CHECK((*all)->rows().front().grant == permission.grant);
  CHECK(store->get("proxy_Permission_user:alice:domain:example.com", soon())->at("role") ==
        "viewer");
  CHECK(*permissions.remove(permission.id(), soon()));
  CHECK_FALSE(*permissions.remove(permission.id(), soon()));
  CHECK((*permissions.all(soon()))->empty);
}

TEST_CASE("permissions: those of a user are found by the name, and no group's") {
  Permissions::Table table;
  CHECK(table.empty);
  CHECK(table.grants_of("alice").empty());
  table.add({.subject = "alice", .grant = {Role::viewer, "example.com"}});
  table.add({.subject = "bob", .grant = {Role::admin}});
  table.add({.subject_type = "group", .subject = "alice", .grant = {Role::admin}});
  table.add({.subject = "alice", .grant = {Role::manager, "example.net"}});
  CHECK_FALSE(table.empty);
  CHECK(table.rows().size() == 4);
  CHECK(table.grants_of("alice") ==
        std::vector<Grant>{{Role::viewer, "example.com"}, {Role::manager, "example.net"}});
  CHECK(table.grants_of("bob") == std::vector<Grant>{{Role::admin}});
  CHECK(table.grants_of("carol").empty());
}

TEST_CASE("permissions: what other processes write is seen, too") {
  const auto store = open_memory();
  Permissions permissions(*store);
  CHECK((*permissions.all(soon()))->empty);
  REQUIRE(store->put("proxy_Permission_user:alice:domain:example.com", row(), {}, soon()));
  CHECK(test::eventually([&] { return (*permissions.all(soon()))->rows().size() == 1; }));
}

TEST_CASE("permissions: reads come from memory while the store is away") {
  test::AwayStore store;
  REQUIRE(store.put("proxy_Permission_user:alice:domain:example.com", row(), {}, soon()));
  Permissions permissions(store);
  REQUIRE(permissions.all(soon()));
  store.away = true;
  CHECK((*permissions.all(soon()))->rows().size() == 1);
  store.tell("proxy_Permission_user:alice:domain:example.com");
  CHECK(permissions.all(soon()).error().code == Errc::closed);
}

}  // namespace proxycore::auth
