// Program: another program that a test runs: killed when it dies, and when the test does.
//
// What it says goes to a file. Also: ports that nobody listens on. Thread: the one that made it.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
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

class Program {
 public:
  Program() = default;
  // `words`: the program, found by PATH, and its arguments. `environment` is added to ours.
  Program(const std::vector<std::string>& words, const std::string& log,
          const std::vector<std::pair<std::string, std::string>>& environment = {}) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // should the test die
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    if (::getppid() == parent) ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  Program(Program&& from) noexcept : pid_(std::exchange(from.pid_, -1)) {}
  Program& operator=(Program&& from) noexcept {
    std::swap(pid_, from.pid_);
    return *this;
  }
  ~Program() { kill(); }

  void kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  // Whether it has not ended by itself.
  [[nodiscard]] bool runs() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ > 0;
  }

 private:
  pid_t pid_ = -1;
};

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// Of TCP and UDP alike. Somebody else may take it before a program does.
inline std::uint16_t free_port() {
  for (int tries = 0; tries < 100; ++tries) {
    const int tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    const bool free = ::bind(tcp, raw, size) == 0 && ::getsockname(tcp, raw, &size) == 0 &&
                      ::bind(udp, raw, size) == 0;
    ::close(tcp);
    ::close(udp);
    if (free) return ntohs(address.sin_port);
  }
  FAIL("no free port");
  return 0;
}

// Whether somebody takes TCP connections there.
inline bool listens(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const bool taken =
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return taken;
}

}  // namespace proxycore::test
