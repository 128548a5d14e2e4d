#include "server/renewal.h"

#include "support/away_store.h"
#include "support/eventually.h"
#include "support/fake_ca.h"
#include "support/temp_dir.h"
#include <proxycore/cert.h>
#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/store.h>

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using server::Renewal;
using test::eventually;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{60});
}

struct Rig {
  test::TempDir dir;
  std::unique_ptr<Store> store = open_memory();
  test::FakeCa ca;
  Config config;

  Rig() {
    config.acme.enabled = true;
    config.acme.agree_tos = true;
    config.acme.directory = ca.url();
    config.renew.key_file = dir.file("key");
  }
  std::unique_ptr<Renewal> renewal() {
    auto made = Renewal::create(config, *store);
    REQUIRE_MESSAGE(made.has_value(), made.error().message());
    return *std::move(made);
  }
  [[nodiscard]] bool has_certificate(std::string_view name) const {
    return CertStore(*store).find(name, soon()).has_value();
  }
};

Host host(const std::string& name) {
  return {.host = name, .ip = "127.0.0.1", .target_port = 80};
}

}  // namespace

TEST_CASE("renewal: it is this process's where the store is on this machine, or as is configured") {
  Config config;
  const std::unique_ptr<Store> own = open_memory();
  const test::AwayStore shared;  // a redis
  CHECK_FALSE(Renewal::is_wanted(config, *own));
  config.acme.enabled = true;
  CHECK(Renewal::is_wanted(config, *own));
  CHECK_FALSE(Renewal::is_wanted(config, shared));
  config.renew.in_process = true;
  CHECK(Renewal::is_wanted(config, shared));
  config.renew.in_process = false;
  CHECK_FALSE(Renewal::is_wanted(config, *own));
}

TEST_CASE("renewal: hosts of the store and of the configuration get theirs until it is stopped") {
  Rig rig;
  const auto renewal = rig.renewal();
  renewal->start();
  REQUIRE(save(*rig.store, host("a.example.test"), soon()));
  CHECK(eventually([&] { return rig.has_certificate("a.example.test"); }));
  renewal->declare({host("b.example.test")});
  CHECK(eventually([&] { return rig.has_certificate("b.example.test"); }));
  CHECK(eventually(
      [&] { return renewal->metrics().find("result=\"issued\"} 2") != std::string::npos; }));
  renewal->stop();
  renewal->stop();
}

TEST_CASE("renewal: what it cannot be made with is said at once") {
  Rig rig;
  rig.config.acme.ca = rig.dir.file("none.pem");
  const auto made = Renewal::create(rig.config, *rig.store);
  REQUIRE_FALSE(made);
  CHECK(made.error().detail.starts_with("acme.ca: "));
}

TEST_CASE("renewal: one that was never started ends") {
  Rig rig;
  rig.renewal()->stop();
}
