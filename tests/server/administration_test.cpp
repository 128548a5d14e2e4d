#include "server/administration.h"

#include "support/away_store.h"
#include "support/eventually.h"
#include "support/http_server.h"
#include "support/temp_dir.h"
#include "support/tls_client.h"
#include "support/wire.h"
#include <proxycore/config.h>
#include <proxycore/server.h>
#include <proxycore/store.h>

#include <fstream>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using server::Administration;

namespace {

constexpr std::string_view health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

Deadline soon() {
  return Deadline::in(Seconds{10});
}

// A loop on a thread of its own.
struct Turning {
  io::Loop loop;
  std::thread thread{[this] { loop.run(); }};
  void end() {
    loop.stop();
    if (thread.joinable()) thread.join();
  }
  ~Turning() { end(); }
};

class Echo final : public Handler {
  void handle(Request request, Responder responder) override {
    if (request.path() == "/never") return held.push_back(std::move(responder));
    responder.respond({.status = 200, .fields = {}, .body = request.method + " " + request.target});
  }

 public:
  std::vector<Responder> held;
};

// A server with the manager in it, or the manager alone.
class Running {
 public:
  explicit Running(Store& store, bool alone = false) {
    config.listen.http = {"127.0.0.1:0"};
    config.listen.admin = {"127.0.0.1:0"};
    config.admin.listen = {"127.0.0.1:0"};
    config.admin.https = {"127.0.0.1:0"};
    config.admin.bcrypt_cost = 4;
    config.admin.initial_password_file = dir.file("password");
    std::ofstream(config.admin.initial_password_file) << "Correct-Horse-7\n";
    config.renew.key_file = dir.file("key");
    config.workers.count = 1;
    config.log.access = "off";
    if (alone) config.admin.in_process = false;
    auto made = alone ? Server::create_manager(config, store) : Server::create(config, store);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message()));
    server = *std::move(made);
    thread_ = std::thread([this] { CHECK(server->run()); });
  }
  ~Running() {
    server->stop();
    thread_.join();
  }
  [[nodiscard]] Wire manager() const { return Wire::to(server->manager_addresses().at(0).port); }

  TempDir dir;
  Config config;
  std::unique_ptr<Server> server;

 private:
  std::thread thread_;
};

}  // namespace

TEST_CASE(
    "administration: it is this process's where the store is on this machine, and it listens") {
  Config config;
  const std::unique_ptr<Store> own = open_memory();
  const AwayStore shared;  // a redis
  CHECK_FALSE(Administration::is_wanted(config, *own));
  config.admin.https = {"127.0.0.1:0"};
  CHECK(Administration::is_wanted(config, *own));
  CHECK_FALSE(Administration::is_wanted(config, shared));
  config.admin.listen = {"127.0.0.1:0"};
  config.admin.in_process = true;
  CHECK(Administration::is_wanted(config, shared));
  config.admin.in_process = false;
  CHECK_FALSE(Administration::is_wanted(config, *own));
}

TEST_CASE("administration: a page of a handler on a loop is waited for") {
  Echo echo;
  Turning turning;
  const auto page = server::ask_on(turning.loop, echo, "/explain?host=a", soon());
  REQUIRE(page);
  CHECK(page->body == "GET /explain?host=a");
  CHECK(server::ask_on(turning.loop, echo, "/never", Deadline::in(Millis{20})).error().code ==
        Errc::timeout);
  std::stop_source stop;
  stop.request_stop();
  const auto cancelled =
      server::ask_on(turning.loop, echo, "/never", Deadline::in(Seconds{10}, stop.get_token()));
  CHECK(cancelled.error().code == Errc::cancelled);
}

TEST_CASE("administration: another proxyd is asked at the first address that can be") {
  HttpServer proxyd([](const Ask& ask) {
    return Reply{.status = 503, .body = ask.target, .headers = {{"X-From", "proxyd"}}};
  });
  Config config;
  CHECK(server::page_of(config)("/metrics", soon()).error().code == Errc::not_found);
  config.listen.admin = {"unix:/run/x.sock", "127.0.0.1:0"};
  CHECK(server::page_of(config)("/metrics", soon()).error().code == Errc::not_found);
  config.listen.admin.push_back("*:" + std::to_string(proxyd.port()));
  const auto page = server::page_of(config)("/explain?host=a", soon());
  REQUIRE(page);
  CHECK(page->status == 503);
  CHECK(page->body == "/explain?host=a");
}

TEST_CASE("administration: the manager answers beside the proxy, plain and over TLS") {
  const auto store = open_memory();
  Running running(*store);
  Wire wire = running.manager();
  wire.send(health);
  CHECK(wire.message().ends_with(R"({"status":"ok"})"));
  const auto secure =
      visit(running.server->manager_tls_addresses().at(0).port, "manager.test",
            "GET /health HTTP/1.1\r\nHost: manager.test\r\nConnection: close\r\n\r\n");
  CHECK(secure.reply.ends_with(R"({"status":"ok"})"));
  // It is nothing that clients see.
  Wire client = Wire::to(running.server->http_addresses().at(0).port);
  client.send(health);
  CHECK(client.status() == 404);
}

TEST_CASE("administration: the manager alone proxies nothing, and has its listeners") {
  AwayStore store;
  Running running(store, true);
  CHECK(running.server->http_addresses().empty());
  CHECK(running.server->admin_addresses().empty());
  Wire wire = running.manager();
  wire.send(health);
  CHECK(wire.status() == 200);
}

TEST_CASE(
    "administration: while the store is away requests are told, and answered once it is back") {
  AwayStore store;
  store.away = true;
  Running running(store, true);
  Wire wire = running.manager();
  wire.send(health);
  const std::string told = wire.message();
  CHECK(told.starts_with("HTTP/1.1 503 "));
  CHECK(told.find("Retry-After: ") != std::string::npos);
  store.away = false;
  CHECK(eventually([&] {
    wire.send(health);
    return wire.status() == 200;
  }));
}

TEST_CASE("administration: where proxyd is the manager there is no second one") {
  const auto store = open_memory();
  const auto refused = Server::create_manager(Config{}, *store);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("admin.in_process") != std::string::npos);
}

TEST_CASE("administration: what is wrong with its configuration is said at the start") {
  const auto store = open_memory();
  const TempDir dir;
  Config config;
  config.admin.listen = {"127.0.0.1:0"};
  config.admin.initial_password_file = "/nowhere/password";
  config.renew.key_file = dir.file("key");
  const auto refused = Server::create(config, *store);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("/nowhere/password") != std::string::npos);
}
