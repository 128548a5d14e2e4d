#include "admin/token_routes.h"

#include "support/away_store.h"
#include "support/endpoint_rig.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::admin;
using test::ApiAnswer;
using test::EndpointRig;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

// The rig's caller is alice, an administrator; bob is none.
struct Rig : EndpointRig {
  explicit Rig(std::unique_ptr<Store> on = open_memory()) : EndpointRig({}, std::move(on)) {
    REQUIRE(accounts.begin("", soon()));
    for (const std::string_view user : {"alice", "bob"}) {
      REQUIRE(accounts.create_user(user, "a good password", "admin", soon()));
    }
  }
  void be_bob() { caller = EndpointRig::somebody(auth::Role::viewer, "example.com"); }

  ApiAnswer make(std::string_view body) { return run(add_api_token, {}, body); }
  bool is_let_in(const std::string& secret) {
    return accounts.caller_of(secret, auth::How::session, soon()).has_value();
  }
  std::string fault(std::string_view body) {
    const ApiAnswer answer = make(body);
    CHECK(answer.status == 422);
    const auto faults = answer.list_at("message");
    return faults.empty() ? std::string{} : std::string(*faults[0].text("key"));
  }
  AuditEntry last() {
    const auto entries = changes.list("", 1, soon());
    REQUIRE(entries);
    REQUIRE(!entries->empty());
    return entries->front();
  }
};

}  // namespace

TEST_CASE("token routes: a secret is shown once") {
  Rig rig;
  const ApiAnswer made =
      rig.make(R"({"name":"deploy","description":"of the site","role":"viewer"})");
  CHECK(made.status == 200);
  const std::string secret = made.text_at("token");
  const std::string id = made.text_at("results", "id");
  CHECK(secret.starts_with("prx_" + id + "_"));
  CHECK(made.text_at("results", "name") == "deploy");
  CHECK(made.text_at("results", "role") == "viewer");
  CHECK(made.text_at("results", "created_by") == "alice");
  CHECK(rig.is_let_in(secret));
  CHECK(rig.last().what == "token.create");
  CHECK(rig.last().key == "proxy_ApiToken_" + id);

  const std::string hidden = secret.substr(secret.size() - 48);
  for (const ApiAnswer& answer : {rig.run(list_api_tokens), rig.run(show_api_token, {id}),
                                  rig.run(change_api_token, {id}, R"({"name":"other"})")}) {
    CHECK(answer.status == 200);
    CHECK(answer.text.find(hidden) == std::string::npos);
    CHECK(answer.text.find("secret") == std::string::npos);
    CHECK(answer.text.find("sha256") == std::string::npos);
  }
  CHECK(rig.last().changes.find("sha256") == std::string::npos);
}

TEST_CASE("token routes: a store that fails after the write hides neither secret nor change") {
  auto own = std::make_unique<test::AwayStore>();
  test::AwayStore& store = *own;
  Rig rig(std::move(own));
  bool written = false;
  store.before_write = [&written]() -> Result<void> {
    written = true;
    return {};
  };
  store.before_get = [&written](const Deadline&) -> Result<void> {
    if (written) return Error{Errc::closed, "gone"};
    return {};
  };
  const ApiAnswer made = rig.make(R"({"name":"deploy"})");
  REQUIRE(written);
  store.before_get = nullptr;
  CHECK(made.status == 200);
  CHECK(rig.is_let_in(made.text_at("token")));
  CHECK(rig.last().what == "token.create");
}

TEST_CASE("token routes: expiry is a time or a number of days, as text or number") {
  Rig rig;
  const auto ends = [&](std::string_view field) {
    const ApiAnswer made = rig.make(std::string(R"({"name":"x",)").append(field).append("}"));
    REQUIRE(made.status == 200);
    return *made.at("results", "expires_at").integer();
  };
  CHECK(ends(R"("description":"")") == 0);
  CHECK(ends(R"("expires_at":1700000001000)") == 1'700'000'001'000);
  CHECK(ends(R"("expires_in_days":2)") == rig.now_ms + 2 * 86'400'000);
  CHECK(ends(R"("expires_in_days":"30")") == rig.now_ms + 30LL * 86'400'000);
  CHECK(ends(R"("expires_in_days":"")") == 0);
  CHECK(ends(R"("expires_in_days":0)") == 0);
  CHECK(ends(R"("expires_in_days":null)") == 0);
}

TEST_CASE("token routes: what is wrong is said field by field") {
  Rig rig;
  CHECK(rig.fault("{}") == "name");
  CHECK(rig.fault(R"({"name":""})") == "name");
  CHECK(rig.fault(R"({"name":5})") == "name");
  CHECK(rig.fault(R"({"name":"x","role":"owner"})") == "role");
  CHECK(rig.fault(R"({"name":"x","expires_at":1})") == "expires_at");
  CHECK(rig.fault(R"({"name":"x","expires_in_days":-1})") == "expires_in_days");
  CHECK(rig.fault(R"({"name":"x","expires_in_days":"soon"})") == "expires_in_days");
  CHECK(rig.fault(R"({"name":"x","expires_in_days":99999})") == "expires_in_days");
  CHECK(rig.run(add_api_token).status == 422);
}

TEST_CASE("token routes: everybody has their own, administrators see all") {
  Rig rig;
  const std::string alices = rig.make(R"({"name":"a"})").text_at("results", "id");
  rig.be_bob();
  const std::string bobs = rig.make(R"({"name":"b"})").text_at("results", "id");
  CHECK(rig.run(list_api_tokens).list_at("results").size() == 1);
  CHECK(rig.run(show_api_token, {bobs}).status == 200);
  // Another's, and none at all.
  for (const std::string& id : {alices, std::string(24, 'a'), std::string("nonsense")}) {
    CHECK(rig.run(show_api_token, {id}).status == 403);
    CHECK(rig.run(change_api_token, {id}, R"({"name":"c"})").status == 403);
    CHECK(rig.run(rotate_api_token, {id}).status == 403);
    CHECK(rig.run(remove_api_token, {id}).status == 403);
  }
  rig.caller = {.user = "alice", .admin = true, .how = auth::How::session};
  CHECK(rig.run(list_api_tokens).list_at("results").size() == 2);
  CHECK(rig.run(show_api_token, {bobs}).status == 200);
  CHECK(rig.run(show_api_token, {std::string(24, 'a')}).status == 404);
  CHECK(rig.run(remove_api_token, {bobs}).status == 200);
}

TEST_CASE("token routes: a token makes, changes and removes none") {
  Rig rig;
  const ApiAnswer made = rig.make(R"({"name":"limited","role":"viewer"})");
  const std::string id = made.text_at("results", "id");
  const auto caller = rig.accounts.caller_of(made.text_at("token"), auth::How::session, soon());
  REQUIRE(caller);
  rig.caller = *caller;
  CHECK(rig.make(R"({"name":"more","role":"admin"})").status == 403);
  CHECK(rig.run(change_api_token, {id}, R"({"role":"admin"})").status == 403);
  CHECK(rig.run(rotate_api_token, {id}).status == 403);
  CHECK(rig.run(remove_api_token, {id}).status == 403);
  CHECK(rig.run(list_api_tokens).status == 200);
}

TEST_CASE("token routes: a new secret ends the old one") {
  Rig rig;
  const ApiAnswer made = rig.make(R"({"name":"a"})");
  const std::string id = made.text_at("results", "id");
  const ApiAnswer rotated = rig.run(rotate_api_token, {id});
  CHECK(rotated.status == 200);
  CHECK(rotated.text_at("token") != made.text_at("token"));
  CHECK_FALSE(rig.is_let_in(made.text_at("token")));
  CHECK(rig.is_let_in(rotated.text_at("token")));
  CHECK(rig.last().what == "token.rotate");
}

TEST_CASE("token routes: what the body does not have stays") {
  Rig rig;
  const ApiAnswer made = rig.make(R"({"name":"a","role":"manager","expires_in_days":1})");
  const std::string id = made.text_at("results", "id");
  const ApiAnswer changed = rig.run(change_api_token, {id}, R"({"description":"new"})");
  CHECK(changed.status == 200);
  CHECK(changed.text_at("results", "description") == "new");
  CHECK(changed.text_at("results", "name") == "a");
  CHECK(changed.text_at("results", "role") == "manager");
  CHECK(*changed.at("results", "expires_at").integer() == rig.now_ms + 86'400'000);
  CHECK(changed.etag == rig.run(show_api_token, {id}).etag);
  CHECK(rig.is_let_in(made.text_at("token")));
}

TEST_CASE("token routes: what was changed meanwhile is not changed again unseen") {
  Rig rig;
  const std::string id = rig.make(R"({"name":"a"})").text_at("results", "id");
  rig.request.fields = {{"If-Match", "\"another\""}};
  CHECK(rig.run(change_api_token, {id}, R"({"name":"b"})").status == 412);
  CHECK(rig.run(rotate_api_token, {id}).status == 412);
  CHECK(rig.run(remove_api_token, {id}).status == 412);
  rig.request.fields = {{"If-Match", rig.run(show_api_token, {id}).etag}};
  CHECK(rig.run(remove_api_token, {id}).status == 200);
}

TEST_CASE("token routes: one that is removed is refused at once") {
  Rig rig;
  const ApiAnswer made = rig.make(R"({"name":"a"})");
  const std::string id = made.text_at("results", "id");
  CHECK(rig.is_let_in(made.text_at("token")));
  const ApiAnswer gone = rig.run(remove_api_token, {id});
  CHECK(gone.text_at("id") == id);
  CHECK(gone.text_at("message") == "API token 'a' revoked.");
  CHECK_FALSE(rig.is_let_in(made.text_at("token")));
  CHECK(rig.last().what == "token.remove");
}
