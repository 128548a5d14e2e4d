#include "admin/user_routes.h"

#include "auth/secret.h"
#include "auth/sessions.h"
#include "host/keys.h"
#include "support/endpoint_rig.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::admin;
using test::ApiAnswer;
using test::EndpointRig;

namespace {

constexpr std::string_view good = "a good password";
const std::string denied_words =
    R"({"name":"LoginFailed","message":"Invalid Credentials, login failed."})";

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

std::string object(std::string_view name, std::string_view value) {
  return std::string("{\"").append(name).append("\":\"").append(value).append("\"}");
}
std::string log_in_of(std::string_view user, std::string_view password,
                      std::string_view more = {}) {
  return std::string(R"({"username":")")
      .append(user)
      .append(R"(","password":")")
      .append(password)
      .append("\"")
      .append(more)
      .append("}");
}

// `admin`, and alice who is an administrator, as the rig's caller.
struct Rig : EndpointRig {
  Rig() {
    REQUIRE(accounts.begin("", soon()));
    REQUIRE(accounts.create_user("alice", good, "admin", soon()));
    REQUIRE(accounts.grant({.subject = "alice", .grant = {.role = auth::Role::admin}}, soon()));
  }
  // As who the token is.
  void come_with(const std::string& token, auth::How how = auth::How::session) {
    credential = token;
    const auto who = accounts.caller_of(token, how, soon());
    REQUIRE(who);
    caller = *who;
  }
  std::string token_of(std::string_view user) {
    return run(log_in, {}, log_in_of(user, good)).text_at("token");
  }
  bool is_let_in(const std::string& token) {
    return accounts.caller_of(token, auth::How::session, soon()).has_value();
  }
  AuditEntry last() {
    const auto entries = changes.list("", 1, soon());
    REQUIRE(entries);
    REQUIRE(!entries->empty());
    return entries->front();
  }
};

}  // namespace

TEST_CASE("user routes: a log-in answers what old clients know") {
  Rig rig;
  const ApiAnswer answer = rig.run(log_in, {}, log_in_of("alice", good));
  CHECK(answer.status == 200);
  CHECK(*answer.at("login").boolean());
  CHECK(answer.text_at("message") == "alice logged in!");
  CHECK(answer.text_at("token").size() == 36);
  CHECK(answer.cookie.empty());
  CHECK(rig.is_let_in(answer.text_at("token")));
  CHECK(rig.last().what == "auth.login");
  CHECK(rig.last().who == "alice");
}

TEST_CASE("user routes: with a cookie the token is not shown") {
  Rig rig;
  rig.config.admin.token_ttl = Millis{60'000};
  const ApiAnswer answer = rig.run(log_in, {}, log_in_of("alice", good, R"(,"cookie":true)"));
  CHECK(answer.status == 200);
  CHECK(answer.text.find("token") == std::string::npos);
  const std::size_t from = answer.cookie.find('=') + 1;
  const std::string token = answer.cookie.substr(from, 36);
  CHECK(answer.cookie == "session=" + token + "; Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
  CHECK(answer.text_at("csrf") == auth::csrf_of(token));
  CHECK(rig.is_let_in(token));
  rig.request.tls = true;
  CHECK(rig.run(log_in, {}, log_in_of("alice", good, R"(,"cookie":true)"))
            .cookie.starts_with("__Host-session="));
}

TEST_CASE("user routes: whatever is wrong or missing, a log-in fails alike") {
  Rig rig;
  for (const std::string& body :
       {log_in_of("alice", "wrong"), log_in_of("nobody", "wrong"), log_in_of("", ""),
        std::string("{}"), std::string{}, std::string(R"({"username":1,"password":[]})")}) {
    CAPTURE(body);
    rig.request.client_address = "192.0.2." + std::to_string(body.size());
    const ApiAnswer answer = rig.run(log_in, {}, body);
    CHECK(answer.status == 401);
    CHECK(answer.text == denied_words);
  }
}

TEST_CASE("user routes: who tries too often is told when to try again") {
  Rig rig;
  for (int i = 0; i < 5; ++i) CHECK(rig.run(log_in, {}, log_in_of("bob", "x")).status == 401);
  const ApiAnswer answer = rig.run(log_in, {}, log_in_of("bob", "x"));
  CHECK(answer.status == 429);
  CHECK(answer.text_at("name") == "TooManyRequests");
}

TEST_CASE("user routes: logging out ends the session, and says the same to everybody") {
  Rig rig;
  const std::string bye = R"({"message":"Bye"})";
  const std::string token = rig.token_of("alice");
  rig.come_with(token);
  CHECK(rig.run(log_out).text == bye);
  CHECK_FALSE(rig.is_let_in(token));
  CHECK(rig.last().what == "auth.logout");

  const std::string other = rig.token_of("alice");
  rig.come_with(other, auth::How::cookie);
  CHECK(rig.run(log_out).status == 403);
  CHECK(rig.is_let_in(other));
  rig.request.method = "POST";
  CHECK(rig.run(log_out).cookie == "session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
  CHECK_FALSE(rig.is_let_in(other));

  const auto made = rig.accounts.api_tokens().create({.name = "x", .owner = "alice"}, soon());
  rig.come_with(made->secret);
  CHECK(rig.run(log_out).text == bye);
  CHECK(rig.is_let_in(made->secret));
  rig.caller = {};
  CHECK(rig.run(log_out).text == bye);
}

TEST_CASE("user routes: a session says who the caller is") {
  Rig rig;
  REQUIRE(rig.accounts.create_user("bob", good, "admin", soon()));
  REQUIRE(rig.accounts.grant(
      {.subject = "bob", .grant = {.role = auth::Role::viewer, .domain = "example.com"}}, soon()));
  const std::string token = rig.token_of("bob");
  rig.come_with(token, auth::How::cookie);
  const ApiAnswer answer = rig.run(show_session);
  CHECK(answer.status == 200);
  CHECK(answer.text_at("username") == "bob");
  CHECK_FALSE(*answer.at("admin").boolean());
  CHECK_FALSE(*answer.at("open").boolean());
  CHECK_FALSE(*answer.at("password_expired").boolean());
  CHECK(answer.text_at("csrf") == auth::csrf_of(token));
  REQUIRE(answer.list_at("grants").size() == 1);
  CHECK(*answer.list_at("grants")[0].text("role") == "viewer");
  CHECK(*answer.list_at("grants")[0].text("domain") == "example.com");
  CHECK(*answer.at("ends").integer() == rig.now_ms + 43'200'000);
  rig.come_with(token);
  CHECK(rig.run(show_session).text.find("csrf") == std::string::npos);
}

TEST_CASE("user routes: me is what later versions of the old software answer") {
  Rig rig;
  rig.caller.user = "alice";
  const ApiAnswer admin = rig.run(show_me);
  CHECK(admin.text_at("username") == "alice");
  CHECK(*admin.at("isAdmin").boolean());
  CHECK(admin.text_at("global") == "admin");

  REQUIRE(rig.accounts.create_user("bob", good, "admin", soon()));
  rig.caller = EndpointRig::somebody(auth::Role::manager, "example.com");
  const ApiAnswer bob = rig.run(show_me);
  CHECK_FALSE(*bob.at("isAdmin").boolean());
  CHECK(bob.at("global").kind() == base::json::Value::Kind::null);
  CHECK(*bob.at("domains").text("example.com") == "manager");
  CHECK(bob.list_at("groups").empty());
}

TEST_CASE("user routes: users are listed by name, or as records without password") {
  Rig rig;
  CHECK(rig.run(list_users).text == R"({"results":["admin","alice"]})");
  const ApiAnswer detail = rig.run(list_users, {}, {}, "detail=1");
  REQUIRE(detail.list_at("results").size() == 2);
  const auto& alice = detail.list_at("results")[1];
  CHECK(*alice.text("username") == "alice");
  CHECK(*alice.text("backing") == "redis");
  CHECK(*alice.text("created_by") == "admin");
  CHECK_FALSE(*alice.boolean("disabled"));
  CHECK(alice.text("created_on"));
  CHECK(detail.text.find("password") == std::string::npos);
  CHECK(detail.text.find("$2b$") == std::string::npos);
}

TEST_CASE("user routes: one user is shown with a tag, which changes with the record") {
  Rig rig;
  const ApiAnswer shown = rig.run(show_user, {"alice"});
  CHECK(shown.status == 200);
  CHECK(shown.text_at("item") == "alice");
  CHECK(shown.text_at("results", "username") == "alice");
  CHECK(rig.run(show_user, {"alice"}).etag == shown.etag);
  REQUIRE(rig.accounts.set_password("alice", "another password", "admin", "", soon()));
  CHECK(rig.run(show_user, {"alice"}).etag != shown.etag);
  const ApiAnswer none = rig.run(show_user, {"nobody"});
  CHECK(none.status == 404);
  CHECK(none.text == R"({"name":"EntryNotFound","message":"User:nobody does not exists"})");
  CHECK(rig.run(show_user, {std::string(5000, 'x')}).status == 404);
}

TEST_CASE("user routes: a user that is added can log in, once it has a good password") {
  Rig rig;
  const ApiAnswer added = rig.run(add_user, {}, log_in_of("bob", good));
  CHECK(added.status == 200);
  CHECK(added.text_at("message") == "\"bob\" added.");
  CHECK(added.text_at("username") == "bob");
  CHECK(added.text_at("created_by") == "alice");
  CHECK(added.text.find("$2b$") == std::string::npos);
  CHECK(rig.run(log_in, {}, log_in_of("bob", good)).status == 200);
  const auto entries = rig.changes.list("", 2, soon());
  CHECK((*entries)[1].what == "user.create");
  CHECK((*entries)[1].key == "proxy_User_bob");
  CHECK((*entries)[1].changes.find("$2b$") == std::string::npos);

  const auto fault = [&](const std::string& body) {
    const ApiAnswer answer = rig.run(add_user, {}, body);
    CHECK(answer.status == 422);
    CHECK(answer.text_at("name") == "ObjectValidateError");
    return answer.list_at("message").empty()
               ? std::string{}
               : std::string(*answer.list_at("message")[0].text("key"));
  };
  CHECK(fault(log_in_of("carol", "short")) == "password");
  CHECK(fault(log_in_of("a b", good)) == "username");
  CHECK(fault(object("username", "carol")) == "password");
  CHECK(fault(object("password", good)) == "username");
  CHECK(fault(R"({"username":"carol","password":12345678})") == "password");

  const ApiAnswer again = rig.run(add_user, {}, log_in_of("bob", good));
  CHECK(again.status == 409);
  CHECK(again.text_at("name") == "EntryNameUsed");
  CHECK(again.text_at("message") == "User:bob already exists");
}

TEST_CASE("user routes: a user that is disabled is out at once") {
  Rig rig;
  REQUIRE(rig.accounts.create_user("bob", good, "admin", soon()));
  const std::string token = rig.token_of("bob");
  CHECK(rig.is_let_in(token));
  const ApiAnswer changed = rig.run(change_user, {"bob"}, R"({"disabled":true})");
  CHECK(changed.status == 200);
  CHECK(*changed.at("results", "disabled").boolean());
  CHECK_FALSE(rig.is_let_in(token));
  CHECK(rig.last().what == "user.update");
  CHECK(rig.run(log_in, {}, log_in_of("bob", good)).status == 401);
  CHECK(rig.run(change_user, {"bob"}, R"({"disabled":false})").status == 200);
  CHECK(rig.run(log_in, {}, log_in_of("bob", good)).status == 200);
  CHECK(rig.run(change_user, {"bob"}, R"({"disabled":"yes"})").status == 422);
  CHECK(rig.run(change_user, {"bob"}, "{}").status == 422);
  CHECK(rig.run(change_user, {"nobody"}, R"({"disabled":true})").status == 404);
}

TEST_CASE("user routes: a user goes with all they had, the last administrator does not") {
  Rig rig;
  REQUIRE(rig.accounts.create_user("bob", good, "admin", soon()));
  const std::string token = rig.token_of("bob");
  const ApiAnswer removed = rig.run(remove_user, {"bob"});
  CHECK(removed.status == 200);
  CHECK(removed.text_at("username") == "bob");
  CHECK(removed.text_at("results", "username") == "bob");
  CHECK(removed.text.find("$2b$") == std::string::npos);
  CHECK_FALSE(rig.is_let_in(token));
  CHECK(rig.last().what == "user.remove");
  CHECK(rig.run(remove_user, {"bob"}).status == 404);

  CHECK(rig.run(remove_user, {"admin"}).status == 200);
  const ApiAnswer last = rig.run(remove_user, {"alice"});
  CHECK(last.status == 403);
  CHECK(last.text_at("name") == "Forbidden");
  CHECK(rig.run(change_user, {"alice"}, R"({"disabled":true})").status == 403);
}

TEST_CASE("user routes: what was changed meanwhile is not changed again unseen") {
  Rig rig;
  const std::string old = rig.run(show_user, {"admin"}).etag;
  REQUIRE(rig.accounts.set_password("admin", "another password", "admin", "", soon()));
  rig.request.fields = {{"If-Match", old}};
  CHECK(rig.run(remove_user, {"admin"}).status == 412);
  CHECK(rig.run(change_user, {"admin"}, R"({"disabled":true})").status == 412);
  CHECK(rig.run(set_password_of, {"admin"}, object("password", good)).status == 412);
  rig.request.fields = {{"If-Match", rig.run(show_user, {"admin"}).etag}};
  CHECK(rig.run(remove_user, {"admin"}).status == 200);
}

TEST_CASE("user routes: one's own password ends one's other sessions") {
  Rig rig;
  const std::string mine = rig.token_of("alice");
  const std::string other = rig.token_of("alice");
  rig.come_with(mine);
  const ApiAnswer answer =
      rig.run(set_own_password, {}, R"({"password":"another password","disabled":true})");
  CHECK(answer.status == 200);
  CHECK(answer.text_at("results", "username") == "alice");
  CHECK_FALSE(*answer.at("results", "disabled").boolean());
  CHECK(rig.is_let_in(mine));
  CHECK_FALSE(rig.is_let_in(other));
  CHECK(rig.last().what == "user.password");
  CHECK(rig.last().changes.find("$2b$") == std::string::npos);
  CHECK(rig.run(log_in, {}, log_in_of("alice", good)).status == 401);
  CHECK(rig.run(log_in, {}, log_in_of("alice", "another password")).status == 200);
  CHECK(rig.run(set_own_password, {}, object("password", "short")).status == 422);
  CHECK(rig.run(set_own_password, {}, "{}").status == 422);
  CHECK(rig.run(set_own_password).status == 422);
}

TEST_CASE("user routes: an API token sets no password of its owner") {
  Rig rig;
  const auto made = rig.accounts.api_tokens().create({.name = "x", .owner = "alice"}, soon());
  rig.come_with(made->secret);
  CHECK(rig.run(set_own_password, {}, object("password", "another password")).status == 403);
  CHECK(rig.run(set_password_of, {"alice"}, object("password", "another password")).status == 403);
}

TEST_CASE("user routes: an administrator sets the password of others") {
  Rig rig;
  REQUIRE(rig.accounts.create_user("bob", good, "admin", soon()));
  const std::string bobs = rig.token_of("bob");
  const std::string mine = rig.token_of("alice");
  rig.come_with(mine);
  CHECK(rig.run(set_password_of, {"bob"}, object("password", "another password")).status == 200);
  CHECK_FALSE(rig.is_let_in(bobs));
  CHECK(rig.run(log_in, {}, log_in_of("bob", "another password")).status == 200);
  CHECK(rig.run(set_password_of, {"nobody"}, object("password", good)).status == 404);
  // One's own session goes on.
  CHECK(rig.run(set_password_of, {"alice"}, object("password", "another password")).status == 200);
  CHECK(rig.is_let_in(mine));
}
