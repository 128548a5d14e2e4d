// Credentials: where in a request the caller's token is, and the pages' cookie with its guard.
//
// Scripts send a header: "auth-token: <token>", as old clients do, or "Authorization: Bearer
// <token>". Pages have a cookie that no script reads and no other site's request carries; with it
// everything but GET and HEAD has to bring X-CSRF-Token as well. Not here: whose token it is
// (auth/). Source: RFC 6265, RFC 6750. Thread: functions, any.
#pragma once

#include "auth/access.h"
#include <proxycore/deadline.h>
#include <proxycore/handler.h>

#include <optional>
#include <string>
#include <string_view>

namespace proxycore::admin {

struct Credential {
  auth::How how;           // cookie, or what it has to turn out to be
  std::string_view token;  // lies in the request
};

// auth-token, else Authorization, else the cookie; nullopt: none.
std::optional<Credential> credential_of(const Request& request);

// Whether X-CSRF-Token is what auth::csrf_of says, or need not be.
bool passes_csrf(const Request& request, const Credential& credential);

// Set-Cookie, for the request's scheme: to begin, and to end.
std::string session_cookie(const Request& request, std::string_view token, Seconds lives);
std::string no_session_cookie(const Request& request);

}  // namespace proxycore::admin
