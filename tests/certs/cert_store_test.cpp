#include "host/keys.h"
#include "support/authority.h"
#include "tls/cert.h"
#include <proxycore/cert.h>
#include <proxycore/store.h>

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using host::keys::certificate;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{5});
}

std::string text_of(Store& store, std::string_view name) {
  return store.get(certificate(name), soon())->at(std::string(text_field));
}

}  // namespace

TEST_CASE("cert store: what was put is found, under the key of the seed") {
  const auto store = open_memory();
  CertStore certs(*store);
  CHECK(certs.find("a.test", soon()).error().code == Errc::not_found);
  const CertBundle bundle = lone({.dns = {"a.test"}});
  REQUIRE(certs.put("A.test.", bundle, soon()));
  const auto found = certs.find("a.test", soon());
  REQUIRE(found);
  REQUIRE(found->size() == 1);
  CHECK(found->front().chain_pem == bundle.chain_pem);
  CHECK(found->front().key_pem == bundle.key_pem);
  const std::string text = text_of(*store, "a.test");
  CHECK(text.find("\"fullchain_pem\"") != std::string::npos);
  CHECK(text.find("4120307657") == std::string::npos);
  CHECK(certs.erase("a.test", soon()).value());
  CHECK_FALSE(certs.erase("a.test", soon()).value());
}

TEST_CASE("cert store: a wildcard's row leaves the seed's own renewal alone") {
  const auto store = open_memory();
  CertStore certs(*store);
  REQUIRE(certs.put("*.a.test", lone({.dns = {"a.test", "*.a.test"}}), soon()));
  const std::string text = text_of(*store, "*.a.test");
  CHECK(text.find("\"expiry\":4120307657") != std::string::npos);
  CHECK(text.find("\"real_expiry\"") != std::string::npos);
  CHECK(certs.find("*.a.test", soon()));
}

TEST_CASE("cert store: what does not pass the gate changes nothing") {
  const auto store = open_memory();
  CertStore certs(*store);
  const CertBundle good = lone({.dns = {"a.test"}});
  REQUIRE(certs.put("a.test", good, soon()));
  const auto refused = [&](std::string_view name, const CertBundle& bundle) {
    const auto put = certs.put(name, bundle, soon());
    REQUIRE_FALSE(put);
    CHECK(put.error().code == Errc::invalid);
    INFO(put.error().detail);
    CHECK(put.error().detail.find("PRIVATE") == std::string::npos);
    return put.error().detail;
  };
  refused("a.test", lone({.dns = {"b.test"}}));
  refused("a.test", lone({.dns = {"a.test"}, .not_before = -7200, .not_after = -3600}));
  refused("a.test", {good.chain_pem, lone({.dns = {"a.test"}}).key_pem});
  refused("a.test", {"", good.key_pem});
  refused("a.test", {good.chain_pem, ""});
  refused("**.a.test", good);
  refused("a b", good);
  CHECK(certs.find("a.test", soon())->front().chain_pem == good.chain_pem);
}
