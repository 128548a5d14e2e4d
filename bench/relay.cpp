// The floor: what any proxy in user space must pay. One thread, one epoll; each client connection
// is paired with one origin connection and bytes are copied across without being looked at: two
// reads and two writes per keep-alive request, 256 KiB at a time for bodies, no read that finds
// nothing. Not a proxy: no routing, no headers, no limits, no time-outs. With --close (the
// new-connection case) it finds the end of each answer by its Content-Length, closes the client and
// gives the origin connection to the next client, as a proxy with a pool would. With --tls its
// clients speak TLS, by OpenSSL; requests of more than a record are not meant for that.
#include "net.h"

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include <openssl/ssl.h>
#include <strings.h>

namespace {

constexpr std::size_t slab_size = std::size_t{256} * 1024;
using Slab = std::unique_ptr<char[]>;

// One socket of a pair. Bytes its socket did not take stay in the slab they were read into, and the
// other side is not read until they are gone.
struct Side {
  int fd = -1;
  Side* other = nullptr;  // null: an origin connection in the pool
  bool readable = false;
  bool half_closed = false;
  bool is_origin = false;
  SSL* ssl = nullptr;  // null: plain
  Slab held = {};
  std::string_view unsent = {};
};

// As read(2) and write(2).
ssize_t receive(const Side& side, char* into, std::size_t most) {
  if (side.ssl == nullptr) return read(side.fd, into, most);
  const int n = SSL_read(side.ssl, into, static_cast<int>(most));
  if (n > 0) return n;
  const int why = SSL_get_error(side.ssl, n);
  errno = why == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
  return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

ssize_t send(const Side& side, std::string_view bytes) {
  if (side.ssl == nullptr) return write(side.fd, bytes.data(), bytes.size());
  const int n = SSL_write(side.ssl, bytes.data(), static_cast<int>(bytes.size()));
  if (n > 0) return n;
  errno = SSL_get_error(side.ssl, n) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
  return -1;
}

SSL_CTX* tls_context(const char* chain, const char* key) {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(context, chain) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
    std::fprintf(stderr, "relay: %s, %s: no certificate and key\n", chain, key);
    std::exit(1);
  }
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);
  return context;
}

struct Relay {
  int epoll;
  std::uint16_t origin_port;
  bool close_after_answer;
  SSL_CTX* tls;  // null: plain
  Slab scratch = std::make_unique<char[]>(slab_size);
  std::vector<Slab> spare = {};
  std::vector<Side*> pool = {};
  std::vector<Side*> dead = {};  // freed after the turn: an event later in the batch may name them

  Side* add(int fd, bool is_origin) {
    auto* const side = new Side{.fd = fd, .is_origin = is_origin};
    bench::watch(epoll, fd, side);
    return side;
  }

  void on_accept(int fd) {
    Side* const client = add(fd, false);
    if (tls != nullptr) {
      client->ssl = SSL_new(tls);
      SSL_set_fd(client->ssl, fd);
      SSL_set_accept_state(client->ssl);
    }
    if (pool.empty()) pool.push_back(add(bench::connect_to(origin_port), true));
    client->other = pool.back();
    pool.pop_back();
    client->other->other = client;
  }

  void drop(Side* side) {
    if (side->fd < 0) return;
    SSL_free(side->ssl);
    close(side->fd);
    side->fd = -1;
    dead.push_back(side);
  }

  void drop_pair(Side* side) {
    drop(side->other);
    drop(side);
  }

  void on_answered(Side* origin) {
    drop(origin->other);
    origin->other = nullptr;
    pool.push_back(origin);
  }

  // Bytes of the answer still to come after its first piece, which is taken to hold its head.
  static std::size_t rest_of_answer(std::string_view first) {
    constexpr std::string_view name = "\r\nContent-Length:";
    std::size_t at = 0;
    while (strncasecmp(first.data() + at, name.data(), name.size()) != 0) {
      at = first.find("\r\n", at + 1);
    }
    const std::size_t length = std::strtoul(first.data() + at + name.size(), nullptr, 10);
    return first.find("\r\n\r\n") + 4 + length - first.size();
  }

  void hold(Side* side, std::string_view unsent) {
    side->unsent = unsent;
    side->held = std::move(scratch);
    if (spare.empty()) spare.push_back(std::make_unique<char[]>(slab_size));
    scratch = std::move(spare.back());
    spare.pop_back();
  }

  // False: the pair is gone.
  bool flush(Side* side) {
    const ssize_t sent = send(*side, side->unsent);
    if (sent < 0) return errno == EAGAIN;
    side->unsent.remove_prefix(static_cast<std::size_t>(sent));
    if (side->unsent.empty()) spare.push_back(std::move(side->held));
    return true;
  }

  // Copies from `from` until its socket is empty or the other one is full. False: the pair is gone.
  bool pump(Side* from) {
    while (from->readable && from->other != nullptr && from->other->unsent.empty()) {
      const ssize_t n = receive(*from, scratch.get(), slab_size);
      if (n == 0) return false;
      if (n < 0) {
        from->readable = false;
        return errno == EAGAIN;
      }
      // A short read has emptied the socket, unless the end of the stream is all that is left.
      from->readable = n == ssize_t{slab_size} || from->half_closed ||
                       (from->ssl != nullptr && SSL_has_pending(from->ssl) == 1);
      const std::string_view bytes(scratch.get(), static_cast<std::size_t>(n));
      const ssize_t sent = send(*from->other, bytes);
      if (sent < 0 && errno != EAGAIN) return false;
      if (sent < n) {
        hold(from->other, bytes.substr(sent < 0 ? 0 : static_cast<std::size_t>(sent)));
      } else if (close_after_answer && from->is_origin && rest_of_answer(bytes) == 0) {
        on_answered(from);
      }
    }
    return true;
  }

  bool on_event(Side* side, std::uint32_t events) {
    if ((events & EPOLLRDHUP) != 0) side->half_closed = true;
    if ((events & EPOLLIN) != 0) side->readable = true;
    if ((events & EPOLLOUT) != 0 && !side->unsent.empty()) {
      if (!flush(side) || !pump(side->other)) return false;
    }
    return pump(side);
  }
};

}  // namespace

int main(int argc, char** argv) {
  const bool close_after_answer = argc == 4 && std::string_view(argv[3]) == "--close";
  const bool tls = argc == 6 && std::string_view(argv[3]) == "--tls";
  if (argc != 3 && !close_after_answer && !tls) {
    std::fprintf(stderr, "usage: bench_relay PORT ORIGIN_PORT [--close | --tls CHAIN KEY]\n");
    return 2;
  }
  const int listener = bench::listen_on(bench::port_argument(argv[1]));
  const int epoll = bench::check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  bench::watch_listener(epoll, listener);
  Relay relay{epoll, bench::port_argument(argv[2]), close_after_answer,
              tls ? tls_context(argv[4], argv[5]) : nullptr};
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.ptr != nullptr) {
        auto* const side = static_cast<Side*>(event.data.ptr);
        if (side->fd >= 0 && !relay.on_event(side, event.events)) relay.drop_pair(side);
        continue;
      }
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) relay.on_accept(fd);
    }
    for (Side* const side : relay.dead) delete side;
    relay.dead.clear();
  }
}
