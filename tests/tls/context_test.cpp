#include "tls/context.h"

#include "support/temp_dir.h"
#include "support/tls_rig.h"

#include <fstream>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using tls::Authorities;
using tls::ClientContext;
using tls::ServerContext;

TEST_CASE("tls context: protocols and ticket life times that cannot be are refused") {
  for (const std::string& name : {std::string(), std::string(256, 'x')}) {
    TlsConfig config;
    config.alpn = {"h2", name};
    CHECK(ServerContext::create(config).error().code == Errc::invalid);
    CHECK(ClientContext::create({.alpn = {name}}).error().code == Errc::invalid);
  }
  for (const Millis life : {Millis{0}, Millis{999}, Millis{7LL * 86'400'000 + 1}}) {
    TlsConfig config;
    config.ticket_lifetime = life;
    CHECK(ServerContext::create(config).error().code == Errc::invalid);
    config.tickets = false;
    CHECK(ServerContext::create(config).has_value());
  }
  TlsConfig none;
  none.alpn.clear();
  CHECK(ServerContext::create(none).has_value());
}

TEST_CASE("tls context: authorities are read from text and from files") {
  const std::string pem = test::test_authority().pem();
  CHECK(Authorities::load(pem).value()->count() == 1);
  const std::string more = pem + test::lone({}).chain_pem;
  CHECK(Authorities::load(more + test::lone({.key = "ed25519"}).chain_pem).value()->count() == 2);
  CHECK(Authorities::load("").error().code == Errc::invalid);
  CHECK(Authorities::load("no PEM").error().code == Errc::invalid);

  const test::TempDir dir;
  const std::string path = dir.path() + "/authorities.pem";
  CHECK(Authorities::load_file(path).error().code == Errc::not_found);
  std::ofstream(path) << more;
  CHECK(Authorities::load_file(path).value()->count() == 2);
  std::ofstream(path) << "empty";
  const auto bad = Authorities::load_file(path);
  CHECK(bad.error().code == Errc::invalid);
  CHECK(bad.error().detail.starts_with(path));
  CHECK_FALSE(Authorities::load_file(dir.path()).has_value());
}

TEST_CASE("tls context: without authorities nothing can be verified") {
  const auto context = ClientContext::create({}).value();
  CHECK_FALSE(context->has_authorities());
  base::Slabs slabs;
  base::Chain out(slabs);
  const auto engine = tls::Engine::client(*context, {.server_name = "a.test"}, out);
  CHECK(engine.error().code == Errc::invalid);
}

TEST_CASE("tls context: an authority of one's own is trusted besides the system's") {
  const test::Authority own({.common_name = "own root"});
  const auto alone = tls::Authorities::load(own.pem());
  REQUIRE(alone);
  const auto both = tls::Authorities::system_and(own.pem());
  REQUIRE(both);
  const auto system = tls::Authorities::system();
  CHECK((*both)->count() == (system ? (*system)->count() : 0) + 1);
  CHECK(tls::Authorities::system_and("no certificate").error().code == Errc::invalid);
}
