// A real redis-server of a test's own: on a free loopback port and a Unix socket, without anything
// on the disk, killed when it dies. Where the program is not installed, the test fails and says so.
// Thread: the one that made it.
#pragma once

#include "redis/sync_client.h"
#include "support/temp_dir.h"
#include <proxycore/deadline.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace proxycore::test {

class RedisServer {
 public:
  // `options` as on its command line: {"--maxmemory", "4mb"}.
  explicit RedisServer(std::vector<std::string> options = {}) : options_(std::move(options)) {
    start();
  }
  ~RedisServer() { kill(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  // As it was before, on the same addresses, but empty.
  void start() {
    // Somebody else may take a free port before the server does.
    for (int tries = 0; pid_ < 0; ++tries) {
      REQUIRE_MESSAGE(tries < 20, "redis-server does not start (Debian's package redis-server)");
      if (port_ == 0) port_ = free_port();
      if (!try_to_start()) {
        kill();
        port_ = 0;
      }
    }
  }
  // With SIGKILL.
  void kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  void hang() const { ::kill(pid_, SIGSTOP); }
  void go_on() const { ::kill(pid_, SIGCONT); }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::string path() const { return dir_.file("redis.sock"); }
  [[nodiscard]] std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string unix_url() const { return "redis+unix://" + path(); }

  // As somebody with redis-cli could do it. Error replies fail the test.
  redis::Reply run(redis::Args command) {
    constexpr Millis patience{20'000};
    const Deadline by = Deadline::in(patience);
    redis::Backoff none;
    redis::SyncClient client(*redis::Url::parse(unix_url()), none);
    const auto connected = client.connect(by);
    REQUIRE_MESSAGE(connected.has_value(), connected.error().message());
    auto reply = client.call(command, by);
    REQUIRE_MESSAGE(reply.has_value(), reply.error().message());
    return *std::move(reply);
  }
  redis::Reply run(std::initializer_list<std::string_view> command) {
    return run(redis::Args{command.begin(), command.size()});
  }

 private:
  static std::uint16_t free_port() {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    ::close(socket);
    return ntohs(address.sin_port);
  }

  // Until it says that it is ready. false: it ended.
  bool try_to_start() {
    std::vector<std::string> words = {"redis-server",
                                      "--port",
                                      std::to_string(port_),
                                      "--bind",
                                      "127.0.0.1",
                                      "--unixsocket",
                                      path(),
                                      "--dir",
                                      dir_.path(),
                                      "--save",
                                      "",
                                      "--appendonly",
                                      "no",
                                      "--daemonize",
                                      "no",
                                      "--logfile",
                                      ""};
    words.insert(words.end(), options_.begin(), options_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    int log[2];
    REQUIRE(::pipe2(log, O_CLOEXEC) == 0);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // should the test die
      ::dup2(log[1], STDOUT_FILENO);
      ::dup2(log[1], STDERR_FILENO);
      if (::getppid() == parent) ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(log[1]);
    std::string said;
    char part[1024];
    for (ssize_t count = 1; count > 0 && said.find("Ready to accept") == std::string::npos;) {
      count = ::read(log[0], part, sizeof part);
      if (count > 0) said.append(part, static_cast<std::size_t>(count));
    }
    ::close(log[0]);  // what it says from now on is lost
    return said.find("Ready to accept") != std::string::npos;
  }

  const TempDir dir_;
  const std::vector<std::string> options_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace proxycore::test
