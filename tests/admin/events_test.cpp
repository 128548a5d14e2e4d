#include "admin/events.h"

#include "auth/sessions.h"
#include "base/clock.h"
#include "host/keys.h"
#include "support/admin_rig.h"
#include "support/eventually.h"

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

namespace keys = host::keys;
using test::AdminRig;
using test::Answered;

Answered listen(const AdminRig& rig, const std::string& token) {
  Answered answered;
  rig.service->handle(AdminRig::request("GET", "/api/events", "", {{"auth-token", token}}),
                      answered.responder());
  const Response head = answered.response();
  CHECK(head.status == 200);
  CHECK(AdminRig::field(head, "content-type") == "text/event-stream");
  return answered;
}

Record host(const std::string& name, const std::string& ip = "10.0.0.1") {
  return {{"host", name}, {"ip", ip}, {"targetPort", "80"}};
}

}  // namespace

TEST_CASE("events: what anybody writes to the store is told to who listens") {
  const AdminRig rig;
  const Answered admin = listen(rig, rig.admin_token);
  const std::string key = keys::host("a.test");
  REQUIRE(rig.store->put(key, host("a.test"), {}, AdminRig::by()));
  const std::string created =
      admin.streamed(R"(data: {"topic":"model:Host:create:a.test","data":{"host":"a.test")");
  CHECK(created.find("}}\n\n") != std::string::npos);
  REQUIRE(rig.store->put(key, host("a.test", "10.0.0.2"), {}, AdminRig::by()));
  (void)admin.streamed(R"("model:Host:update:a.test","data":{"host":"a.test","ip":"10.0.0.2")");
  REQUIRE(rig.store->erase(key, AdminRig::by()));
  (void)admin.streamed(R"("model:Host:remove:a.test","data":null)");
}

TEST_CASE("events: whatever others wrote, an event is one line (HTML §9.2.6)") {
  const AdminRig rig;
  const Answered admin = listen(rig, rig.admin_token);
  Record record = host("a.test");
  record["req_headers"] = "[\n\r\n[\"a\",\n\n\"b\"]]";
  REQUIRE(rig.store->put(keys::host("a.test"), record, {}, AdminRig::by()));
  const std::string told = admin.streamed("model:Host:create:a.test");
  CHECK(told.find(R"("req_headers":[   ["a",  "b"]])") != std::string::npos);
}

TEST_CASE("events: what the manager itself writes is told as well, and is in the list at once") {
  const AdminRig rig;
  const Answered admin = listen(rig, rig.admin_token);
  REQUIRE(rig.send("POST", "/api/host", R"({"host":"a.test","ip":"10.0.0.1","targetPort":80})")
              .status == 200);
  (void)admin.streamed("model:Host:create:a.test");
}

TEST_CASE("events: what another process writes gets into the lists") {
  const AdminRig rig;
  REQUIRE(rig.store->put(keys::host("a.test"), host("a.test"), {}, AdminRig::by()));
  CHECK(test::eventually(
      [&] { return rig.send("GET", "/api/host").body == R"({"results":["a.test"]})"; }));
}

TEST_CASE("events: who may not see a host is not told of it, nor of users and DNS accounts") {
  AdminRig people;
  const Answered viewer = listen(people, people.log_in("viewer"));
  const Answered admin = listen(people, people.admin_token);
  const auto put = [&](const std::string& key, const Record& record) {
    REQUIRE(people.store->put(key, record, {}, AdminRig::by()));
  };
  put(keys::host("app.test"), host("app.test"));
  put(keys::user("carol"), {{"username", "carol"}, {"password", "$2b$s3cret"}});
  put(keys::dns_provider("0123"), {{"id", "0123"}, {"name", "x"}, {"token", "s3cret"}});
  put(keys::host("app.example.com"), host("app.example.com"));
  // All of them have been told once the last one has.
  (void)admin.streamed("model:DnsProvider:create:0123");
  (void)admin.streamed("model:User:create:carol");
  const std::string told = admin.streamed("model:Host:create:app.example.com");
  CHECK(told.find("s3cret") == std::string::npos);
  CHECK(told.find("***") != std::string::npos);
  const std::string seen = viewer.streamed("model:Host:create:app.example.com");
  put(keys::host("last.example.com"), host("last.example.com"));
  const std::string all = viewer.streamed("model:Host:create:last.example.com");
  CHECK(all.find("app.test") == std::string::npos);
  CHECK(all.find("carol") == std::string::npos);
  CHECK(all.find("0123") == std::string::npos);
}

TEST_CASE("events: the story of a certificate is told without its attempts' secrets") {
  const AdminRig rig;
  const Answered admin = listen(rig, rig.admin_token);
  REQUIRE(rig.store->put(keys::story("a.test"),
                         {{"name", "a.test"}, {"state", "working"}, {"order_key", "s3cret"}}, {},
                         AdminRig::by()));
  const std::string told = admin.streamed(
      R"({"topic":"model:Certificate:create:a.test","data":{"name":"a.test","state":"working")");
  CHECK(told.find("s3cret") == std::string::npos);
}

TEST_CASE("events: whoever has logged out, or has lost all rights, hears nothing more") {
  const AdminRig rig;
  const std::string token = rig.log_in("admin");
  const Answered session = listen(rig, token);
  auth::Sessions sessions(*rig.store, Millis{3'600'000}, false, [] { return base::now_ms(); });
  REQUIRE(sessions.end(token, AdminRig::by()));
  CHECK(session.ends());

  const Answered viewer = listen(rig, rig.log_in("viewer"));
  REQUIRE(rig.send("DELETE", "/api/permission/user:viewer:domain:example.com").status == 200);
  CHECK(viewer.ends());
}

TEST_CASE("events: hits of wildcards are nobody's news") {
  const AdminRig rig;
  const Answered admin = listen(rig, rig.admin_token);
  Record hit = host("hit.test");
  hit["is_cache"] = "true";
  REQUIRE(rig.store->put(keys::host("hit.test"), hit, {}, AdminRig::by()));
  REQUIRE(rig.store->put(keys::host("z.test"), host("z.test"), {}, AdminRig::by()));
  CHECK(admin.streamed("model:Host:create:z.test").find("hit.test") == std::string::npos);
}

TEST_CASE("events: a reader that has gone is forgotten, the others go on") {
  const AdminRig rig;
  Answered gone = listen(rig, rig.admin_token);
  const Answered stays = listen(rig, rig.admin_token);
  gone.leave();
  REQUIRE(rig.store->put(keys::host("a.test"), host("a.test"), {}, AdminRig::by()));
  CHECK(gone.ends());
  (void)stays.streamed("model:Host:create:a.test");
}

TEST_CASE("events: readers are bounded") {
  AdminRig rig;
  std::vector<Answered> readers;
  for (std::size_t number = 0; number < Events::max_readers / Events::max_of_user; ++number) {
    const std::string user = "user" + std::to_string(number);
    rig.user(user);
    REQUIRE(rig.send("POST", "/api/permission",
                     R"({"subject":")" + user + R"(","role":"viewer","domain":"a.test"})")
                .status == 200);
    const std::string token = rig.log_in(user);
    for (std::size_t i = 0; i < Events::max_of_user; ++i) readers.push_back(listen(rig, token));
    CHECK(rig.as(token, "GET", "/api/events").status == 503);
  }
  CHECK(rig.send("GET", "/api/events").status == 503);
  // Who leaves makes room.
  readers.front().leave();
  REQUIRE(rig.store->put(keys::host("a.test"), host("a.test"), {}, AdminRig::by()));
  CHECK(readers.front().ends());
  readers.push_back(listen(rig, rig.admin_token));
}

TEST_CASE("events: when the manager stops, its streams end") {
  const AdminRig rig;
  const Answered admin = listen(rig, rig.admin_token);
  rig.service->stop();
  CHECK(admin.ends());
  CHECK(rig.send("GET", "/api/events").status == 503);
}

}  // namespace proxycore::admin
