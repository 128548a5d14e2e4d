#include <proxycore/server.h>

#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <uv.h>

using namespace proxycore;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

class Hello final : public Handler {
 public:
  void handle(Request request, Responder responder) override {
    responder.respond({.status = 200, .fields = {}, .body = "hello " + request.host});
  }
};

// A blocking client on loopback that gives up after ten seconds.
class Client {
 public:
  explicit Client(const ListenAddress& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(to.port);
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  void get(std::string_view host, std::string_view path = "/") {
    const std::string text =
        "GET " + std::string(path) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n";
    REQUIRE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }
  // What came up to and with `mark`, or up to the end.
  std::string until(std::string_view mark) {
    std::string all;
    char part[4096];
    while (all.find(mark) == std::string::npos) {
      const ssize_t count = ::recv(fd_, part, sizeof part, 0);
      if (count <= 0) break;
      all.append(part, static_cast<std::size_t>(count));
    }
    return all;
  }

 private:
  int fd_;
  bool connected_ = false;
};

Config config_for_test() {
  Config config;
  config.listen.http = {"127.0.0.1:0"};
  config.listen.admin = {"127.0.0.1:0"};
  config.workers.count = 2;
  config.log.access = "off";
  return config;
}

// A server that runs on a thread of its own until the end of the test.
class Running {
 public:
  explicit Running(Server& server) : server_(server), thread_([&] { CHECK(server.run()); }) {}
  ~Running() {
    server_.stop();
    thread_.join();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  Server& server_;
  std::thread thread_;
};

std::string asked(const ListenAddress& address, std::string_view host, std::string_view mark,
                  std::string_view path = "/") {
  Client client(address);
  client.get(host, path);
  return client.until(mark);
}

}  // namespace

TEST_CASE("server: an address that is taken, or none, is an error that names it") {
  const auto store = open_memory();
  auto first = Server::create(config_for_test(), *store);
  REQUIRE(first);
  // Another process would fail at bind; here SO_REUSEPORT lets it pass, so a plain socket sits
  // there.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
  REQUIRE(::listen(fd, 1) == 0);
  socklen_t size = sizeof where;
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&where), &size) == 0);
  Config taken = config_for_test();
  taken.listen.http = {"127.0.0.1:" + std::to_string(ntohs(where.sin_port))};
  const auto refused = Server::create(taken, *store);
  ::close(fd);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
  CHECK(refused.error().detail.find(taken.listen.http.front()) != std::string::npos);

  Config wrong = config_for_test();
  wrong.listen.http = {"nowhere"};
  const auto malformed = Server::create(wrong, *store);
  REQUIRE_FALSE(malformed);
  CHECK(malformed.error().code == Errc::invalid);
}

TEST_CASE("server: privileges can be dropped once the listeners are bound, and that can fail") {
  const auto store = open_memory();
  bool called = false;
  const auto refused = Server::create(config_for_test(), *store, [&]() -> Result<void> {
    called = true;
    return Error{Errc::denied, "no"};
  });
  CHECK(called);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
}

TEST_CASE("server: a host in both the file and the store is refused at the start") {
  const auto store = open_memory();
  const Host host{.host = "a.test", .ip = "127.0.0.1", .target_port = 1};
  REQUIRE(save(*store, host, soon()));
  Config config = config_for_test();
  config.hosts.push_back({host, "proxycore.toml:3"});
  const auto refused = Server::create(std::move(config), *store);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::conflict);
  CHECK(refused.error().detail.find("proxycore.toml:3") != std::string::npos);
}

TEST_CASE("server: a mounted handler answers, other hosts do not") {
  const auto store = open_memory();
  Hello hello;
  auto server = *Server::create(config_for_test(), *store);
  REQUIRE(server->mount("*.hello.test", hello));
  CHECK(server->mount("*.hello.test", hello).error().code == Errc::conflict);
  CHECK(server->mount("bad name", hello).error().code == Errc::invalid);
  const Running running(*server);
  const ListenAddress address = server->http_addresses().front();
  CHECK(asked(address, "A.Hello.Test", "hello a.hello.test").find("200 OK") != std::string::npos);
  CHECK(asked(address, "hello.test", "</html>").find("404 Not Found") != std::string::npos);
}

TEST_CASE("server: a change in the store and a reload are seen without a restart") {
  const auto store = open_memory();
  auto server = *Server::create(config_for_test(), *store);
  const Running running(*server);
  const ListenAddress address = server->http_addresses().front();
  // Nothing listens on port 1: 502 tells that the host is known, 404 that it is not.
  const auto becomes = [&](std::string_view host, std::string_view status) {
    const Deadline by = soon();
    while (!by.passed()) {
      if (asked(address, host, "</html>").find(status) != std::string::npos) return true;
      std::this_thread::yield();
    }
    return false;
  };
  CHECK(becomes("a.test", "404"));
  REQUIRE(save(*store, {.host = "a.test", .ip = "127.0.0.1", .target_port = 1}, soon()));
  CHECK(becomes("a.test", "502"));

  Config next = config_for_test();
  next.hosts.push_back({{.host = "b.test", .ip = "127.0.0.1", .target_port = 1}, "x.toml:1"});
  REQUIRE(server->reload(next));
  CHECK(becomes("b.test", "502"));
  CHECK(becomes("a.test", "502"));

  next.hosts.push_back({{.host = "a.test", .ip = "127.0.0.1", .target_port = 1}, "x.toml:2"});
  const auto clash = server->reload(next);
  REQUIRE_FALSE(clash);
  CHECK(clash.error().code == Errc::conflict);
  CHECK(becomes("b.test", "502"));

  REQUIRE(remove_host(*store, "a.test", soon()));
  CHECK(becomes("a.test", "404"));
}

TEST_CASE("server: a drain answers what is under way, then run() returns") {
  const auto store = open_memory();
  Hello hello;
  auto server = *Server::create(config_for_test(), *store);
  REQUIRE(server->mount("hello.test", hello));
  std::thread thread([&] { CHECK(server->run()); });
  const ListenAddress address = server->http_addresses().front();
  Client kept(address);
  kept.get("hello.test");
  CHECK(kept.until("hello hello.test").find("Connection: close") == std::string::npos);
  server->drain();
  kept.get("hello.test");
  CHECK(kept.until("hello hello.test").find("Connection: close") != std::string::npos);
  CHECK(kept.until("more").empty());  // closed
  thread.join();
  CHECK_FALSE(Client(address).connected());
}

TEST_CASE("server: /readyz, /livez and /metrics are on the admin listener alone") {
  const auto store = open_memory();
  auto server = *Server::create(config_for_test(), *store);
  const Running running(*server);
  const ListenAddress admin = server->admin_addresses().front();
  CHECK(asked(admin, "x", "ok\n", "/readyz").find("200 OK") != std::string::npos);
  CHECK(asked(admin, "x", "ok\n", "/livez").find("200 OK") != std::string::npos);
  CHECK(asked(admin, "x", "proxycore_hosts 0", "/metrics").find("proxycore_hosts 0") !=
        std::string::npos);
  CHECK(asked(server->http_addresses().front(), "x.test", "</html>", "/metrics").find("404") !=
        std::string::npos);
}

TEST_CASE("server: attached to an application's loop it serves there and leaves it clean") {
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  const auto store = open_memory();
  Hello hello;
  auto server = *Server::create(config_for_test(), *store);
  REQUIRE(server->mount("hello.test", hello));
  REQUIRE(server->attach(loop));
  CHECK(server->attach(loop).error().code == Errc::invalid);
  CHECK(server->run().error().code == Errc::invalid);

  std::string answer;
  uv_async_t done;
  uv_async_init(&loop, &done, [](uv_async_t* handle) { uv_stop(handle->loop); });
  std::thread client([&] {
    answer = asked(server->http_addresses().front(), "hello.test", "hello hello.test");
    uv_async_send(&done);
  });
  uv_run(&loop, UV_RUN_DEFAULT);
  client.join();
  CHECK(answer.find("200 OK") != std::string::npos);
  server.reset();
  uv_close(reinterpret_cast<uv_handle_t*>(&done), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&loop) == 0);
}
