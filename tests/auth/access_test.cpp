#include "auth/access.h"

#include <string>

#include <doctest/doctest.h>

namespace proxycore::auth {

TEST_CASE("access: roles have names") {
  for (const Role role : {Role::viewer, Role::manager, Role::admin}) {
    CHECK(role_from(name_of(role)) == role);
  }
  CHECK(name_of(Role::none) == "none");
  CHECK_FALSE(role_from("none"));
  CHECK_FALSE(role_from("Admin"));
  CHECK_FALSE(role_from(""));
}

TEST_CASE("access: which names a pattern covers") {
  struct Row {
    std::string_view pattern;
    std::string_view name;
    bool covered;
  };
  constexpr Row rows[] = {
      // A plain domain covers its subdomains.
      {"example.com", "example.com", true},
      {"example.com", "www.example.com", true},
      {"example.com", "a.b.example.com", true},
      {"example.com", "EXAMPLE.com", true},
      {"Example.Com", "www.example.com", true},
      {"example.com", "badexample.com", false},
      {"example.com", "example.com.evil.com", false},
      {"example.com", "com", false},
      {"www.example.com", "example.com", false},
      // One label, any number of them.
      {"*.example.com", "www.example.com", true},
      {"*.example.com", "example.com", false},
      {"*.example.com", "a.b.example.com", false},
      {"*", "localhost", true},
      {"*", "example.com", false},
      {"**.example.com", "example.com", true},
      {"**.example.com", "a.b.c.example.com", true},
      {"**.example.com", "example.org", false},
      {"**", "anything.at.all", true},
      {"api.*.example.com", "api.v1.example.com", true},
      {"api.*.example.com", "web.v1.example.com", false},
      {"api.**.com", "api.com", true},
      {"api.**.com", "api.a.b.com", true},
      {"info.**", "info", true},
      {"info.**", "info.example.com", true},
      // There is more than one way for `**`.
      {"**.a.*.com", "a.a.b.com", true},
      {"**.a.b", "a.b.a.b", true},
      {"**.a.**.b", "x.a.y.a.z.b", true},
      {"**.a.**.b", "x.y.z.b", false},
      // Names that are patterns themselves: all that they can stand for has to be covered.
      {"example.com", "*.example.com", true},
      {"example.com", "**.example.com", true},
      {"*.example.com", "*.example.com", true},
      {"*.example.com", "**.example.com", false},
      {"**.example.com", "**.example.com", true},
      {"www.example.com", "*.example.com", false},
      {"*.com", "**.com", false},
      {"example.com", "**", false},
      {"example.com", "*.com", false},
      {"**", "**", true},
      {"", "example.com", false},
      {"example.com", "", false},
      {"**", "", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.pattern);
    CAPTURE(row.name);
    CHECK(covers(row.pattern, row.name) == row.covered);
  }
}

TEST_CASE("access: a pattern of many ** takes no time") {
  std::string pattern;
  std::string name;
  for (int i = 0; i < 30; ++i) pattern += "**.a.";
  for (int i = 0; i < 120; ++i) name += "a.";
  CHECK_FALSE(covers(pattern + "c", name + "b"));
  CHECK(covers(pattern + "b", name + "b"));
}

TEST_CASE("access: the highest role of all grants that cover a host counts") {
  const Caller caller{.user = "alice",
                      .grants = {{Role::viewer, ""},
                                 {Role::manager, "example.com"},
                                 {Role::viewer, "www.example.com"},
                                 {Role::admin, "own.test"}}};
  CHECK(role_for(caller, "www.example.com") == Role::manager);
  CHECK(role_for(caller, "a.own.test") == Role::admin);
  CHECK(role_for(caller, "other.test") == Role::viewer);
  CHECK(role_everywhere(caller) == Role::viewer);
  CHECK(role_anywhere(caller) == Role::admin);
}

TEST_CASE("access: nobody may do nothing, an administrator everything") {
  CHECK(role_for({}, "example.com") == Role::none);
  CHECK(role_anywhere({}) == Role::none);
  const Caller admin{.user = "admin", .admin = true};
  CHECK(role_for(admin, "example.com") == Role::admin);
  CHECK(role_everywhere(admin) == Role::admin);
  CHECK(role_anywhere(admin) == Role::admin);
}

TEST_CASE("access: an API token may do no more than it was limited to") {
  Caller caller{.user = "alice",
                .grants = {{Role::manager, "example.com"}},
                .how = How::token,
                .at_most = Role::viewer};
  CHECK(role_for(caller, "example.com") == Role::viewer);
  CHECK(role_for(caller, "example.org") == Role::none);
  caller.admin = true;
  CHECK(role_for(caller, "example.org") == Role::viewer);
  CHECK(role_anywhere(caller) == Role::viewer);
}

TEST_CASE("access: a grant for ** is one for everything, one for * is not") {
  CHECK(role_everywhere({.grants = {{Role::manager, "**"}}}) == Role::manager);
  CHECK(role_everywhere({.grants = {{Role::manager, "*"}}}) == Role::none);
}

}  // namespace proxycore::auth
