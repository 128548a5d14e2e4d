// The origin behind every proxy that is measured: one thread, one epoll, HTTP/1.1 keep-alive, and
// as cheap as possible, so that it does not bound the measurement. It is no web server: it trusts
// its input, ignores what it does not need and never closes first.
//   GET /1k /1m /100m       that many bytes, from one static buffer
//   POST anything           reads Content-Length bytes, answers "ok"
//   GET /ws                 101, then every byte comes back (a WebSocket echo without unmasking)
#include "net.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <sys/uio.h>

#include <strings.h>

namespace {

constexpr std::size_t scratch_size = std::size_t{256} * 1024;
constexpr std::size_t block_size = std::size_t{1024} * 1024;
char scratch[scratch_size];
const std::string block(block_size, 'x');

// SHA-1 (RFC 3174) of a short text; only the WebSocket handshake wants it (RFC 6455 §4.2.2).
std::array<unsigned char, 20> sha1(std::string text) {
  const std::uint64_t bits = text.size() * 8;
  text.push_back('\x80');
  while (text.size() % 64 != 56) text.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8) text.push_back(static_cast<char>(bits >> shift));
  const auto rotate = [](std::uint32_t x, int by) { return (x << by) | (x >> (32 - by)); };
  std::array<std::uint32_t, 5> h = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (std::size_t at = 0; at < text.size(); at += 64) {
    std::array<std::uint32_t, 80> w{};
    for (std::size_t i = 0; i < 64; ++i) {
      w[i / 4] = (w[i / 4] << 8) | static_cast<unsigned char>(text[at + i]);
    }
    for (std::size_t i = 16; i < 80; ++i) {
      w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    std::array<std::uint32_t, 5> s = h;
    for (std::size_t i = 0; i < 80; ++i) {
      std::uint32_t mix = s[1] ^ s[2] ^ s[3];
      if (i < 20) mix = (s[1] & s[2]) | (~s[1] & s[3]);
      if (i >= 40 && i < 60) mix = (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);
      constexpr std::array<std::uint32_t, 4> k = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
      s = {rotate(s[0], 5) + mix + s[4] + k[i / 20] + w[i], s[0], rotate(s[1], 30), s[2], s[3]};
    }
    for (std::size_t i = 0; i < 5; ++i) h[i] += s[i];
  }
  std::array<unsigned char, 20> digest{};
  for (std::size_t i = 0; i < 20; ++i) {
    digest[i] = static_cast<unsigned char>(h[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

std::string accept_for(std::string_view key) {
  const auto digest = sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < digest.size(); i += 3) {
    const bool last = i + 3 > digest.size();
    const std::uint32_t three = (std::uint32_t{digest[i]} << 16) |
                                (std::uint32_t{digest[i + 1]} << 8) |
                                (last ? 0U : std::uint32_t{digest[i + 2]});
    text += alphabet[three >> 18];
    text += alphabet[(three >> 12) & 63];
    text += alphabet[(three >> 6) & 63];
    text += last ? '=' : alphabet[three & 63];
  }
  return text;
}

// The value of a field in a head, empty without it. Proxies differ in the case of names.
std::string_view field(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at + 2 < head.size(); at = head.find("\r\n", at + 2)) {
    std::string_view line = head.substr(at + 2);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    if (strncasecmp(line.data(), name.data(), name.size()) != 0) continue;
    line = line.substr(name.size() + 1, line.find("\r\n") - name.size() - 1);
    return line.substr(std::min(line.find_first_not_of(' '), line.size()));
  }
  return {};
}

std::string head_for(std::size_t length) {
  return "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 01 Nov 2026 12:00:00 GMT\r\n"
         "Content-Type: application/octet-stream\r\nContent-Length: " +
         std::to_string(length) + "\r\n\r\n";
}

// An answer is a head and `length` bytes of the block, over and over.
struct Answer {
  std::string head;
  std::size_t length = 0;
  std::size_t total() const { return head.size() + length; }
};

const Answer kib = {head_for(1024) + std::string(1024, 'x')};
const Answer mib = {head_for(block_size), block_size};
const Answer mib100 = {head_for(100 * block_size), 100 * block_size};
const Answer posted = {head_for(3) + "ok\n"};
const Answer missing = {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"};

struct Connection {
  explicit Connection(int socket) : fd(socket) {}
  int fd;
  bool tunnel = false;
  bool readable = false;
  std::string partial;             // a head that has not fully arrived, or echo not yet accepted
  std::size_t body_left = 0;       // of a POST
  const Answer* answer = nullptr;  // being sent
  std::size_t sent = 0;
};

// Sends what the socket takes. False: the connection is gone.
bool send_answer(Connection& c) {
  while (c.answer != nullptr) {
    const Answer& a = *c.answer;
    std::array<iovec, 2> parts{};
    std::size_t count = 0;
    std::size_t body_at = 0;
    if (c.sent < a.head.size()) {
      parts[count++] = {const_cast<char*>(a.head.data()) + c.sent, a.head.size() - c.sent};
    } else {
      body_at = c.sent - a.head.size();
    }
    if (body_at < a.length) {
      parts[count++] = {const_cast<char*>(block.data()),
                        std::min(block.size(), a.length - body_at)};
    }
    const ssize_t n = writev(c.fd, parts.data(), static_cast<int>(count));
    if (n < 0) return errno == EAGAIN;
    c.sent += static_cast<std::size_t>(n);
    if (c.sent == a.total()) c.answer = nullptr;
  }
  return true;
}

bool start_answer(Connection& c, const Answer& answer) {
  c.answer = &answer;
  c.sent = 0;
  return send_answer(c);
}

bool echo(Connection& c, std::string_view bytes) {
  const ssize_t n = c.partial.empty() ? write(c.fd, bytes.data(), bytes.size()) : 0;
  if (n < 0 && errno != EAGAIN) return false;
  c.partial.append(bytes.substr(n < 0 ? 0 : static_cast<std::size_t>(n)));
  return true;
}

bool on_head(Connection& c, std::string_view head) {
  if (head.starts_with("POST ")) {
    const std::string length(field(head, "Content-Length"));
    c.body_left = std::strtoul(length.c_str(), nullptr, 10);
    return c.body_left > 0 || start_answer(c, posted);
  }
  const std::string_view target = head.substr(4, head.find(' ', 4) - 4);
  if (target == "/1k") return start_answer(c, kib);
  if (target == "/1m") return start_answer(c, mib);
  if (target == "/100m") return start_answer(c, mib100);
  if (target != "/ws") return start_answer(c, missing);
  const std::string reply =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: " +
      accept_for(field(head, "Sec-WebSocket-Key")) + "\r\n\r\n";
  c.tunnel = true;
  return echo(c, reply);
}

bool on_bytes(Connection& c, std::string_view in) {
  if (c.tunnel) return echo(c, in);
  if (c.body_left > 0) {
    const std::size_t taken = std::min(c.body_left, in.size());
    c.body_left -= taken;
    in.remove_prefix(taken);
    if (c.body_left == 0 && !start_answer(c, posted)) return false;
  }
  if (in.empty()) return true;
  std::string joined;
  if (!c.partial.empty()) {
    joined = std::move(c.partial) + std::string(in);
    c.partial.clear();
    in = joined;
  }
  const std::size_t end = in.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    c.partial.assign(in);
    return true;
  }
  return on_head(c, in.substr(0, end + 4)) && on_bytes(c, in.substr(end + 4));
}

bool on_event(Connection& c, std::uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return false;
  if ((events & EPOLLIN) != 0) c.readable = true;
  if ((events & EPOLLOUT) != 0) {
    if (!send_answer(c)) return false;
    if (c.tunnel && !c.partial.empty()) {
      const std::string held = std::exchange(c.partial, {});
      if (!echo(c, held)) return false;
    }
  }
  while (c.readable && c.answer == nullptr && !(c.tunnel && !c.partial.empty())) {
    const ssize_t n = read(c.fd, scratch, scratch_size);
    if (n == 0) return false;
    if (n < 0) {
      c.readable = false;
      return errno == EAGAIN;
    }
    // A short read has emptied the socket: the next bytes raise the next edge. After a half-close
    // there is no next edge, so read on to the end.
    c.readable = n == ssize_t{scratch_size} || (events & EPOLLRDHUP) != 0;
    if (!on_bytes(c, {scratch, static_cast<std::size_t>(n)})) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench_origin PORT\n");
    return 2;
  }
  const int listener = bench::listen_on(bench::port_argument(argv[1]));
  const int epoll = bench::check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  bench::watch_listener(epoll, listener);
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.ptr == nullptr) {
        const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) bench::watch(epoll, fd, new Connection(fd));
        continue;
      }
      auto* const connection = static_cast<Connection*>(event.data.ptr);
      if (on_event(*connection, event.events)) continue;
      close(connection->fd);  // one event per socket and turn: nothing else refers to it
      delete connection;
    }
  }
}
