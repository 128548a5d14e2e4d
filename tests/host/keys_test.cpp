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
