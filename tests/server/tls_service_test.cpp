#include "server/tls_service.h"

#include "host/keys.h"
#include "support/authority.h"
#include "support/eventually.h"
#include "support/temp_dir.h"
#include "support/tls_client.h"
#include <proxycore/server.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

using Names = std::vector<std::string>;
constexpr std::string_view request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

Deadline soon() {
  return Deadline::in(Seconds{5});
}

Config quiet() {
  Config config;
  config.listen.https = {"127.0.0.1:0"};
  config.workers.count = 2;
  config.log.access = "off";
  config.timeouts.drain = Millis{0};
  return config;
}

// A server that runs on a thread of its own.
class Running {
 public:
  Running(Config config, Store& store, std::vector<CertSource*> sources = {}) {
    auto made = Server::create(std::move(config), store);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().detail));
    server_ = *std::move(made);
    for (CertSource* source : sources) REQUIRE(server_->serve_certificates(*source));
    thread_ = std::thread([this] { CHECK(server_->run()); });
  }
  ~Running() {
    server_->stop();
    thread_.join();
  }
  Server& server() { return *server_; }
  TlsVisit visit(const std::string& name, const std::shared_ptr<ssl_session_st>& resume = {}) {
    return test::visit(server_->https_addresses().front().port, name, request, resume);
  }
  Names names(const std::string& name) { return visit(name).names; }

 private:
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

struct Files {
  explicit Files(const CertBundle& bundle) { write(bundle); }
  void write(const CertBundle& bundle) {
    std::ofstream(chain) << bundle.chain_pem;
    std::ofstream(key) << bundle.key_pem;
  }
  Config::CertificateFiles entry() { return {chain, key, "p.toml:7"}; }
  TempDir folder;
  std::string chain = folder.file("chain.pem");
  std::string key = folder.file("key.pem");
};

const Names fallback = {"fallback.invalid"};

}  // namespace

TEST_CASE("tls service: certificates of files, and the fallback for everybody else") {
  const auto store = open_memory();
  Files files(lone({.dns = {"a.test", "*.w.test"}}));
  Config config = quiet();
  config.certificates = {files.entry()};
  Running running(config, *store);
  CHECK(running.names("a.test") == Names{"a.test", "*.w.test"});
  CHECK(running.names("A.TEST") == Names{"a.test", "*.w.test"});
  CHECK(running.names("x.w.test") == Names{"a.test", "*.w.test"});
  CHECK(running.names("b.test") == fallback);
  CHECK(running.names("") == fallback);
  // An unknown host is answered, not reset.
  CHECK(running.visit("a.test").reply.starts_with("HTTP/1.1 404 "));
}

TEST_CASE(
    "tls service: a certificate in the store serves as soon as it is there, and goes with it") {
  const auto store = open_memory();
  Running running(quiet(), *store);
  CHECK(running.names("a.test") == fallback);
  CertStore certs(*store);
  REQUIRE(certs.put("a.test", lone({.dns = {"a.test"}}), soon()));
  CHECK(eventually([&] { return running.names("a.test") == Names{"a.test"}; }));
  REQUIRE(certs.put("a.test", lone({.dns = {"a.test", "b.test"}}), soon()));
  CHECK(eventually([&] { return running.names("a.test") == Names{"a.test", "b.test"}; }));
  REQUIRE(certs.erase("a.test", soon()));
  CHECK(eventually([&] { return running.names("a.test") == fallback; }));
}

TEST_CASE("tls service: an application's own source comes first, and can be told to have changed") {
  class Own final : public CertSource {
   public:
    Result<std::vector<CertBundle>> find(std::string_view name, const Deadline& /*by*/) override {
      if (name != "a.test") return Error{Errc::not_found};
      return std::vector<CertBundle>{now ? second : first};
    }
    CertBundle first = lone({.dns = {"a.test", "first.test"}});
    CertBundle second = lone({.dns = {"a.test", "second.test"}});
    std::atomic<bool> now = false;
  } own;
  const auto store = open_memory();
  REQUIRE(CertStore(*store).put("a.test", lone({.dns = {"a.test", "store.test"}}), soon()));
  Running running(quiet(), *store, {&own});
  CHECK(running.names("a.test") == Names{"a.test", "first.test"});
  own.now = true;
  running.server().forget_certificate("a.test");
  CHECK(eventually([&] { return running.names("a.test") == Names{"a.test", "second.test"}; }));
}

TEST_CASE("tls service: a reload takes over files, or none if one is broken") {
  const auto store = open_memory();
  Files files(lone({.dns = {"a.test"}}));
  Config config = quiet();
  config.certificates = {files.entry()};
  Running running(config, *store);
  CHECK(running.names("a.test") == Names{"a.test"});
  files.write(lone({.dns = {"a.test", "new.test"}}));
  REQUIRE(running.server().reload(config));
  CHECK(eventually([&] { return running.names("a.test") == Names{"a.test", "new.test"}; }));
  std::ofstream(files.chain) << "nonsense";
  const auto reloaded = running.server().reload(config);
  REQUIRE_FALSE(reloaded);
  CHECK(reloaded.error().detail.starts_with("p.toml:7: " + files.chain));
  CHECK(running.names("a.test") == Names{"a.test", "new.test"});
}

TEST_CASE("tls service: a reload reads the fallback again, or keeps the one before") {
  const auto store = open_memory();
  Config config = quiet();
  Running running(config, *store);
  CHECK(running.names("a.test") == fallback);
  Files files(lone({.dns = {"mine.test"}}));
  config.tls.fallback_chain = files.chain;
  config.tls.fallback_key = files.key;
  REQUIRE(running.server().reload(config));
  const auto shows = [&](const Names& wanted) {
    return eventually(
        [&] { return running.names("a.test") == wanted && running.names("") == wanted; });
  };
  CHECK(shows({"mine.test"}));
  files.write(lone({.dns = {"renewed.test"}}));
  REQUIRE(running.server().reload(config));
  CHECK(shows({"renewed.test"}));
  std::ofstream(files.chain) << "nonsense";
  const auto broken = running.server().reload(config);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().detail.starts_with("tls.fallback_chain: " + files.chain));
  CHECK(shows({"renewed.test"}));
  // Without files it is the store's again, and no other than before.
  const auto kept = store->get("proxycore_fallback_certificate", soon());
  REQUIRE(running.server().reload(quiet()));
  CHECK(shows(fallback));
  CHECK(*store->get("proxycore_fallback_certificate", soon()) == *kept);
}

TEST_CASE("tls service: a visitor waits for the certificate that is got for the name") {
  const auto store = open_memory();
  Config config = quiet();
  config.acme.enabled = true;
  config.renew.in_process = false;  // the test gets them
  config.tls.certificate_wait = Millis{60'000};
  config.timeouts.tls_handshake = Millis{60'000};
  config.hosts = {{{.host = "a.test", .ip = "127.0.0.1", .target_port = 1}, "p.toml:1"},
                  {{.host = "*.w.test", .ip = "127.0.0.1", .target_port = 1}, "p.toml:2"}};
  Running running(config, *store);
  const auto wished = [&](const std::string& name) {
    return store->get("proxycore_wish_" + name, soon()).has_value();
  };
  CHECK(running.names("unknown.test") == fallback);
  CHECK_FALSE(wished("unknown.test"));
  for (const std::string name : {"a.test", "x.w.test"}) {
    CAPTURE(name);
    std::thread runner([&] {
      if (!eventually([&] { return wished(name); })) return;
      // News of a try that goes on send nobody away.
      static_cast<void>(store->put("proxycore_story_" + name,
                                   {{"failures", "0"}, {"state", "working"}}, {}, soon()));
      static_cast<void>(CertStore(*store).put(name, lone({.dns = {name}}), soon()));
    });
    CHECK(running.names(name) == Names{name});
    runner.join();
  }
  std::thread runner([&] {
    if (!eventually([&] { return wished("y.w.test"); })) return;
    static_cast<void>(store->put(
        "proxycore_story_y.w.test",
        {{"failures", "1"}, {"state", "failing"}, {"next_ms", "9000000000000"}}, {}, soon()));
  });
  CHECK(running.names("y.w.test") == fallback);
  runner.join();
}

TEST_CASE("tls service: a start with files that cannot be served is refused, naming them") {
  const auto store = open_memory();
  Files files(lone({.dns = {"a.test"}}));
  Config config = quiet();
  config.certificates = {{files.folder.file("none.pem"), files.key, "p.toml:7"}};
  const auto missing = Server::create(config, *store);
  REQUIRE_FALSE(missing);
  CHECK(Server::check(config).error().detail == missing.error().detail);
  CHECK(missing.error().detail.starts_with("p.toml:7: " + files.folder.file("none.pem") +
                                           ": cannot be read: "));
  config.certificates.clear();
  config.tls.fallback_chain = files.chain;
  config.tls.fallback_key = files.chain;
  const auto broken = Server::create(config, *store);
  REQUIRE_FALSE(broken);
  CHECK(Server::check(config).error().detail == broken.error().detail);
  CHECK(broken.error().detail.starts_with("tls.fallback_chain: " + files.chain));
}

TEST_CASE("tls service: the fallback that was made once is kept in the store; files come first") {
  const auto store = open_memory();
  { Running first(quiet(), *store); }
  const auto kept = store->get("proxycore_fallback_certificate", soon());
  REQUIRE(kept);
  { Running second(quiet(), *store); }
  CHECK(*store->get("proxycore_fallback_certificate", soon()) == *kept);
  Files files(lone({.dns = {"mine.test"}}));
  Config config = quiet();
  config.tls.fallback_chain = files.chain;
  config.tls.fallback_key = files.key;
  Running own(config, *store);
  CHECK(own.names("b.test") == Names{"mine.test"});
}

TEST_CASE("tls service: sessions are resumed by any worker, and after a restart") {
  const auto store = open_memory();
  std::shared_ptr<ssl_session_st> session;
  {
    Running running(quiet(), *store);
    const TlsVisit first = running.visit("a.test");
    CHECK_FALSE(first.resumed);
    REQUIRE(first.session);
    session = first.session;
    for (int i = 0; i < 8; ++i) {
      const TlsVisit next = running.visit("a.test", session);
      CHECK(next.resumed);
      REQUIRE(next.session);
      session = next.session;
    }
  }
  Running again(quiet(), *store);
  CHECK(again.visit("a.test", session).resumed);
  // A session is the name's it was made for.
  CHECK_FALSE(again.visit("b.test", session).resumed);
}

TEST_CASE("tls service: without tickets there are none") {
  const auto store = open_memory();
  Config config = quiet();
  config.tls.tickets = false;
  Running running(config, *store);
  const TlsVisit first = running.visit("a.test");
  CHECK(first.session == nullptr);
}
