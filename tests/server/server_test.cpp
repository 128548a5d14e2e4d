#include "support/eventually.h"
#include "support/program.h"
#include "support/temp_dir.h"
#include "support/wire.h"
#include <proxycore/observe.h>
#include <proxycore/server.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <uv.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

using Clock = std::chrono::steady_clock;

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

Config quiet() {
  Config config;
  config.listen.http = {"127.0.0.1:0"};
  config.listen.admin = {"127.0.0.1:0"};
  config.workers.count = 2;
  config.log.access = "off";
  return config;
}

Host host_of(std::string name, const Door& target) {
  return {.host = std::move(name), .ip = "127.0.0.1", .target_port = target.address.port()};
}

Config with(Config config, std::initializer_list<Host> hosts) {
  for (const Host& host : hosts) {
    config.hosts.push_back({host, "proxycore.toml:" + std::to_string(config.hosts.size() + 1)});
  }
  return config;
}

std::string get(std::string_view host, std::string_view target = "/", std::string_view lines = "") {
  std::string text = "GET ";
  return text.append(target)
      .append(" HTTP/1.1\r\nHost: ")
      .append(host)
      .append("\r\n")
      .append(lines)
      .append("\r\n");
}

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr std::string_view upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
constexpr std::string_view switching =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

// A target that answers everything with a text of its own, until it dies.
class Backend {
 public:
  explicit Backend(std::string text) : text_(std::move(text)), thread_([this] { serve(); }) {}
  ~Backend() {
    ending_ = true;
    const Fd wakes_accept = door.connect();
    thread_.join();
  }
  Door door;

 private:
  void serve() {
    std::vector<std::thread> all;
    for (;;) {
      Fd fd = door.accept();
      if (ending_) break;
      all.emplace_back([this, fd = std::move(fd)] {
        std::string in;
        for (std::string part = fd.receive(); !part.empty(); part = fd.receive()) {
          in += part;
          for (std::size_t at = in.find("\r\n\r\n"); at != std::string::npos;
               at = in.find("\r\n\r\n")) {
            in.erase(0, at + 4);
            const std::string answer =
                "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(text_.size()) + "\r\n\r\n" +
                text_;
            ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
          }
        }
      });
    }
    for (std::thread& thread : all) thread.join();
  }
  std::string text_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

// A server running on threads of its own, over a store in memory.
class Running {
 public:
  explicit Running(Config config = quiet()) : store(open_memory()) {
    auto made = Server::create(std::move(config), *store);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message()));
    server = *std::move(made);
    start();
  }
  Running(std::unique_ptr<Store> given, Config config) : store(std::move(given)) {
    auto made = Server::create(std::move(config), *store);
    REQUIRE(made);
    server = *std::move(made);
    start();
  }
  ~Running() {
    server->stop();
    join();
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] Wire client() const { return Wire::to(server->http_addresses().at(0).port); }
  [[nodiscard]] Wire admin() const { return Wire::to(server->admin_addresses().at(0).port); }
  // The body of an answer of the admin listener.
  [[nodiscard]] std::string ask(std::string_view path) const {
    Wire wire = admin();
    wire.send(get("admin", path));
    const std::string answer = wire.message();
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }
  // Asks until the answer to a request for `host` contains `text`.
  [[nodiscard]] bool becomes(std::string_view host, std::string_view text) const {
    const auto until = Clock::now() + std::chrono::seconds{10};
    Wire wire = client();
    while (Clock::now() < until) {
      wire.send(get(host));
      if (wire.message().find(text) != std::string::npos) return true;
    }
    return false;
  }

  std::unique_ptr<Store> store;
  std::unique_ptr<Server> server;
  std::optional<Result<void>> ended;

 private:
  void start() {
    thread_ = std::thread([this] { ended = server->run(); });
  }
  std::thread thread_;
};

// A store whose reading can be made to fail.
class Flaky final : public Store {
 public:
  std::atomic<bool> broken{false};

  Result<Record> get(std::string_view key, const Deadline& by) override {
    if (broken) return Error{Errc::io, "the disk is gone"};
    return real_->get(key, by);
  }
  Result<void> put(std::string_view key, const Record& record, Ttl ttl,
                   const Deadline& by) override {
    return real_->put(key, record, ttl, by);
  }
  Result<void> create(std::string_view key, const Record& record, Ttl ttl,
                      const Deadline& by) override {
    return real_->create(key, record, ttl, by);
  }
  Result<void> update(std::string_view key, const Change& change, Life life,
                      const Deadline& by) override {
    return real_->update(key, change, life, by);
  }
  Result<void> put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                       const Deadline& by) override {
    return real_->put_all(records, ttl, by);
  }
  Result<bool> erase_if(std::string_view key, const Condition& condition,
                        const Deadline& by) override {
    return real_->erase_if(key, condition, by);
  }
  Result<bool> erase(std::string_view key, const Deadline& by) override {
    return real_->erase(key, by);
  }
  Result<std::vector<std::string>> keys(std::string_view prefix, const Deadline& by) override {
    return real_->keys(prefix, by);
  }
  Result<void> scan(std::string_view prefix,
                    const std::function<void(std::string_view key, Record&& record)>& each,
                    const Deadline& by) override {
    if (broken) return Error{Errc::io, "the disk is gone"};
    return real_->scan(prefix, each, by);
  }
  Result<std::unique_ptr<Lease>> lock(std::string_view name, Seconds ttl,
                                      const Deadline& by) override {
    return real_->lock(name, ttl, by);
  }
  Result<std::unique_ptr<Watch>> watch(std::string_view prefix,
                                       std::function<void(std::string_view)> changed) override {
    return real_->watch(prefix, std::move(changed));
  }
  [[nodiscard]] std::string describe() const override { return "flaky:"; }

 private:
  std::unique_ptr<Store> real_ = open_memory();
};

// What is logged while it lives.
class Lines {
 public:
  Lines() {
    set_log_sink([this](LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex_);
      all_.emplace_back(line);
    });
  }
  ~Lines() { set_log_sink({}); }
  [[nodiscard]] std::size_t with(std::string_view text) const {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (const std::string& line : all_) {
      if (line.find(text) != std::string::npos) ++count;
    }
    return count;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> all_;
};

Error refusal(Config config, Store& store, const std::function<Result<void>()>& bound = {}) {
  auto made = Server::create(std::move(config), store, bound);
  REQUIRE_FALSE(made);
  return made.error();
}

bool tells(const Error& error, std::string_view text) {
  return error.detail.find(text) != std::string::npos;
}

// The value of a sample on a metrics page; "-" if there is none.
std::string sample(const std::string& page, const std::string& name) {
  const std::string line = "\nproxycore_" + name + " ";
  const std::size_t at = page.find(line);
  if (at == std::string::npos) return "-";
  const std::size_t begin = at + line.size();
  return page.substr(begin, page.find('\n', begin) - begin);
}

}  // namespace

// --- create

TEST_CASE("server: an address that is none, or not ours, is refused by name") {
  const auto store = open_memory();
  Config config = quiet();
  config.listen.http = {"nonsense"};
  Error error = refusal(config, *store);
  CHECK(error.code == Errc::invalid);
  CHECK(tells(error, "nonsense"));
  config.listen.http = {"192.0.2.1:0"};
  error = refusal(config, *store);
  CHECK(error.code == Errc::io);
  CHECK(tells(error, "192.0.2.1"));
  config.listen.http = {"127.0.0.1:0"};
  config.listen.admin = {"127.0.0.1:99999"};
  CHECK(refusal(config, *store).code == Errc::invalid);
}

TEST_CASE("server: a port that is taken is refused, and what was bound is free again") {
  const auto store = open_memory();
  const Door taken;
  Config config = quiet();
  config.listen.http = {"127.0.0.1:0", taken.address.text()};
  const Error error = refusal(config, *store);
  CHECK(error.code == Errc::conflict);
  CHECK(tells(error, taken.address.text()));
}

TEST_CASE("server: what cannot work is refused before anything runs") {
  const auto store = open_memory();
  Config config = quiet();
  config.forwarding.trusted = {"10.0.0.0/8", "10.0.0.0/40"};
  const Error error = refusal(config, *store);
  CHECK(error.code == Errc::invalid);
  CHECK(tells(error, "forwarding.trusted"));
  CHECK(tells(error, "10.0.0.0/40"));
  config = quiet();
  config.log.access = "/nowhere/at/all/access.log";
  CHECK(tells(refusal(config, *store), "/nowhere/at/all/access.log"));
}

TEST_CASE("server: a host in the file and in the store is refused, naming both") {
  const auto store = open_memory();
  const Door door;
  REQUIRE(save(*store, host_of("a.test", door), soon()));
  const Error error =
      refusal(with(quiet(), {host_of("b.test", door), host_of("a.test", door)}), *store);
  CHECK(error.code == Errc::conflict);
  CHECK(tells(error, "'a.test'"));
  CHECK(tells(error, "proxycore.toml:2"));
  CHECK(tells(error, "memory:"));
}

TEST_CASE("server: who has to act between binding and starting may, and may refuse") {
  const auto store = open_memory();
  int calls = 0;
  auto made = Server::create(quiet(), *store, [&]() -> Result<void> {
    ++calls;
    return {};
  });
  REQUIRE(made);
  CHECK(calls == 1);
  const Error error = refusal(quiet(), *store, [] { return Error{Errc::denied, "not as root"}; });
  CHECK(error.code == Errc::denied);
  CHECK(error.detail == "not as root");
}

TEST_CASE("server: a store that cannot be read is no store to start with") {
  Flaky store;
  store.broken = true;
  CHECK(refusal(quiet(), store).code == Errc::io);
}

// --- run

TEST_CASE("server: hosts of the file and of the store are served at the addresses it tells") {
  Backend file("from the file");
  Backend store("from the store");
  auto memory = open_memory();
  REQUIRE(save(*memory, host_of("*.store.test", store.door), soon()));
  Running running(std::move(memory), with(quiet(), {host_of("file.test", file.door)}));
  REQUIRE(running.server->http_addresses().size() == 1);
  CHECK(running.server->http_addresses()[0].address == "127.0.0.1");
  CHECK(running.server->http_addresses()[0].port != 0);
  Wire client = running.client();
  client.send(get("file.test"));
  CHECK(client.message().ends_with("from the file"));
  client.send(get("a.store.test"));
  CHECK(client.message().ends_with("from the store"));
  client.send(get("store.test"));
  CHECK(client.status() == 404);
}

TEST_CASE("server: stop ends it at once, from any thread, before or after it runs") {
  const auto store = open_memory();
  {
    auto server = *Server::create(quiet(), *store);
    server->stop();
    CHECK(server->run());
    CHECK(server->run().error().code == Errc::invalid);
  }
  {
    auto server = *Server::create(quiet(), *store);
    server->drain();
    CHECK(server->run());
  }
  Running running;
  Wire client = running.client();
  client.send(get("unknown.test"));
  CHECK(client.status() == 404);
  CHECK(running.server->run().error().code == Errc::invalid);
  running.server->stop();
  running.server->stop();
  running.join();
  REQUIRE(running.ended);
  CHECK(*running.ended);
  CHECK(client.rest().empty());
}

TEST_CASE("server: many threads may reload, ask, drain and stop at the same time") {
  Running running;
  const Door door;
  const auto at_once = [](auto&& work) {
    std::vector<std::thread> all;
    for (int i = 0; i < 4; ++i) all.emplace_back(work);
    for (std::thread& thread : all) thread.join();
  };
  at_once([&] {
    for (int round = 0; round < 5; ++round) {
      if (!running.server->reload(with(quiet(), {host_of("a.test", door)}))) std::abort();
      running.server->reopen_logs();
      const Fd admin = Wire::connected(running.server->admin_addresses()[0].port);
      const std::string request = get("admin", "/metrics");
      ::send(admin.get(), request.data(), request.size(), MSG_NOSIGNAL);
      if (admin.receive().empty()) std::abort();
    }
  });
  at_once([&] {
    running.server->drain();
    running.server->stop();
  });
  running.join();
  CHECK(*running.ended);
}

TEST_CASE("server: a drain lets what was begun come to its end") {
  const Door door;
  Running running(with(quiet(), {host_of("a.test", door)}));
  Wire client = running.client();
  client.send(get("a.test"));
  Wire at(door.accept());
  at.until("\r\n\r\n");
  const std::uint16_t port = running.server->http_addresses()[0].port;
  running.server->drain();
  CHECK(running.ask("/readyz") == "draining\n");
  CHECK(running.ask("/livez") == "ok\n");
  // Once nobody accepts any more, all workers know of it.
  CHECK(eventually([port] { return !listens(port); }));
  at.send(ok);
  const std::string answer = client.rest();
  CHECK(answer.ends_with("ok"));
  CHECK(answer.find("Connection: close") != std::string::npos);
  client.close();
  running.join();
  CHECK(*running.ended);
}

TEST_CASE("server: a drain ends at its deadline, whoever is still there") {
  const Door door;
  Config config = with(quiet(), {host_of("a.test", door)});
  config.timeouts.drain = Millis{300};
  const Lines lines;
  Running running(std::move(config));
  Wire client = running.client();
  client.send(get("a.test"));
  Wire at(door.accept());
  at.until("\r\n\r\n");
  const auto begin = Clock::now();
  running.server->drain();
  running.join();
  CHECK(Clock::now() - begin < std::chrono::seconds{8});
  CHECK(*running.ended);
  CHECK(client.rest().empty());
  CHECK(lines.with("event=drain.deadline") == 1);
}

TEST_CASE("server: a handler mounted before it runs answers for its hosts") {
  class Hello final : public Handler {
    void handle(Request request, Responder responder) override {
      responder.respond({.status = 200, .fields = {}, .body = "hello " + request.host});
    }
  } hello;
  const auto store = open_memory();
  auto server = *Server::create(quiet(), *store);
  CHECK(server->mount("Local.test", hello));
  CHECK(server->mount("*.local.test", hello));
  CHECK(server->mount("local.test.", hello).error().code == Errc::conflict);
  CHECK(server->mount("a b", hello).error().code == Errc::invalid);
  std::thread thread([&] { CHECK(server->run()); });
  Wire client = Wire::to(server->http_addresses()[0].port);
  client.send(get("LOCAL.test:80"));
  CHECK(client.message().ends_with("hello local.test"));
  client.send(get("x.local.test"));
  CHECK(client.message().ends_with("hello x.local.test"));
  client.send(get("x.y.local.test"));
  CHECK(client.status() == 404);
  CHECK(server->mount("late.test", hello).error().code == Errc::invalid);
  server->stop();
  thread.join();
}

// --- on an application's own loop

TEST_CASE("server: it serves on an application's own loop") {
  Backend target("hello");
  const auto store = open_memory();
  REQUIRE(save(*store, host_of("a.test", target.door), soon()));
  uv_loop_t loop;
  uv_loop_init(&loop);
  Config config = quiet();
  config.workers.count = 4;  // there is one, and it hears everybody
  auto server = *Server::create(std::move(config), *store);
  REQUIRE(server->attach(loop));
  CHECK(server->attach(loop).error().code == Errc::invalid);
  CHECK(server->run().error().code == Errc::invalid);
  int answers = 0;
  std::thread clients([&] {
    for (int i = 0; i < 20; ++i) {
      Wire client = Wire::to(server->http_addresses()[0].port);
      client.send(get("a.test"));
      if (client.message().ends_with("hello")) ++answers;
    }
    server->stop();
  });
  uv_run(&loop, UV_RUN_DEFAULT);  // ends with stop(): nothing else is on it
  clients.join();
  CHECK(answers == 20);
  server.reset();
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&loop) == 0);
}

TEST_CASE("server: on an application's loop it may die in the middle of everything") {
  const Door door;
  const auto store = open_memory();
  uv_loop_t loop;
  uv_loop_init(&loop);
  auto server = *Server::create(with(quiet(), {host_of("a.test", door)}), *store);
  REQUIRE(server->attach(loop));
  Wire waiting = Wire::to(server->http_addresses()[0].port);
  waiting.send(get("a.test"));
  Wire idle = Wire::to(server->http_addresses()[0].port);
  for (int i = 0; i < 10; ++i) uv_run(&loop, UV_RUN_NOWAIT);
  SUBCASE("at once") {}
  SUBCASE("in a drain") {
    server->drain();
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  server.reset();
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&loop) == 0);
  CHECK(waiting.rest().empty());
  CHECK(idle.rest().empty());
}

TEST_CASE("server: a drain on an application's loop closes everything when it is done") {
  const auto store = open_memory();
  uv_loop_t loop;
  uv_loop_init(&loop);
  auto server = *Server::create(quiet(), *store);
  REQUIRE(server->attach(loop));
  server->drain();
  uv_run(&loop, UV_RUN_DEFAULT);
  server.reset();
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&loop) == 0);
}

// --- changes

TEST_CASE("server: a reload takes hosts over and drops no connection") {
  const Door old;
  Backend fresh("fresh");
  Running running(with(quiet(), {host_of("a.test", old), host_of("gone.test", old)}));
  Wire tunnel = running.client();
  tunnel.send(get("a.test", "/ws", upgrade));
  Wire inside(old.accept());
  inside.until("\r\n\r\n");
  inside.send(switching);
  tunnel.until("\r\n\r\n");
  Wire download = running.client();
  download.send(get("gone.test"));
  Wire source(old.accept());
  source.until("\r\n\r\n");
  source.send("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n");
  const std::string half(1'000'000, 'x');
  source.send(half);
  download.until("\r\n\r\n");
  CHECK(download.take(half.size()) == half);

  REQUIRE(running.server->reload(with(quiet(), {host_of("a.test", fresh.door)})));
  CHECK(running.becomes("gone.test", "404 Not Found"));

  Wire client = running.client();
  client.send(get("a.test"));
  CHECK(client.message().ends_with("fresh"));
  source.send(half);
  CHECK(download.take(half.size()) == half);
  download.send(get("gone.test"));
  CHECK(download.status() == 404);
  tunnel.send("ping");
  CHECK(inside.take(4) == "ping");
  inside.send("pong");
  CHECK(tunnel.take(4) == "pong");
}

TEST_CASE("server: a reload that is refused changes nothing") {
  Backend target("kept");
  const Door other;
  Running running(with(quiet(), {host_of("a.test", target.door)}));
  REQUIRE(save(*running.store, host_of("s.test", target.door), soon()));
  CHECK(running.becomes("s.test", "kept"));
  Result<void> twice =
      running.server->reload(with(quiet(), {host_of("b.test", other), host_of("b.test", other)}));
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Errc::conflict);
  Result<void> clash =
      running.server->reload(with(quiet(), {host_of("b.test", other), host_of("s.test", other)}));
  REQUIRE_FALSE(clash);
  CHECK(clash.error().code == Errc::conflict);
  // The store's next change must not bring the refused hosts in.
  REQUIRE(save(*running.store, host_of("t.test", target.door), soon()));
  CHECK(running.becomes("t.test", "kept"));
  Wire client = running.client();
  client.send(get("a.test"));
  CHECK(client.message().ends_with("kept"));
  client.send(get("b.test"));
  CHECK(client.status() == 404);
}

TEST_CASE("server: a reload names the keys that need a restart, and no others") {
  const Lines lines;
  Config config = quiet();
  config.workers.count = 0;
  Running running(config);
  REQUIRE(running.server->reload(config));
  CHECK(lines.with("event=reload.ignored") == 0);
  config.limits.body_size = 1;
  config.timeouts.drain = Millis{1};
  REQUIRE(running.server->reload(config));
  CHECK(lines.with("event=reload.ignored") == 2);
  CHECK(lines.with("key=limits.body_size") == 1);
  CHECK(lines.with("key=timeouts.drain") == 1);
}

TEST_CASE("server: what changes in the store is served soon afterwards") {
  Backend one("one");
  Backend two("two");
  Running running;
  REQUIRE(save(*running.store, host_of("a.test", one.door), soon()));
  CHECK(running.becomes("a.test", "one"));
  REQUIRE(save(*running.store, host_of("a.test", two.door), soon()));
  CHECK(running.becomes("a.test", "two"));
  REQUIRE(remove_host(*running.store, "a.test", soon()));
  CHECK(running.becomes("a.test", "404 Not Found"));
}

TEST_CASE("server: while the store cannot be read, the hosts known before go on") {
  Backend target("hello");
  auto store = std::make_unique<Flaky>();
  Flaky& flaky = *store;
  REQUIRE(save(*store, host_of("a.test", target.door), soon()));
  const Lines lines;
  Running running(std::move(store), quiet());
  CHECK(running.becomes("a.test", "hello"));
  flaky.broken = true;
  REQUIRE(save(flaky, host_of("b.test", target.door), soon()));
  const auto until = Clock::now() + std::chrono::seconds{10};
  while (sample(running.ask("/metrics"), "route_update_failures_total") == "0") {
    REQUIRE(Clock::now() < until);
  }
  CHECK(lines.with("the disk is gone") >= 1);
  CHECK(running.becomes("a.test", "hello"));
  const Result<void> reloaded = running.server->reload(quiet());
  REQUIRE_FALSE(reloaded);
  CHECK(reloaded.error().code == Errc::io);
  flaky.broken = false;
  CHECK(running.becomes("b.test", "hello"));
}

// --- logs and metrics

TEST_CASE("server: after a rotation the access log goes on in a new file") {
  const TempDir directory;
  const std::string path = directory.file("access.log");
  const auto read = [](const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  {
    Config config = quiet();
    config.log.access = path;
    Running running(config);
    Wire client = running.client();
    client.send(get("unknown.test", "/first"));
    CHECK(client.status() == 404);
    const auto until = Clock::now() + std::chrono::seconds{10};
    while (read(path).empty()) REQUIRE(Clock::now() < until);
    REQUIRE(std::rename(path.c_str(), (path + ".1").c_str()) == 0);
    running.server->reopen_logs();
    client.send(get("unknown.test", "/second"));
    CHECK(client.status() == 404);
  }
  CHECK(read(path + ".1").find("/first") != std::string::npos);
  CHECK(read(path).find("/second") != std::string::npos);
  CHECK(read(path).find("/first") == std::string::npos);
}

TEST_CASE("server: metrics tell what was served, by host up to the cap") {
  Backend target("12345");
  Config config = with(quiet(), {host_of("a.test", target.door), host_of("b.test", target.door)});
  config.metrics.hosts = 1;
  Running running(std::move(config));
  Wire client = running.client();
  for (const std::string_view host : {"a.test", "a.test", "b.test", "unknown.test"}) {
    client.send(get(host));
    client.message();
  }
  const std::string page = running.ask("/metrics");
  CHECK(sample(page, "requests_total") == "4");
  CHECK(sample(page, "responses_total{status=\"2xx\"}") == "3");
  CHECK(sample(page, "host_responses_total{host=\"a.test\",status=\"2xx\"}") == "2");
  CHECK(sample(page, "host_responses_total{host=\"b.test\",status=\"2xx\"}") == "-");
  CHECK(sample(page, "host_responses_total{host=\"other\",status=\"2xx\"}") == "1");
  CHECK(sample(page, "host_responses_total{host=\"other\",status=\"4xx\"}") == "1");
  CHECK(sample(page, "host_response_bytes_total{host=\"a.test\"}") == "10");
  CHECK(sample(page, "request_duration_seconds_count") == "4");
  CHECK(sample(page, "origin_first_byte_seconds_count") == "3");
  CHECK(sample(page, "lookups_total{tier=\"trie\",result=\"miss\"}") == "0");
  CHECK(sample(page, "hosts") == "2");
  CHECK(sample(page, "connections") == "1");
  // Clients are not told.
  client.send(get("unknown.test", "/metrics"));
  CHECK(client.status() == 404);
}

TEST_CASE("server: hosts of the store do not get at our own pages, those of the file may") {
  // The file's host has to know the port beforehand.
  const std::uint16_t port = [] {
    const Door door;
    return door.address.port();
  }();
  Config config = quiet();
  config.listen.admin = {"127.0.0.1:" + std::to_string(port)};
  const Host own{.host = "own.test", .ip = "127.0.0.1", .target_port = port};
  Running running(with(std::move(config), {own}));
  Host users = own;
  users.host = "users.test";
  REQUIRE(save(*running.store, users, soon()));
  Host name = own;
  name.host = "name.test";
  name.ip = "localhost";
  REQUIRE(save(*running.store, name, soon()));
  CHECK(running.becomes("own.test", "expected /metrics"));
  CHECK(running.becomes("users.test", "502 Bad Gateway"));
  CHECK(running.becomes("name.test", "502 Bad Gateway"));
  CHECK(running.ask("/metrics").find("proxycore_origin_refused_addresses_total 0") ==
        std::string::npos);
}
