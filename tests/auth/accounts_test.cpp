#include "auth/accounts.h"

#include "auth/password.h"
#include "support/away_store.h"
#include "support/eventually.h"
#include "support/golden.h"
#include "support/temp_dir.h"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::auth {

namespace {
Deadline soon() {
  return Deadline::in(Millis{20'000});
}

constexpr std::string_view alices = "669f57a5-47bd-4dbf-bea8-437f99f8a345";
constexpr std::string_view here = "192.0.2.1";
constexpr std::string_view good = "a good password";

struct Rig {
  test::AwayStore store;
  std::int64_t now = 1'800'000'000'000;
  Accounts accounts{store, {.bcrypt_cost = min_cost, .now_ms = [this] { return now; }}};

  // A new installation: `admin`, and alice who may do nothing.
  void begin() {
    REQUIRE(accounts.begin("", soon()));
    REQUIRE(accounts.create_user("alice", good, "admin", soon()));
  }
  std::string log_in(std::string_view user, std::string_view password) {
    const auto token = accounts.log_in(user, password, here, soon());
    return token ? *token : std::string{};
  }
  Errc refusal(std::string_view user, std::string_view password) {
    const auto token = accounts.log_in(user, password, here, soon());
    REQUIRE_FALSE(token);
    return token.error().code;
  }
  Caller caller(std::string_view credential) {
    const auto caller = accounts.caller_of(credential, How::session, soon());
    REQUIRE(caller);
    return *caller;
  }
  bool is_let_in(std::string_view credential) {
    return accounts.caller_of(credential, How::session, soon()).has_value();
  }
};

Permission permission(std::string_view user, Role role, std::string_view domain = {}) {
  return {.subject = std::string(user), .grant = {role, std::string(domain)}};
}

template <class T>
Errc code(const Result<T>& result) {
  REQUIRE_FALSE(result);
  return result.error().code;
}
template <class T>
std::string detail(const Result<T>& result) {
  REQUIRE_FALSE(result);
  return result.error().detail;
}
}  // namespace

TEST_CASE("accounts: the first start makes an administrator with a password told once") {
  Rig rig;
  const auto told = rig.accounts.begin("", soon());
  REQUIRE(told);
  REQUIRE(told->has_value());
  CHECK((*told)->size() == 24);
  const std::string token = rig.log_in("admin", **told);
  REQUIRE_FALSE(token.empty());
  CHECK(rig.caller(token).admin);
  CHECK(rig.caller(token).grants == std::vector<Grant>{{Role::admin, ""}});
  CHECK(rig.accounts.user("admin", soon())->password_expired);
  CHECK_FALSE(*rig.accounts.is_open(soon()));
  // Once.
  CHECK_FALSE(rig.accounts.begin("", soon())->has_value());
  const auto keys = rig.store.keys("", soon());
  for (const std::string& key : *keys) {
    const auto record = rig.store.get(key, soon());
    for (const auto& [name, value] : *record) {
      CHECK(value.find(**told) == std::string::npos);
    }
  }
}

TEST_CASE("accounts: the first password may come from a file") {
  const test::TempDir dir;
  const std::string path = dir.path() + "/password";
  std::ofstream(path) << good << "\n";
  Rig rig;
  const auto told = rig.accounts.begin(path, soon());
  REQUIRE(told);
  CHECK_FALSE(told->has_value());
  CHECK_FALSE(rig.log_in("admin", good).empty());
  CHECK_FALSE(rig.accounts.user("admin", soon())->password_expired);

  Rig weak;
  std::ofstream(path) << "short\n";
  CHECK(detail(weak.accounts.begin(path, soon())) ==
        path + ": field 'password': expected at least 8 characters");
  CHECK(weak.accounts.users(soon())->empty());
  CHECK(detail(weak.accounts.begin(path + "x", soon())).starts_with("admin.initial_password_file"));
}

TEST_CASE("accounts: users of the old software log in, and their sessions count") {
  Rig rig;
  test::load_golden(rig.store);
  CHECK_FALSE(rig.accounts.begin("", soon())->has_value());
  CHECK_FALSE(rig.log_in("proxyadmin2", "proxyadmin2").empty());
  CHECK_FALSE(rig.log_in("alice", "alicepass").empty());
  CHECK_FALSE(rig.log_in("bob", "bob-secret").empty());
  CHECK(rig.refusal("bob", "bob-Secret") == Errc::denied);
  CHECK(rig.caller(alices).user == "alice");
}

TEST_CASE("accounts: without any permission row everybody is an administrator, until the first") {
  Rig rig;
  test::load_golden(rig.store);
  CHECK(*rig.accounts.is_open(soon()));
  CHECK(rig.caller(alices).admin);
  CHECK(rig.caller(alices).grants == std::vector<Grant>{{Role::admin, ""}});
  REQUIRE(rig.accounts.grant(permission("bob", Role::viewer, "example.com"), soon()));
  CHECK_FALSE(*rig.accounts.is_open(soon()));
  CHECK_FALSE(rig.caller(alices).admin);
  CHECK(role_for(rig.caller(alices), "example.com") == Role::none);
  CHECK(rig.caller(rig.log_in("proxyadmin2", "proxyadmin2")).admin);
  CHECK(role_for(rig.caller(rig.log_in("bob", "bob-secret")), "www.example.com") == Role::viewer);
  // Taking it away again does not open everything.
  REQUIRE(rig.accounts.revoke("user:bob:domain:example.com", soon()));
  CHECK_FALSE(*rig.accounts.is_open(soon()));
  CHECK_FALSE(rig.caller(alices).admin);
}

TEST_CASE("accounts: whatever is wrong with a log-in is refused in the same words") {
  Rig rig;
  rig.begin();
  const std::string words = "Invalid Credentials, login failed.";
  CHECK(detail(rig.accounts.log_in("alice", "wrong", here, soon())) == words);
  CHECK(detail(rig.accounts.log_in("nobody", "wrong", here, soon())) == words);
  CHECK(detail(rig.accounts.log_in("", "", here, soon())) == words);
  CHECK(detail(rig.accounts.log_in(std::string(5000, 'x'), good, "192.0.2.2", soon())) == words);
  REQUIRE(rig.accounts.set_disabled("alice", true, "admin", soon()));
  CHECK(detail(rig.accounts.log_in("alice", good, "192.0.2.2", soon())) == words);
  CHECK(detail(rig.accounts.caller_of("x", How::session, soon())) == words);
  CHECK(detail(rig.accounts.caller_of("prx_x", How::session, soon())) == words);
}

TEST_CASE("accounts: who fails too often has to wait, right or wrong") {
  Rig rig;
  rig.begin();
  for (int i = 0; i < 5; ++i) CHECK(rig.refusal("alice", "wrong") == Errc::denied);
  const auto refused = rig.accounts.log_in("alice", good, here, soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::busy);
  CHECK(refused.error().retry_after_s == 1);
}

TEST_CASE("accounts: a store that is away is no wrong password") {
  Rig rig;
  rig.begin();
  const std::string token = rig.log_in("alice", good);
  rig.store.away = true;
  CHECK(rig.refusal("alice", good) == Errc::closed);
  CHECK(code(rig.accounts.caller_of(token, How::session, soon())) == Errc::closed);
}

TEST_CASE("accounts: a caller is known from memory while the store is away") {
  Rig rig;
  rig.begin();
  const std::string token = rig.log_in("alice", good);
  // As soon as the store has told of all that was written.
  CHECK(test::eventually([&] {
    rig.store.away = false;
    CHECK(rig.caller(token).user == "alice");
    rig.store.away = true;
    return rig.is_let_in(token);
  }));
}

TEST_CASE("accounts: how a caller came is part of who they are") {
  Rig rig;
  rig.begin();
  const std::string token = rig.log_in("alice", good);
  const auto made = rig.accounts.api_tokens().create(
      {.name = "x", .owner = "admin", .at_most = Role::viewer}, soon());
  CHECK(rig.caller(token).how == How::session);
  CHECK(rig.caller(token).ends_ms == rig.now + 43'200'000);
  CHECK(rig.accounts.caller_of(token, How::cookie, soon())->how == How::cookie);
  const Caller caller = rig.caller(made->secret);
  CHECK(caller.how == How::token);
  CHECK(caller.user == "admin");
  CHECK_FALSE(caller.admin);
  CHECK(role_for(caller, "example.com") == Role::viewer);
  CHECK(caller.id == made->token.id);
  // No page has one.
  CHECK_FALSE(rig.accounts.caller_of(made->secret, How::cookie, soon()));
}

TEST_CASE("accounts: logging out ends the session") {
  Rig rig;
  rig.begin();
  const std::string token = rig.log_in("alice", good);
  CHECK(rig.is_let_in(token));
  CHECK(*rig.accounts.log_out(token, soon()));
  CHECK_FALSE(rig.is_let_in(token));
  CHECK_FALSE(*rig.accounts.log_out(token, soon()));
}

TEST_CASE("accounts: a user who is disabled or removed is out at once") {
  Rig rig;
  rig.begin();
  Accounts elsewhere(rig.store.here(),
                     {.bcrypt_cost = min_cost, .now_ms = [&] { return rig.now; }});
  const auto made = rig.accounts.api_tokens().create({.name = "x", .owner = "alice"}, soon());
  const auto is_let_in_there = [&](std::string_view credential) {
    return elsewhere.caller_of(credential, How::session, soon()).has_value();
  };
  std::string token = rig.log_in("alice", good);
  CHECK(rig.is_let_in(token));
  CHECK(rig.is_let_in(made->secret));
  CHECK(is_let_in_there(token));
  CHECK(is_let_in_there(made->secret));

  REQUIRE(rig.accounts.set_disabled("alice", true, "admin", soon()));
  CHECK_FALSE(rig.is_let_in(token));
  CHECK_FALSE(rig.is_let_in(made->secret));
  CHECK(test::eventually([&] { return !is_let_in_there(token); }));
  CHECK(test::eventually([&] { return !is_let_in_there(made->secret); }));
  CHECK(rig.accounts.user("alice", soon())->disabled);

  REQUIRE(rig.accounts.set_disabled("alice", false, "admin", soon()));
  CHECK(rig.is_let_in(made->secret));
  token = rig.log_in("alice", good);
  CHECK(rig.is_let_in(token));

  REQUIRE(rig.accounts.grant(permission("alice", Role::viewer), soon()));
  REQUIRE(rig.accounts.remove_user("alice", soon()));
  CHECK_FALSE(rig.is_let_in(token));
  CHECK_FALSE(rig.is_let_in(made->secret));
  CHECK(code(rig.accounts.user("alice", soon())) == Errc::not_found);
  // Nothing is left for the next of that name.
  CHECK(rig.accounts.api_tokens().list("alice", soon())->empty());
  REQUIRE(rig.accounts.create_user("alice", good, "admin", soon()));
  CHECK(role_anywhere(*rig.accounts.rights_of("alice", soon())) == Role::none);
}

TEST_CASE("accounts: a password of the old software's user that is gone counts no more") {
  Rig rig;
  test::load_golden(rig.store);
  CHECK(rig.is_let_in(alices));
  REQUIRE(rig.store.here().erase("proxy_User_alice", soon()));
  CHECK(test::eventually([&] { return !rig.is_let_in(alices); }));
}

TEST_CASE("accounts: a new password ends the user's other sessions") {
  Rig rig;
  rig.begin();
  const std::string mine = rig.log_in("alice", good);
  const std::string other = rig.log_in("alice", good);
  REQUIRE(
      rig.accounts.set_password("alice", "another password", "alice", rig.caller(mine).id, soon()));
  CHECK(rig.is_let_in(mine));
  CHECK_FALSE(rig.is_let_in(other));
  CHECK(rig.refusal("alice", good) == Errc::denied);
  CHECK_FALSE(rig.log_in("alice", "another password").empty());
  REQUIRE(rig.accounts.set_password("admin", good, "admin", "", soon()));
  CHECK_FALSE(rig.accounts.user("admin", soon())->password_expired);
  const auto user = rig.accounts.user("alice", soon());
  CHECK(user->written.updated_by == "alice");
  CHECK(user->written.created_by == "admin");
  CHECK(user->password.starts_with("$2b$04$"));
}

TEST_CASE("accounts: a log-in that a new password overtakes begins no session") {
  Rig rig;
  rig.begin();
  const std::string mine = rig.log_in("alice", good);
  bool changes = true;
  rig.store.before_write = [&]() -> Result<void> {
    // The old one has been verified: its session is about to be written.
    if (std::exchange(changes, false)) {
      CHECK(rig.accounts.set_password("alice", "another password", "admin", "", soon()));
    }
    return {};
  };
  CHECK(rig.refusal("alice", good) == Errc::denied);
  CHECK_FALSE(rig.is_let_in(mine));
  CHECK(rig.store.keys("proxy_AuthToken_", soon())->empty());
}

TEST_CASE("accounts: nobody inherits what a user of the same name had") {
  Rig rig;
  rig.begin();
  REQUIRE(rig.accounts.grant(permission("alice", Role::admin), soon()));
  const std::string token = rig.log_in("alice", good);
  const auto script = rig.accounts.api_tokens().create({.name = "s", .owner = "alice"}, soon());
  REQUIRE(script);
  // It ends before all of her is gone.
  int writes = 0;
  rig.store.before_write = [&]() -> Result<void> {
    if (++writes > 1) return Error{Errc::closed, "gone"};
    return {};
  };
  CHECK(code(rig.accounts.remove_user("alice", soon())) == Errc::closed);
  rig.store.before_write = {};
  CHECK(code(rig.accounts.user("alice", soon())) == Errc::not_found);
  REQUIRE(rig.accounts.create_user("alice", "another password", "admin", soon()));
  CHECK_FALSE(rig.is_let_in(token));
  CHECK_FALSE(rig.is_let_in(script->secret));
  CHECK_FALSE(rig.caller(rig.log_in("alice", "another password")).admin);
}

TEST_CASE("accounts: a one-time password is for setting another one") {
  Rig rig;
  const auto told = rig.accounts.begin("", soon());
  REQUIRE(told);
  const std::string token = rig.log_in("admin", **told);
  CHECK(rig.caller(token).password_expired);
  CHECK(detail(rig.accounts.set_password("admin", **told, "admin", "", soon())) ==
        "field 'password': expected another one: this was for one time only");
  CHECK(rig.caller(token).password_expired);
  // Made before, with another password; no password is known by it, and none is set with it.
  const auto script = rig.accounts.api_tokens().create({.name = "s", .owner = "admin"}, soon());
  REQUIRE(script);
  CHECK_FALSE(rig.caller(script->secret).password_expired);
  REQUIRE(rig.accounts.set_password("admin", good, "admin", rig.caller(token).id, soon()));
  CHECK_FALSE(rig.caller(token).password_expired);
}

TEST_CASE("accounts: setting a password keeps what else a record has") {
  Rig rig;
  test::load_golden(rig.store);
  Record record = *rig.store.get("proxy_User_alice", soon());
  record["note"] = "kept";
  REQUIRE(rig.store.put("proxy_User_alice", record, {}, soon()));
  REQUIRE(rig.accounts.set_password("alice", "another password", "bob", "", soon()));
  CHECK(rig.store.get("proxy_User_alice", soon())->at("note") == "kept");
  CHECK(code(rig.accounts.set_password("nobody", "another password", "bob", "", soon())) ==
        Errc::not_found);
  CHECK_FALSE(rig.store.get("proxy_User_nobody", soon()));
}

TEST_CASE("accounts: a password that is kept elsewhere cannot be set here") {
  Rig rig;
  rig.begin();
  REQUIRE(store::save(rig.store, store::User{.name = "alice", .backing = "oidc"}, soon()));
  CHECK(code(rig.accounts.set_password("alice", "another password", "admin", "", soon())) ==
        Errc::denied);
}

TEST_CASE("accounts: names and passwords of new users are checked") {
  Rig rig;
  rig.begin();
  const auto wrong = [&](std::string_view name, std::string_view password) {
    const auto created = rig.accounts.create_user(name, password, "admin", soon());
    return created ? std::string{} : created.error().detail;
  };
  CHECK(wrong("", good) == "field 'username': is required");
  CHECK(wrong("a b", good) == "field 'username': expected letters, digits, '.', '_', '@' and '-'");
  CHECK(wrong("a:b", good) == "field 'username': expected letters, digits, '.', '_', '@' and '-'");
  for (const char* part : {"me", "Me", "PASSWORD", ".", ".."}) {
    CHECK(wrong(part, good) == "field 'username': is reserved");
  }
  CHECK(wrong("__NONE__", good).starts_with("field 'username'"));
  CHECK(wrong(std::string(65, 'x'), good) == "field 'username': expected at most 64 bytes");
  CHECK(wrong("bob", "short") == "field 'password': expected at least 8 characters");
  CHECK(wrong("bob", std::string(73, 'x')).starts_with("field 'password': expected at most 72"));
  CHECK(wrong("bob.b_b@example-1", good).empty());
  CHECK(code(rig.accounts.create_user("alice", good, "admin", soon())) == Errc::conflict);
}

TEST_CASE("accounts: the last administrator stays") {
  Rig rig;
  rig.begin();
  CHECK(code(rig.accounts.remove_user("admin", soon())) == Errc::denied);
  CHECK(code(rig.accounts.set_disabled("admin", true, "admin", soon())) == Errc::denied);
  CHECK_FALSE(rig.accounts.user("admin", soon())->disabled);

  REQUIRE(rig.accounts.grant(permission("alice", Role::admin), soon()));
  REQUIRE(rig.accounts.set_disabled("admin", true, "alice", soon()));
  CHECK(code(rig.accounts.revoke("user:alice:global:*", soon())) == Errc::denied);
  CHECK(code(rig.accounts.grant(permission("alice", Role::viewer), soon())) == Errc::denied);
  CHECK(code(rig.accounts.change_grant("user:alice:global:*",
                                       permission("alice", Role::admin, "example.com"), soon())) ==
        Errc::denied);
  CHECK(code(rig.accounts.remove_user("alice", soon())) == Errc::denied);
  CHECK(code(rig.accounts.set_disabled("alice", true, "admin", soon())) == Errc::denied);
  REQUIRE(rig.accounts.remove_user("admin", soon()));
  CHECK(rig.accounts.users(soon())->size() == 1);
}

TEST_CASE("accounts: an administrator of ** is one of everything") {
  Rig rig;
  rig.begin();
  REQUIRE(rig.accounts.grant(permission("alice", Role::admin, "example.com"), soon()));
  CHECK_FALSE(rig.accounts.rights_of("alice", soon())->admin);
  REQUIRE(rig.accounts.grant(permission("alice", Role::admin, "**"), soon()));
  CHECK(rig.accounts.rights_of("alice", soon())->admin);
  REQUIRE(rig.accounts.remove_user("admin", soon()));
  CHECK(code(rig.accounts.revoke("user:alice:domain:**", soon())) == Errc::denied);
}

TEST_CASE("accounts: the first grant of an open installation leaves somebody who may give others") {
  Rig rig;
  test::load_golden(rig.store);
  REQUIRE(rig.accounts.remove_user("proxyadmin2", soon()));
  CHECK(code(rig.accounts.grant(permission("bob", Role::viewer), soon())) == Errc::denied);
  REQUIRE(rig.accounts.grant(permission("bob", Role::admin), soon()));
  CHECK(rig.accounts.rights_of("bob", soon())->admin);
  CHECK_FALSE(rig.accounts.rights_of("alice", soon())->admin);
}

TEST_CASE("accounts: grants are checked, and lower-cased") {
  Rig rig;
  rig.begin();
  const auto wrong = [&](const Permission& wanted) {
    const auto granted = rig.accounts.grant(wanted, soon());
    return granted ? std::string{} : granted.error().detail;
  };
  CHECK(wrong(permission("", Role::viewer)) == "field 'subject': is empty");
  CHECK(wrong(permission("a:b", Role::viewer)).starts_with("field 'subject': expected"));
  CHECK(wrong(permission("alice", Role::none)).starts_with("field 'role': expected"));
  CHECK(wrong({.subject_type = "robot", .subject = "x", .grant = {Role::viewer, ""}})
            .starts_with("field 'subjectType': expected"));
  for (const std::string_view domain : {"a b", "a..b", ".a", "a.", "a:b", "a/b"}) {
    CAPTURE(domain);
    CHECK(wrong(permission("alice", Role::viewer, domain)).starts_with("field 'domain': expected"));
  }
  CHECK(wrong(permission("alice", Role::manager, "*.Example.COM")).empty());
  CHECK(role_for(*rig.accounts.rights_of("alice", soon()), "www.example.com") == Role::manager);
  CHECK(rig.store.get("proxy_Permission_user:alice:domain:*.example.com", soon()));
}

TEST_CASE("accounts: a grant that is changed takes the place of the old one") {
  Rig rig;
  rig.begin();
  REQUIRE(rig.accounts.grant(permission("alice", Role::manager, "example.com"), soon()));
  REQUIRE(rig.accounts.change_grant("user:alice:domain:example.com",
                                    permission("alice", Role::viewer, "example.org"), soon()));
  const auto rights = rig.accounts.rights_of("alice", soon());
  CHECK(role_for(*rights, "example.com") == Role::none);
  CHECK(role_for(*rights, "example.org") == Role::viewer);
  REQUIRE(rig.accounts.change_grant("user:alice:domain:example.org",
                                    permission("alice", Role::manager, "example.org"), soon()));
  CHECK(role_for(*rig.accounts.rights_of("alice", soon()), "example.org") == Role::manager);
  CHECK(code(rig.accounts.change_grant("user:alice:domain:example.com",
                                       permission("alice", Role::viewer), soon())) ==
        Errc::not_found);
  CHECK(code(rig.accounts.revoke("user:alice:domain:example.com", soon())) == Errc::not_found);
}

}  // namespace proxycore::auth
