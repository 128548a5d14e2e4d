// Who may do what: roles, the grants that give them, and the caller who has them. Pure.
//
// A grant gives a role everywhere or for the domains of a pattern: a plain domain covers its
// subdomains too; in a pattern `*` is one label and `**` any number, none included. An
// administrator may do everything. Not here: where grants are kept (permissions.h), who somebody
// is (accounts.h). Source: the design's compatibility notes, 5.3 and 7. Thread: values, any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::auth {

// In ascending order: each may do what the ones before may.
enum class Role : std::uint8_t { none, viewer, manager, admin };

// "viewer", "manager", "admin"; "none".
std::string_view name_of(Role role) noexcept;
// nullopt: no such role; "none" is none.
std::optional<Role> role_from(std::string_view name) noexcept;

struct Grant {
  Role role = Role::none;
  std::string domain = {};  // the pattern, lower case; empty: everywhere

  friend bool operator==(const Grant&, const Grant&) = default;
};

// Whether a grant's pattern covers a host name or, where `name` is a pattern itself, all that it
// can stand for. Letters of any case.
bool covers(std::string_view pattern, std::string_view name);

// How a caller has shown who they are.
enum class How : std::uint8_t {
  nobody,   // not at all
  session,  // the token of a log-in, in a header
  cookie,   // the same in a cookie: unsafe methods need the CSRF token
  token,    // an API token
};

struct Caller {
  std::string user = {};  // empty: nobody
  bool admin = false;
  std::vector<Grant> grants = {};
  How how = How::nobody;
  Role at_most = Role::admin;  // what an API token was limited to
  std::string id = {};         // of the session or API token, no secret; changes with every log-in
  std::int64_t ends_ms = 0;    // of the session or API token, since 1970; 0: never
  // Has logged in with a one-time password: may do nothing but set one of their own.
  bool password_expired = false;
};

// What the caller may do with that host; `none` if nothing.
Role role_for(const Caller& caller, std::string_view host);
// What the caller may do with every host.
Role role_everywhere(const Caller& caller);
// The highest role that the caller has for any host.
Role role_anywhere(const Caller& caller);

}  // namespace proxycore::auth
