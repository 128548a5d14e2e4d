// Unix-domain stream sockets for the far side of a test. Thread: any.
#pragma once

#include "support/sockets.h"

#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/un.h>

#include <doctest/doctest.h>

namespace proxycore::test {

inline sockaddr_un unix_name(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof name.sun_path);
  std::memcpy(name.sun_path, path.data(), path.size());
  return name;
}

inline Fd connect_unix(const std::string& path) {
  const sockaddr_un name = unix_name(path);
  Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  return client;
}

// Does not block.
inline Fd listen_unix(const std::string& path) {
  const sockaddr_un name = unix_name(path);
  Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  REQUIRE(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  REQUIRE(::listen(listening.get(), 128) == 0);
  return listening;
}

}  // namespace proxycore::test
