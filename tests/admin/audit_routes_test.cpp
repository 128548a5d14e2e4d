#include "admin/audit_routes.h"

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

struct Rig : EndpointRig {
  // What alice did to a user, named by its number.
  void change(int number) {
    now_ms += 10;
    const std::string name = "u" + std::to_string(number);
    changes.record(caller, "user.update", host::keys::user(name),
                   {{"backing", "redis"}, {"password", "old"}},
                   {{"backing", "oidc"}, {"password", "new"}}, Deadline::in(Millis{10'000}));
  }
  // The keys of a page: "u3 u2 ".
  static std::string keys_of(const ApiAnswer& page) {
    std::string text;
    for (const base::json::Value& entry : page.list_at("results")) {
      text += std::string(*entry.text("key")).substr(host::keys::user_prefix.size()) + " ";
    }
    return text;
  }
};

}  // namespace

TEST_CASE("audit routes: an entry says who did what to what, and no secret") {
  Rig rig;
  rig.change(1);
  const ApiAnswer page = rig.run(list_audit);
  CHECK(page.status == 200);
  REQUIRE(page.list_at("results").size() == 1);
  const base::json::Value& entry = page.list_at("results")[0];
  CHECK(*entry.text("who") == "alice");
  CHECK(*entry.text("how") == "session");
  CHECK(*entry.text("what") == "user.update");
  CHECK(*entry.text("key") == "proxy_User_u1");
  CHECK(*entry.integer("at") == rig.now_ms);
  const base::json::Value* changes = entry.find("changes");
  REQUIRE(changes != nullptr);
  REQUIRE(changes->array("backing"));
  CHECK(*(*changes->array("backing"))[0].text() == "redis");
  CHECK(*(*changes->array("backing"))[1].text() == "oidc");
  CHECK(page.text.find("old") == std::string::npos);
  CHECK(page.text.find("new") == std::string::npos);
  CHECK(page.at("next").kind() == base::json::Value::Kind::null);
}

TEST_CASE("audit routes: the newest come first, page by page") {
  Rig rig;
  for (int number = 1; number <= 5; ++number) rig.change(number);
  const ApiAnswer first = rig.run(list_audit, {}, {}, "limit=2");
  CHECK(Rig::keys_of(first) == "u5 u4 ");
  const ApiAnswer second = rig.run(list_audit, {}, {}, "limit=2&cursor=" + first.text_at("next"));
  CHECK(Rig::keys_of(second) == "u3 u2 ");
  const ApiAnswer third = rig.run(list_audit, {}, {}, "limit=2&cursor=" + second.text_at("next"));
  CHECK(Rig::keys_of(third) == "u1 ");
  CHECK(third.at("next").kind() == base::json::Value::Kind::null);
  CHECK(Rig::keys_of(rig.run(list_audit)) == "u5 u4 u3 u2 u1 ");
  CHECK(rig.run(list_audit, {}, {}, "limit=5").at("next").kind() == base::json::Value::Kind::null);
}

TEST_CASE("audit routes: a page has a thousand entries at most") {
  Rig rig;
  for (const std::string_view limit : {"0", "1001", "-1", "many", ""}) {
    CAPTURE(limit);
    CHECK(rig.run(list_audit, {}, {}, "limit=" + std::string(limit)).status == 422);
  }
  CHECK(rig.run(list_audit, {}, {}, "limit=1000").status == 200);
}

TEST_CASE("audit routes: what others wrote breaks no page") {
  Rig rig;
  rig.change(1);
  REQUIRE(rig.store->put("proxycore_audit_9999999999999-000",
                         {{"who", "x"}, {"changes", "{broken"}}, {}, Deadline::in(Millis{10'000})));
  const ApiAnswer page = rig.run(list_audit);
  CHECK(page.status == 200);
  CHECK(page.list_at("results").size() == 2);
}
