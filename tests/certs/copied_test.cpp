#include "certs/copied.h"

#include "support/authority.h"
#include "support/away_store.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{5});
}

struct Rig {
  AwayStore store;
  std::unique_ptr<Store> copy = open_memory();
  certs::CopiedCerts certs{store, *copy};
  CertBundle bundle = lone({.dns = {"a.test"}});

  Rig() { REQUIRE(CertStore(store.here()).put("a.test", bundle, soon())); }
  bool found() {
    const auto got = certs.find("a.test", soon());
    return got && got->size() == 1 && got->front().chain_pem == bundle.chain_pem;
  }
};

}  // namespace

TEST_CASE("copied certificates: what was found once answers when the store cannot") {
  Rig rig;
  CHECK(rig.found());
  rig.store.away = true;
  CHECK(rig.found());
  CHECK(rig.certs.find("b.test", soon()).error().code != Errc::not_found);
  rig.store.away = false;
  CHECK(rig.certs.find("b.test", soon()).error().code == Errc::not_found);
}

TEST_CASE("copied certificates: a new one takes the place of the copy") {
  Rig rig;
  CHECK(rig.found());
  rig.bundle = lone({.dns = {"a.test"}});
  REQUIRE(CertStore(rig.store.here()).put("a.test", rig.bundle, soon()));
  CHECK(rig.found());
  rig.store.away = true;
  CHECK(rig.found());
}

TEST_CASE("copied certificates: what a store lost goes on; what was erased is gone") {
  Rig rig;
  CHECK(rig.found());
  rig.store.empty = true;
  CHECK(rig.found());
  rig.store.empty = false;
  REQUIRE(rig.store.here().erase("a.test:latest", soon()));
  CHECK(rig.found());  // nobody told: it may have been lost
  rig.certs.told("a.test");
  CHECK_FALSE(rig.found());
  rig.store.away = true;
  CHECK_FALSE(rig.found());  // in the copy neither
}

TEST_CASE("copied certificates: an operator's word is believed until the next flush") {
  Rig rig;
  CHECK(rig.found());
  rig.store.empty = true;
  rig.certs.believe_all(true);
  rig.certs.believe_all(false);
  CHECK(rig.found());
  rig.certs.believe_all(true);
  CHECK_FALSE(rig.found());
}

TEST_CASE("copied certificates: the one with an RSA key goes with the other") {
  Rig rig;
  const store::Certificate beside{
      .name = "a.test", .fullchain_pem = rig.bundle.chain_pem, .privkey_pem = rig.bundle.key_pem};
  REQUIRE(certs::save(rig.store.here(), certs::Slot::rsa, beside, soon()));
  const auto count = [&] {
    const auto got = rig.certs.find("a.test", soon());
    return got ? got->size() : 0;
  };
  CHECK(count() == 2);
  rig.store.away = true;
  CHECK(count() == 2);
  rig.store.away = false;
  REQUIRE(certs::erase(rig.store.here(), certs::Slot::rsa, "a.test", soon()));
  CHECK(count() == 2);
  rig.certs.told("a.test");
  CHECK(count() == 1);
  rig.store.away = true;
  CHECK(count() == 1);
}
