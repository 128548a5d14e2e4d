// Sockets and epoll for the benchmark's own programs: loopback only, edge-triggered, no error
// recovery. Here: what origin, relay and load share. Not here: anything of HTTP, anything of the
// proxy. A benchmark that cannot get a socket has no result, so every failure ends the program.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

[[noreturn]] inline void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

inline int check(int result, const char* what) {
  if (result < 0) die(what);
  return result;
}

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// TCP_NODELAY is set once here: accepted sockets inherit it. SIGPIPE goes: a load that ends in the
// middle of an answer is normal here.
inline int listen_on(std::uint16_t port) {
  std::signal(SIGPIPE, SIG_IGN);
  const int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
  check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
  const sockaddr_in address = loopback(port);
  check(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  check(listen(fd, 4096), "listen");
  return fd;
}

// Loopback connects at once, so this blocks for microseconds; the socket does not block afterwards.
inline int connect_to(std::uint16_t port) {
  const int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
  const sockaddr_in address = loopback(port);
  check(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  check(fcntl(fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
  return fd;
}

// One registration for the life of the socket: edge-triggered in both directions.
inline void watch(int epoll, int fd, void* tag) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = tag;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

// The listening socket is level-triggered and carries no tag.
inline void watch_listener(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

inline std::uint16_t port_argument(const char* text) {
  const long port = std::strtol(text, nullptr, 10);
  if (port < 1 || port > 65535) {
    std::fprintf(stderr, "'%s' is not a port\n", text);
    std::exit(2);
  }
  return static_cast<std::uint16_t>(port);
}

}  // namespace bench
