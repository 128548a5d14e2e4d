#include "admin/credentials.h"

#include "auth/sessions.h"

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

Request with(std::vector<std::pair<std::string, std::string>> fields) {
  Request request;
  request.method = "POST";
  request.fields = std::move(fields);
  return request;
}

}  // namespace

TEST_CASE("credentials: a header token comes before a bearer, a bearer before the cookie") {
  Request request = with({{"Cookie", "a=b; session=from-cookie"}});
  auto found = credential_of(request);
  REQUIRE(found);
  CHECK(found->token == "from-cookie");
  CHECK(found->how == auth::How::cookie);
  request.fields.emplace_back("Authorization", "bearer  from-bearer");
  found = credential_of(request);
  REQUIRE(found);
  CHECK(found->token == "from-bearer");
  CHECK(found->how == auth::How::session);
  request.fields.emplace_back("AUTH-TOKEN", " from-header ");
  found = credential_of(request);
  REQUIRE(found);
  CHECK(found->token == "from-header");
  CHECK(found->how == auth::How::session);
}

TEST_CASE("credentials: without any there is none, and other schemes are none") {
  CHECK_FALSE(credential_of(with({})));
  CHECK_FALSE(credential_of(with({{"Authorization", "Basic YTpi"}})));
  CHECK_FALSE(credential_of(with({{"Cookie", "session2=x; sessio=y; session"}})));
}

TEST_CASE("credentials: over TLS only the cookie that is bound to TLS and host counts") {
  Request request = with({{"Cookie", "session=plain; __Host-session=bound"}});
  CHECK(credential_of(request)->token == "plain");
  request.tls = true;
  CHECK(credential_of(request)->token == "bound");
  CHECK(session_cookie(request, "t", Seconds{60}) ==
        "__Host-session=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure");
  request.tls = false;
  CHECK(session_cookie(request, "t", Seconds{60}) ==
        "session=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
  CHECK(no_session_cookie(request) == "session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
}

TEST_CASE("credentials: with the cookie, what changes something needs the guard") {
  Request request = with({{"Cookie", "session=t"}});
  const Credential cookie{auth::How::cookie, "t"};
  CHECK_FALSE(passes_csrf(request, cookie));
  request.fields.emplace_back("X-CSRF-Token", "wrong");
  CHECK_FALSE(passes_csrf(request, cookie));
  request.fields.back().second = auth::csrf_of("t");
  CHECK(passes_csrf(request, cookie));
  request.fields.pop_back();
  CHECK(passes_csrf(request, {auth::How::session, "t"}));
  request.method = "HEAD";
  CHECK(passes_csrf(request, cookie));
}

}  // namespace proxycore::admin
