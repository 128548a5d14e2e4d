#include "admin/cert_routes.h"

#include "certs/story.h"
#include "host/keys.h"
#include "store/repo.h"
#include "support/endpoint_rig.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::admin;
using test::ApiAnswer;
using test::EndpointRig;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

struct Rig : EndpointRig {
  void story(const std::string& name, CertificateState state = CertificateState::valid) {
    certs::Story one;
    one.name = name;
    one.host = name;
    one.state = state;
    one.why = "because of " + name;
    REQUIRE(certs::save_story(*store, one, soon()));
  }
  void certificate(const std::string& name) {
    const store::Certificate kept{.name = name,
                                  .fullchain_pem = "-----BEGIN CERTIFICATE-----\nchain of " + name,
                                  .privkey_pem = "-----BEGIN PRIVATE KEY-----\nthe key",
                                  .cert_pem = "-----BEGIN CERTIFICATE-----\nleaf",
                                  .expiry = 1'900'000'000};
    REQUIRE(store::save(*store, kept, soon()));
  }
};

std::string names(const ApiAnswer& answer) {
  std::string text;
  for (const base::json::Value& story : answer.list_at("results")) {
    text.append(text.empty() ? "" : " ").append(story.text("name").value_or("?"));
  }
  return text;
}

}  // namespace

TEST_CASE("cert routes: stories are listed whole, by page, by name and by state") {
  Rig rig;
  rig.story("a.test");
  rig.story("b.test", CertificateState::failing);
  rig.story("c.test");
  CHECK(names(rig.run(list_certificates)) == "a.test b.test c.test");
  const ApiAnswer first = rig.run(list_certificates, {}, {}, "limit=2");
  CHECK(names(first) == "a.test b.test");
  CHECK(*first.at("total").integer() == 3);
  CHECK(first.text_at("next") == "b.test");
  const ApiAnswer second = rig.run(list_certificates, {}, {}, "limit=2&cursor=b.test");
  CHECK(names(second) == "c.test");
  CHECK(second.json.find("next") == nullptr);
  CHECK(names(rig.run(list_certificates, {}, {}, "limit=2&cursor=c.test")).empty());
  CHECK(names(rig.run(list_certificates, {}, {}, "q=b.")) == "b.test");
  CHECK(names(rig.run(list_certificates, {}, {}, "state=failing")) == "b.test");
  for (const char* wrong : {"limit=0", "limit=1001", "limit=x", "limit="}) {
    CHECK(rig.run(list_certificates, {}, {}, wrong).status == 422);
  }
}

TEST_CASE("cert routes: a caller sees those of hosts they may see") {
  Rig rig;
  rig.story("a.test");
  rig.story("b.test");
  rig.certificate("a.test");
  rig.certificate("b.test");
  rig.caller = EndpointRig::somebody(auth::Role::viewer, "a.test");
  CHECK(names(rig.run(list_certificates)) == "a.test");
  CHECK(rig.run(show_certificate, {"a.test"}).status == 200);
  CHECK(rig.run(show_certificate, {"b.test"}).status == 403);
  CHECK(rig.run(show_certificate_story, {"b.test"}).status == 403);
}

TEST_CASE("cert routes: the private key is for administrators") {
  Rig rig;
  rig.certificate("*.a.test");
  const ApiAnswer whole = rig.run(show_certificate, {"*.a.test"});
  REQUIRE_MESSAGE(whole.status == 200, whole.text);
  CHECK(whole.text_at("fullchain_pem") == "-----BEGIN CERTIFICATE-----\nchain of *.a.test");
  CHECK(whole.text_at("cert_pem") == "-----BEGIN CERTIFICATE-----\nleaf");
  CHECK(whole.text_at("privkey_pem") == "-----BEGIN PRIVATE KEY-----\nthe key");
  CHECK(*whole.at("expiry").integer() == 1'900'000'000);
  for (const auth::Role role : {auth::Role::viewer, auth::Role::manager, auth::Role::admin}) {
    rig.caller = EndpointRig::somebody(role, "a.test");
    const ApiAnswer shown = rig.run(show_certificate, {"*.a.test"});
    CHECK(shown.text_at("fullchain_pem") == "-----BEGIN CERTIFICATE-----\nchain of *.a.test");
    CHECK(*shown.at("privkey_pem", "set").boolean());
    CHECK(shown.text.find("the key") == std::string::npos);
  }
}

TEST_CASE("cert routes: what is not there is 404, a broken record our fault") {
  Rig rig;
  CHECK(rig.run(show_certificate, {"a.test"}).status == 404);
  CHECK(rig.run(show_certificate, {"no name"}).status == 404);
  CHECK(rig.run(show_certificate_story, {"a.test"}).status == 404);
  REQUIRE(rig.store->put(host::keys::certificate("a.test"), {{"value", "{"}}, {}, soon()));
  CHECK(rig.run(show_certificate, {"a.test"}).status == 500);
}

TEST_CASE("cert routes: a host without a story has that of its wildcard") {
  Rig rig;
  rig.story("*.a.test");
  rig.story("own.a.test");
  const auto why = [&](const std::string& name) {
    return rig.run(show_certificate_story, {name}).text_at("results", "why");
  };
  CHECK(why("own.a.test") == "because of own.a.test");
  CHECK(why("x.a.test") == "because of *.a.test");
  CHECK(why("*.a.test") == "because of *.a.test");
  CHECK(why("x.y.a.test").empty());
}
