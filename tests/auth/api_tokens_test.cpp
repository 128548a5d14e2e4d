#include "auth/api_tokens.h"

#include "auth/password.h"
#include "auth/secret.h"
#include "support/away_store.h"
#include "support/eventually.h"

#include <string>

#include <doctest/doctest.h>

namespace proxycore::auth {

namespace {
Deadline soon() {
  return Deadline::in(Millis{10'000});
}

struct Rig {
  test::AwayStore store;
  std::int64_t now = 1'800'000'000'000;
  ApiTokens tokens{store, [this] { return now; }};

  ApiTokens::Made made(ApiToken wanted = {.name = "backup", .owner = "alice"}) {
    auto made = tokens.create(std::move(wanted), soon());
    REQUIRE(made);
    return *std::move(made);
  }
  Errc refusal(std::string_view text) {
    const auto token = tokens.resolve(text, soon());
    REQUIRE_FALSE(token);
    return token.error().code;
  }
  std::string wrong(ApiToken wanted) {
    const auto made = tokens.create(std::move(wanted), soon());
    return made ? "" : made.error().detail;
  }
};
}  // namespace

TEST_CASE("api tokens: a secret is shown once and kept as a digest") {
  Rig rig;
  const auto made = rig.made();
  CHECK(made.secret.size() == 4 + 24 + 1 + 48);
  CHECK(made.secret.starts_with("prx_" + made.token.id + "_"));
  const auto record = rig.store.get("proxy_ApiToken_" + made.token.id, soon());
  REQUIRE(record);
  CHECK(record->at("secret_hash") == "sha256:" + digest(made.secret.substr(29)));
  CHECK(record->at("created_by") == "alice");
  CHECK(record->at("name") == "backup");
  CHECK(record->at("role") == "admin");
  CHECK(record->at("expires_at") == "0");
}

TEST_CASE("api tokens: a secret leads to its owner") {
  Rig rig;
  const auto made = rig.made({.name = "reader", .owner = "alice", .at_most = Role::viewer});
  for (int i = 0; i < 2; ++i) {  // from the store, from memory
    const auto token = rig.tokens.resolve(made.secret, soon());
    REQUIRE(token);
    CHECK(token->owner == "alice");
    CHECK(token->at_most == Role::viewer);
  }
}

TEST_CASE("api tokens: whatever is wrong with a secret is refused alike") {
  Rig rig;
  const auto made = rig.made();
  std::string other = made.secret;
  other.back() = other.back() == '0' ? '1' : '0';
  CHECK(rig.refusal(other) == Errc::denied);
  REQUIRE(rig.tokens.resolve(made.secret, soon()));
  CHECK(rig.refusal(other) == Errc::denied);
  CHECK(rig.refusal("prx_") == Errc::denied);
  CHECK(rig.refusal(made.secret + "0") == Errc::denied);
  CHECK(rig.refusal("prx_" + std::string(24, 'a') + "_" + std::string(48, 'b')) == Errc::denied);
  CHECK(rig.refusal("prx_" + std::string(24, '*') + "_" + std::string(48, 'b')) == Errc::denied);
}

TEST_CASE("api tokens: one ends in time") {
  Rig rig;
  const auto made = rig.made({.name = "short", .owner = "alice", .expires_at = rig.now + 1000});
  REQUIRE(rig.tokens.resolve(made.secret, soon()));
  rig.now += 1000;
  CHECK(rig.refusal(made.secret) == Errc::denied);
}

TEST_CASE("api tokens: rotating one ends its old secret") {
  Rig rig;
  const auto made = rig.made();
  REQUIRE(rig.tokens.resolve(made.secret, soon()));
  const auto rotated = rig.tokens.rotate(made.token.id, soon());
  REQUIRE(rotated);
  CHECK(rotated->token.id == made.token.id);
  CHECK(rig.refusal(made.secret) == Errc::denied);
  CHECK(rig.tokens.resolve(rotated->secret, soon()));
  CHECK(rig.tokens.rotate(std::string(24, 'a'), soon()).error().code == Errc::not_found);
  CHECK_FALSE(rig.store.get("proxy_ApiToken_" + std::string(24, 'a'), soon()));
}

TEST_CASE("api tokens: one that is removed ends at once, in other processes, too") {
  Rig rig;
  ApiTokens elsewhere(rig.store.here(), [&] { return rig.now; });
  const auto made = rig.made();
  REQUIRE(rig.tokens.resolve(made.secret, soon()));
  REQUIRE(elsewhere.resolve(made.secret, soon()));
  CHECK(*rig.tokens.remove(made.token.id, soon()));
  CHECK(rig.refusal(made.secret) == Errc::denied);
  CHECK(test::eventually([&] { return !elsewhere.resolve(made.secret, soon()); }));
  CHECK_FALSE(*rig.tokens.remove(made.token.id, soon()));
  CHECK_FALSE(*rig.tokens.remove("no id", soon()));
}

TEST_CASE("api tokens: name, role and expiry can be changed, the secret stays") {
  Rig rig;
  const auto made = rig.made();
  ApiToken changed = made.token;
  changed.name = "restore";
  changed.at_most = Role::manager;
  changed.expires_at = rig.now + 5000;
  REQUIRE(rig.tokens.change(changed, soon()));
  const auto token = rig.tokens.resolve(made.secret, soon());
  REQUIRE(token);
  CHECK(token->name == "restore");
  CHECK(token->at_most == Role::manager);
  CHECK(token->expires_at == rig.now + 5000);
  changed.id = std::string(24, 'a');
  CHECK(rig.tokens.change(changed, soon()).error().code == Errc::not_found);
}

TEST_CASE("api tokens: errors name the field") {
  Rig rig;
  CHECK(rig.wrong({.name = "", .owner = "alice"}) == "field 'name': is required");
  CHECK(rig.wrong({.name = std::string(256, 'x'), .owner = "alice"}) ==
        "field 'name': expected at most 255 bytes");
  CHECK(rig.wrong({.name = "x", .description = std::string(1001, 'x'), .owner = "alice"}) ==
        "field 'description': expected at most 1000 bytes");
  CHECK(rig.wrong({.name = "x", .owner = "alice", .at_most = Role::none}) ==
        "field 'role': expected 'viewer', 'manager' or 'admin'");
  CHECK(rig.wrong({.name = "x", .owner = "alice", .expires_at = rig.now}) ==
        "field 'expires_at': expected a time to come");
  CHECK(rig.wrong({.name = "x", .owner = "alice", .expires_at = -1}) ==
        "field 'expires_at': expected milliseconds since 1970");
}

TEST_CASE("api tokens: a user has a hundred at most") {
  Rig rig;
  for (int i = 0; i < 100; ++i) rig.made();
  CHECK(rig.tokens.create({.name = "one more", .owner = "alice"}, soon()).error().code ==
        Errc::limit);
  rig.made({.name = "another's", .owner = "bob"});
  CHECK(rig.tokens.list("alice", soon())->size() == 100);
  CHECK(rig.tokens.list("", soon())->size() == 101);
  CHECK(*rig.tokens.remove_all("alice", soon()) == 100);
  CHECK(rig.tokens.list("", soon())->size() == 1);
}

TEST_CASE("api tokens: rows of the old software have bcrypt hashes and no role") {
  Rig rig;
  const std::string id(24, 'a');
  const std::string secret(48, 'b');
  Record record{{"id", id},
                {"secret_hash", *hash_password(secret, min_cost)},
                {"name", "old"},
                {"description", ""},
                {"created_by", "bob"},
                {"groups", "[\"ops\"]"},
                {"expires_at", "0"},
                {"last_used_on", "0"},
                {"is_valid", "true"}};
  REQUIRE(rig.store.put("proxy_ApiToken_" + id, record, {}, soon()));
  const auto token = rig.tokens.resolve("prx_" + id + "_" + secret, soon());
  REQUIRE(token);
  CHECK(token->owner == "bob");
  CHECK(token->at_most == Role::admin);
  CHECK(rig.refusal("prx_" + id + "_" + std::string(48, 'c')) == Errc::denied);
  CHECK(rig.store.get("proxy_ApiToken_" + id, soon())->at("groups") == "[\"ops\"]");

  // bcrypt has verified it once: that is remembered for as long as the row has this hash.
  const std::string right = "prx_" + id + "_" + secret;
  const auto takes_long = [&](const std::string& text) {
    const auto takes = rig.tokens.takes_long(text, soon());
    REQUIRE(takes);
    return *takes;
  };
  CHECK_FALSE(takes_long(right));
  record["description"] = "told to have changed";
  REQUIRE(rig.store.put("proxy_ApiToken_" + id, record, {}, soon()));
  CHECK_FALSE(takes_long(right));
  CHECK_FALSE(takes_long("prx_" + id + "_" + std::string(48, 'c')));
  CHECK(rig.tokens.resolve(right, soon()));
  const std::string other(48, 'd');
  record["secret_hash"] = *hash_password(other, min_cost);
  REQUIRE(rig.store.put("proxy_ApiToken_" + id, record, {}, soon()));
  CHECK(test::eventually([&] { return takes_long("prx_" + id + "_" + other); }));
  CHECK(rig.refusal(right) == Errc::denied);
  CHECK(rig.tokens.resolve("prx_" + id + "_" + other, soon()));
  CHECK_FALSE(takes_long("prx_" + id + "_" + other));
  CHECK_FALSE(takes_long("prx_" + std::string(24, 'e') + "_" + other));

  record["is_valid"] = "false";
  REQUIRE(rig.store.put("proxy_ApiToken_" + id, record, {}, soon()));
  CHECK(test::eventually([&] { return !rig.tokens.resolve("prx_" + id + "_" + other, soon()); }));
}

TEST_CASE("api tokens: a role that nobody knows gives nothing") {
  Rig rig;
  const auto made = rig.made();
  Record record = *rig.store.get("proxy_ApiToken_" + made.token.id, soon());
  record["role"] = "owner";
  REQUIRE(rig.store.put("proxy_ApiToken_" + made.token.id, record, {}, soon()));
  CHECK(rig.tokens.resolve(made.secret, soon())->at_most == Role::none);
}

TEST_CASE("api tokens: use is noted once a minute, and whether that works is no matter") {
  Rig rig;
  const auto made = rig.made();
  const auto noted = [&] { return rig.tokens.load(made.token.id, soon())->last_used_on; };
  REQUIRE(rig.tokens.resolve(made.secret, soon()));
  CHECK(noted() == 1'800'000'000'000);
  rig.now += 59'999;
  rig.store.tell("proxy_ApiToken_");
  REQUIRE(rig.tokens.resolve(made.secret, soon()));
  CHECK(noted() == 1'800'000'000'000);
  rig.now += 1;
  rig.store.before_write = [] { return Error{Errc::closed, "gone"}; };
  rig.store.tell("proxy_ApiToken_");
  CHECK(rig.tokens.resolve(made.secret, soon()));
  CHECK(noted() == 1'800'000'000'000);
  rig.store.before_write = nullptr;
  rig.store.tell("proxy_ApiToken_");
  CHECK(rig.tokens.resolve(made.secret, soon()));
  CHECK(noted() == 1'800'000'060'000);
}

}  // namespace proxycore::auth
