#include "io/listener.h"

#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/turns.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <uv.h>

using namespace proxycore;
using io::Listener;
using io::Loop;
using test::Fd;
using test::run_turns;
using test::run_until;

namespace {

struct Owner final : Listener::Owner {
  void on_accept(int fd, const io::Address& peer, Listener& from) override {
    accepted.emplace_back(fd);
    peers.push_back(peer);
    kinds.push_back(from.kind());
    if (during_accept) during_accept();
  }
  std::vector<Fd> accepted;
  std::vector<io::Address> peers;
  std::vector<unsigned> kinds;
  std::function<void()> during_accept;
};

int listen_tcp(std::string_view ip, std::uint16_t port) {
  const auto fd = io::listen_on({.address = std::string(ip), .port = port}, 128, 0660);
  REQUIRE(fd);
  return *fd;
}

Fd connect_tcp(int listening) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  REQUIRE(::getsockname(listening, reinterpret_cast<sockaddr*>(&name), &size) == 0);
  Fd client(::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&name), size) == 0);
  return client;
}

ListenAddress unix_at(const std::string& path) {
  return {.address = path, .port = 0, .is_unix = true};
}

sockaddr_un name_of(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  return name;
}

Fd connect_unix(const std::string& path) {
  const sockaddr_un name = name_of(path);
  Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  return client;
}

int option(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  ::getsockopt(fd, level, name, &value, &size);
  return value;
}

// No further descriptor can be had while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const Fd lowest_free(::dup(0));
    const rlimit none{static_cast<rlim_t>(lowest_free.get()), before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("listener: the system chooses a port for 0; clients are accepted and told who they are") {
  for (const char* ip : {"127.0.0.1", "::1"}) {
    CAPTURE(ip);
    Loop loop;
    Owner owner;
    const int fd = listen_tcp(ip, 0);
    CHECK(io::bound_port(fd) != 0);
    const Listener listener(loop, fd, false, 7, owner);
    CHECK_FALSE(listener.is_unix());
    const Fd client = connect_tcp(fd);
    run_until(loop, [&] { return owner.accepted.size() == 1; });
    CHECK(owner.peers[0].ip() == ip);
    CHECK(owner.peers[0].port() == io::bound_port(client.get()));
    CHECK(owner.kinds[0] == 7);
  }
}

TEST_CASE("listener: what it accepts does not block, is not inherited, and has TCP_NODELAY") {
  Loop loop;
  Owner owner;
  const int fd = listen_tcp("127.0.0.1", 0);
  const Listener listener(loop, fd, false, 0, owner);
  const Fd client = connect_tcp(fd);
  run_until(loop, [&] { return owner.accepted.size() == 1; });
  const int accepted = owner.accepted[0].get();
  CHECK((::fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(accepted, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(option(accepted, IPPROTO_TCP, TCP_NODELAY) != 0);
}

TEST_CASE("listener: two on one port share the clients") {
  constexpr std::size_t count = 64;
  Loop loop;
  Owner first;
  Owner second;
  const int one = listen_tcp("127.0.0.1", 0);
  const int two = listen_tcp("127.0.0.1", io::bound_port(one));
  const Listener listeners[] = {{loop, one, false, 0, first}, {loop, two, false, 0, second}};
  std::vector<Fd> clients;
  for (std::size_t i = 0; i < count; ++i) clients.push_back(connect_tcp(one));
  run_until(loop, [&] { return first.accepted.size() + second.accepted.size() == count; });
  CHECK_FALSE(first.accepted.empty());
  CHECK_FALSE(second.accepted.empty());
}

TEST_CASE("listener: an IPv6 address leaves the IPv4 one alone") {
  Result<int> v4 = Error{};
  for (int tries = 0; !v4 && tries < 100; ++tries) {  // somebody else may have the port
    const Fd v6(listen_tcp("::", 0));
    v4 = io::listen_on({.address = "0.0.0.0", .port = io::bound_port(v6.get())}, 128, 0660);
  }
  REQUIRE(v4);
  ::close(*v4);
}

TEST_CASE("listener: what is wrong with an address is told with the address") {
  const auto name = io::listen_on({.address = "localhost", .port = 1}, 128, 0660);
  REQUIRE_FALSE(name);
  CHECK(name.error().code == Errc::invalid);
  CHECK(name.error().detail == "listen on localhost:1: expected an IP address");

  const test::Door taken;  // without SO_REUSEPORT
  const auto port = taken.address.port();
  const auto used = io::listen_on({.address = "127.0.0.1", .port = port}, 128, 0660);
  REQUIRE_FALSE(used);
  CHECK(used.error().code == Errc::conflict);
  CHECK(used.error().detail ==
        "listen on " + taken.address.text() + ": bind: Address already in use");
}

TEST_CASE("listener: closing it after accept_rest() loses no client that had connected") {
  Loop loop;
  Owner owner;
  const int fd = listen_tcp("127.0.0.1", 0);
  std::optional<Listener> listener(std::in_place, loop, fd, false, 0u, owner);
  std::vector<Fd> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(connect_tcp(fd));
  listener->accept_rest();
  listener.reset();
  REQUIRE(owner.accepted.size() == clients.size());
  for (const Fd& client : clients) client.send("hello");
  for (const Fd& accepted : owner.accepted) {
    accepted.set_blocking(true);
    CHECK(accepted.receive() == "hello");
  }
}

TEST_CASE("listener: takes one client per turn, so that the others get theirs") {
  Loop loop;
  Owner owner;
  const int fd = listen_tcp("127.0.0.1", 0);
  const Listener listener(loop, fd, false, 0, owner);
  const Fd clients[] = {connect_tcp(fd), connect_tcp(fd), connect_tcp(fd)};
  for (std::size_t turn = 1; turn <= 3; ++turn) {
    uv_run(&loop.uv(), UV_RUN_ONCE);
    CHECK(owner.accepted.size() == turn);
  }
}

TEST_CASE("listener: may be destroyed inside on_accept") {
  Loop loop;
  Owner owner;
  const int fd = listen_tcp("127.0.0.1", 0);
  std::optional<Listener> listener(std::in_place, loop, fd, false, 0u, owner);
  owner.during_accept = [&] { listener.reset(); };
  const Fd clients[] = {connect_tcp(fd), connect_tcp(fd)};
  run_until(loop, [&] { return !listener.has_value(); });
  run_turns(loop);
  CHECK(owner.accepted.size() == 1);
}

TEST_CASE("listener: out of descriptors, it rests instead of spinning, and goes on by itself") {
  Loop loop;
  Owner owner;
  const int fd = listen_tcp("127.0.0.1", 0);
  const Listener listener(loop, fd, false, 0, owner);
  const Fd clients[] = {connect_tcp(fd), connect_tcp(fd)};
  int turns = 0;
  {
    const NoDescriptors none;
    bool over = false;
    io::Timer timer(loop.timers(), over, [](bool& flag) { flag = true; });
    timer.arm(Millis{300});
    run_until(loop, [&] {
      ++turns;
      return over;
    });
    CHECK(owner.accepted.empty());
  }
  CHECK(turns < 100);
  run_until(loop, [&] { return owner.accepted.size() == 2; });
}

TEST_CASE("listener: a Unix socket has the mode that was asked for") {
  const test::TempDir dir;
  for (const std::uint32_t mode : {0660u, 0600u, 0666u}) {
    const std::string path = dir.file(std::to_string(mode));
    Loop loop;
    Owner owner;
    const auto fd = io::listen_on(unix_at(path), 128, mode);
    REQUIRE(fd);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == mode);
    CHECK(io::bound_port(*fd) == 0);
    const Listener listener(loop, *fd, true, 0, owner);
    CHECK(listener.is_unix());
    const Fd client = connect_unix(path);
    run_until(loop, [&] { return owner.accepted.size() == 1; });
    CHECK(owner.peers[0].unspecified());
  }
  // The process's own mask is as it was.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  CHECK(mask != 0777);
}

TEST_CASE("listener: the socket file of a process that died is replaced") {
  const test::TempDir dir;
  const std::string path = dir.file("stale");
  { const Fd died(*io::listen_on(unix_at(path), 128, 0660)); }
  REQUIRE(std::filesystem::exists(path));
  const auto fd = io::listen_on(unix_at(path), 128, 0660);
  REQUIRE(fd);
  const Fd listening(*fd);
  connect_unix(path);
}

TEST_CASE("listener: the socket of a living process is left alone, however busy it is") {
  const test::TempDir dir;
  const std::string path = dir.file("live");
  const sockaddr_un name = name_of(path);
  const Fd living(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(living.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  REQUIRE(::listen(living.get(), 0) == 0);
  for (int i = 0; i < 2; ++i) {  // the second try finds the queue full
    const auto fd = io::listen_on(unix_at(path), 128, 0660);
    REQUIRE_FALSE(fd);
    CHECK(fd.error().code == Errc::conflict);
    CHECK(fd.error().detail == "listen on unix:" + path + ": bind: Address already in use");
  }
  CHECK(living.get() >= 0);
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("listener: what is no socket is not removed") {
  const test::TempDir dir;
  const std::string file = dir.file("file");
  Fd(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)).send("");
  const std::string link = dir.file("link");
  std::filesystem::create_symlink(file, link);
  for (const std::string& path : {file, link, dir.path()}) {
    const auto fd = io::listen_on(unix_at(path), 128, 0660);
    REQUIRE_FALSE(fd);
    CHECK(fd.error().detail.find("expected a socket or nothing at that path") != std::string::npos);
    CHECK(std::filesystem::exists(path));
  }
}

TEST_CASE("listener: a path that does not fit, or leads nowhere") {
  const test::TempDir dir;
  const auto long_one = io::listen_on(unix_at(dir.file(std::string(200, 'x'))), 128, 0660);
  REQUIRE_FALSE(long_one);
  CHECK(long_one.error().code == Errc::invalid);
  CHECK(long_one.error().detail.find("the path is over 107 bytes") != std::string::npos);
  CHECK_FALSE(io::listen_on(unix_at(dir.file("no/such/directory")), 128, 0660));
}
