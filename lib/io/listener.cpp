#include "io/listener.h"

#include <cerrno>
#include <cstring>

#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>
#include <uv.h>

namespace proxycore::io {

namespace {

constexpr Millis out_of_descriptors_pause{100};

Error failed(const ListenAddress& address, std::string_view what) {
  const int reason = errno;
  return {reason == EADDRINUSE ? Errc::conflict
          : reason == EACCES   ? Errc::denied
                               : Errc::io,
          fmt::format("listen on {}: {}: {}", address.text(), what, std::strerror(reason))};
}

Result<int> listen_unix(const ListenAddress& address, std::uint32_t backlog, std::uint32_t mode) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  if (address.address.size() >= sizeof where.sun_path) {
    return Error{Errc::invalid, fmt::format("listen on {}: the path is over {} bytes",
                                            address.text(), sizeof where.sun_path - 1)};
  }
  std::memcpy(where.sun_path, address.address.data(), address.address.size());
  const auto* name = reinterpret_cast<const sockaddr*>(&where);

  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(address, "socket");
  const auto fail = [&](std::string_view what) {
    Error error = failed(address, what);
    ::close(fd);
    return error;
  };
  // A file that nobody answers on was left by a process that died.
  struct stat there {};
  if (::lstat(where.sun_path, &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) {
      errno = EEXIST;
      return fail("expected a socket or nothing at that path");
    }
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0) return fail("socket");
    const bool abandoned = ::connect(probe, name, sizeof where) != 0 && errno == ECONNREFUSED;
    ::close(probe);
    if (!abandoned) {  // it answers, is too busy to, or is not ours to judge
      errno = EADDRINUSE;
      return fail("bind");
    }
    ::unlink(where.sun_path);
  }
  // Nobody may connect before the mode is right.
  const mode_t before = ::umask(0777);
  const bool bound = ::bind(fd, name, sizeof where) == 0;
  const int reason = errno;
  ::umask(before);
  errno = reason;
  if (!bound) return fail("bind");
  if (::chmod(where.sun_path, static_cast<mode_t>(mode)) != 0) return fail("chmod");
  if (::listen(fd, static_cast<int>(backlog)) != 0) return fail("listen");
  return fd;
}

}  // namespace

Result<int> listen_on(const ListenAddress& address, std::uint32_t backlog,
                      std::uint32_t unix_mode) {
  if (address.is_unix) return listen_unix(address, backlog, unix_mode);
  const auto ip = Address::parse(address.address, address.port);
  if (!ip) {
    return Error{Errc::invalid,
                 fmt::format("listen on {}: expected an IP address", address.text())};
  }
  const int fd = ::socket(ip->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(address, "socket");
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (ip->family() == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  const auto fail = [&](std::string_view what) {
    Error error = failed(address, what);
    ::close(fd);
    return error;
  };
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return fail("SO_REUSEPORT");
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::bind(fd, ip->data(), ip->size()) != 0) return fail("bind");
  if (::listen(fd, static_cast<int>(backlog)) != 0) return fail("listen");
  return fd;
}

std::uint16_t bound_port(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  return Address(reinterpret_cast<const sockaddr&>(storage)).port();
}

struct Listener::Block {
  uv_poll_t poll;
  Listener* listener;
};

Listener::Listener(Loop& loop, int fd, bool is_unix, unsigned kind, Owner& owner)
    : loop_(loop),
      block_(new Block{{}, this}),
      owner_(owner),
      pause_(loop.timers(), *this, [](Listener& self) { self.watch(true); }),
      fd_(fd),
      kind_(kind),
      is_unix_(is_unix) {
  uv_poll_init(&loop_.uv(), &block_->poll, fd_);
  block_->poll.data = block_;
  watch(true);
}

Listener::~Listener() {
  block_->listener = nullptr;
  uv_poll_stop(&block_->poll);
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->poll),
           [](uv_handle_t* handle) { delete static_cast<Block*>(handle->data); });
  ::close(fd_);
}

void Listener::watch(bool on) {
  if (!on) {
    uv_poll_stop(&block_->poll);
    return;
  }
  uv_poll_start(&block_->poll, UV_READABLE, [](uv_poll_t* handle, int, int) {
    // One per event: the others of this turn get theirs in between, and no accept finds nothing.
    if (Listener* self = static_cast<Block*>(handle->data)->listener) self->accept_one();
  });
}

bool Listener::accept_one() {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  const int fd =
      ::accept4(fd_, reinterpret_cast<sockaddr*>(&storage), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    owner_.on_accept(fd, Address(reinterpret_cast<const sockaddr&>(storage)), *this);
    return true;
  }
  switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      watch(false);
      pause_.arm(out_of_descriptors_pause);
      return false;
    case ECONNABORTED:  // this client went away again
    case EINTR:
    case EPERM:  // a firewall's word
    case EPROTO:
      return true;
    default:
      return false;
  }
}

void Listener::accept_rest() {
  // A client that connects between the last accept and the close would be reset. A filter that
  // drops every packet keeps it out: it asks again in a second, and is refused or served elsewhere.
  sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{1, &drop};
  ::setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  while (accept_one()) {
  }
}

}  // namespace proxycore::io
