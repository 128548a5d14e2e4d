#include "host/keys.h"

#include <doctest/doctest.h>

using namespace proxycore::host;

TEST_CASE("keys: are those of an existing installation") {
  CHECK(keys::host("*.apps.example.com") == "proxy_Host_*.apps.example.com");
  CHECK(keys::cached("kid.wc.example.com") == "proxy_Cached_kid.wc.example.com");
  CHECK(keys::user("alice") == "proxy_User_alice");
  CHECK(keys::auth_token("669f57a5") == "proxy_AuthToken_669f57a5");
  CHECK(keys::dns_provider("122601096a02ada8") == "proxy_DnsProvider_122601096a02ada8");
  CHECK(keys::domain("example.com") == "proxy_Domain_example.com");
  CHECK(keys::index(keys::host_prefix) == "proxy_Host");
  CHECK(keys::certificate("*.wc.example.com") == "*.wc.example.com:latest");
  CHECK(keys::challenge("example.com", "tok") == "example.com:challenge:tok");
  CHECK(keys::issue_lock("example.com") == "example.com:issue_cert_lock");
}

TEST_CASE("keys: records of our own are told from those of an existing installation") {
  CHECK(keys::txt("a.test", "_acme-challenge.b", "v-1") ==
        "proxycore_txt_v-1/_acme-challenge.b/a.test");
  CHECK_FALSE(keys::member(keys::txt("a.test", "@", "v")).has_value());
  CHECK_FALSE(keys::is_text(keys::txt("a.test", "@", ":challenge:")));
}

TEST_CASE("keys: a key is the prefix of its model and the name that the index lists") {
  const auto host = keys::member("proxy_Host_*.a.test");
  REQUIRE(host);
  CHECK(host->prefix == keys::host_prefix);
  CHECK(host->name == "*.a.test");
  CHECK(keys::member("proxy_HostSsoState_x_y")->prefix == "proxy_HostSsoState_");
  CHECK(keys::member("proxy_HostSsoState_x_y")->name == "x_y");
  for (const char* key : {"proxy_Host_", "proxy_Host", "proxy_Other_x", "a.test:latest", ""}) {
    CHECK_FALSE(keys::member(key).has_value());
  }
  CHECK(keys::is_index("proxy_Host"));
  CHECK(keys::is_index("proxy_AuthToken"));
  CHECK_FALSE(keys::is_index("proxy_Host_"));
  CHECK_FALSE(keys::is_index("proxy_Host_a"));
}

TEST_CASE("keys: what belongs to certificates is one text, a model's record never") {
  CHECK(keys::is_text(keys::certificate("*.a.test")));
  CHECK(keys::is_text(keys::challenge("a.test", "token")));
  CHECK(keys::is_text(keys::issue_lock("a.test")));
  CHECK_FALSE(keys::is_text("proxy_Host_a:latest"));
  CHECK_FALSE(keys::is_text("a.test:later"));
  CHECK_FALSE(keys::is_text(""));
}
