// The loads that wrk cannot make, one thread and one epoll each; wrk makes the others.
//   download PORT PATH CONNECTIONS SECONDS   one GET after the other; bodies are counted, not
//   copied websocket PORT CONNECTIONS SECONDS       masked 32-byte frames, each sent when the last
//   came back idle PORT CONNECTIONS                    one GET on each, then held open until stdin
//   ends
// Prints one JSON object: requests (round trips), bytes, seconds, p50_us, p99_us; for idle, the
// connections still open at the end.
#include "net.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <poll.h>

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t scratch_size = std::size_t{1024} * 1024;
char scratch[scratch_size];

struct Connection {
  int fd = -1;
  std::string head = {};  // of the answer, until it is whole
  std::size_t left = 0;   // bytes of the answer still to come
  bool upgraded = false;
  Clock::time_point sent_at = {};
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "load: %s\n", what);
  std::exit(1);
}

void send_all(Connection& c, std::string_view bytes) {
  c.sent_at = Clock::now();
  if (write(c.fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    fail("the proxy does not take a small request");
  }
}

std::string get(std::string_view path) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: bench.example.test\r\n\r\n";
}

// What is left of the body once the head is whole; the body is neither chunked nor without length.
std::size_t body_after(std::string_view head, std::size_t head_end) {
  if (!head.starts_with("HTTP/1.1 200")) fail(std::string(head.substr(0, head_end)).c_str());
  constexpr std::string_view name = "\r\ncontent-length:";
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
  const auto* const at = std::search(head.begin(), head.end(), name.begin(), name.end(), same);
  if (at == head.end()) fail("an answer without Content-Length");
  return std::strtoul(at + name.size(), nullptr, 10) - (head.size() - head_end);
}

class Load {
 public:
  explicit Load(std::uint16_t port) : port_(port) {}

  Connection& open() {
    Connection& c = *connections_.emplace_back(new Connection{.fd = bench::connect_to(port_)});
    bench::watch(epoll_, c.fd, &c);
    return c;
  }

  // Calls `on_readable(connection)` until `deadline`. It must read until the socket is empty.
  template <class OnReadable>
  void run(Clock::time_point deadline, OnReadable on_readable) {
    std::array<epoll_event, 64> events{};
    while (Clock::now() < deadline && !done_) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 20);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if ((event.events & EPOLLIN) == 0) continue;
        on_readable(*static_cast<Connection*>(event.data.ptr));
      }
    }
  }

  // Reads what is there of an answer. True: it is complete, and nothing follows it.
  bool read_answer(Connection& c) {
    for (;;) {
      const bool in_body = c.left > 0;
      const std::size_t want = in_body ? std::min(c.left, scratch_size) : scratch_size;
      // MSG_TRUNC drops a body in the kernel: the reader must not be what is measured.
      const ssize_t n = recv(c.fd, scratch, want, in_body ? MSG_TRUNC : 0);
      if (n < 0 && errno == EAGAIN) return false;
      if (n <= 0) fail("the proxy closed in the middle");
      const auto got = static_cast<std::size_t>(n);
      bytes_ += got;
      if (in_body) {
        c.left -= got;
      } else {
        c.head.append(scratch, got);
        const std::size_t end = c.head.find("\r\n\r\n");
        if (end == std::string::npos) continue;
        c.left = body_after(c.head, end + 4);
        c.head.clear();
      }
      if (c.left == 0) return true;
    }
  }

  void on_round_trip(const Connection& c) { round_trips_.push_back(Clock::now() - c.sent_at); }
  void stop() { done_ = true; }

  void report(Clock::duration elapsed) {
    std::sort(round_trips_.begin(), round_trips_.end());
    const auto percentile = [this](std::size_t percent) {
      if (round_trips_.empty()) return 0.0;
      const auto at = std::min(round_trips_.size() * percent / 100, round_trips_.size() - 1);
      return std::chrono::duration<double, std::micro>(round_trips_[at]).count();
    };
    std::printf(
        "{\"requests\": %zu, \"bytes\": %zu, \"seconds\": %.3f, \"p50_us\": %.1f, \"p99_us\": "
        "%.1f}\n",
        round_trips_.size(), bytes_, std::chrono::duration<double>(elapsed).count(), percentile(50),
        percentile(99));
  }

  const std::vector<Connection*>& connections() const { return connections_; }

 private:
  std::uint16_t port_;
  int epoll_ = bench::check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  std::vector<Connection*> connections_;  // live as long as the program
  std::vector<Clock::duration> round_trips_;
  std::size_t bytes_ = 0;
  bool done_ = false;
};

void download(Load& load, std::string_view path, int connections, Clock::duration time) {
  const std::string request = get(path);
  const auto start = Clock::now();
  for (int i = 0; i < connections; ++i) send_all(load.open(), request);
  load.run(start + time, [&](Connection& c) {
    if (!load.read_answer(c)) return;
    load.on_round_trip(c);
    send_all(c, request);
  });
  load.report(Clock::now() - start);
}

void websocket(Load& load, int connections, Clock::duration time) {
  // FIN and text, masked, 32 bytes; the mask is nought but for its last byte (RFC 6455 §5.2).
  constexpr std::string_view frame(
      "\x81\xa0\0\0\0\x01"
      "abcdefghijklmnopqrstuvwxyzabcdef",
      38);
  const auto start = Clock::now();
  for (int i = 0; i < connections; ++i) {
    send_all(load.open(),
             "GET /ws HTTP/1.1\r\nHost: bench.example.test\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  }
  load.run(start + time, [&](Connection& c) {
    const ssize_t n = recv(c.fd, scratch, scratch_size, 0);
    if (n <= 0) fail("the proxy closed the tunnel");
    if (!c.upgraded) {
      c.head.append(scratch, static_cast<std::size_t>(n));
      if (!c.head.ends_with("\r\n\r\n")) return;
      if (!c.head.starts_with("HTTP/1.1 101")) fail(c.head.c_str());
      if (c.head.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == std::string::npos)
        fail("wrong accept key");
      c.upgraded = true;
    } else {
      c.left -= std::min(c.left, static_cast<std::size_t>(n));
      if (c.left > 0) return;
      load.on_round_trip(c);
    }
    c.left = frame.size();
    send_all(c, frame);
  });
  load.report(Clock::now() - start);
}

void idle(Load& load, std::size_t connections) {
  const std::string request = get("/1k");
  const std::size_t at_once = std::min<std::size_t>(connections, 64);
  std::size_t answered = 0;
  for (std::size_t i = 0; i < at_once; ++i) send_all(load.open(), request);
  load.run(Clock::now() + 60s, [&](Connection& c) {
    if (!load.read_answer(c)) return;
    if (load.connections().size() < connections) send_all(load.open(), request);
    if (++answered == connections) load.stop();
  });
  if (answered < connections) fail("not every idle connection got its answer");
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  std::size_t open = 0;
  for (const Connection* const c : load.connections()) {
    pollfd ask{.fd = c->fd, .events = POLLIN, .revents = 0};
    if (poll(&ask, 1, 0) == 0) ++open;
  }
  std::printf("{\"open\": %zu}\n", open);
}

Clock::duration seconds(const char* text) {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(std::strtod(text, nullptr)));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 2 ? argv[1] : "";
  const std::uint16_t port = argc > 2 ? bench::port_argument(argv[2]) : std::uint16_t{0};
  Load load(port);
  if (mode == "download" && argc == 6) {
    download(load, argv[3], std::atoi(argv[4]), seconds(argv[5]));
  } else if (mode == "websocket" && argc == 5) {
    websocket(load, std::atoi(argv[3]), seconds(argv[4]));
  } else if (mode == "idle" && argc == 4) {
    idle(load, static_cast<std::size_t>(std::atol(argv[3])));
  } else {
    std::fprintf(stderr,
                 "usage: bench_load download PORT PATH CONNECTIONS SECONDS\n"
                 "       bench_load websocket PORT CONNECTIONS SECONDS\n"
                 "       bench_load idle PORT CONNECTIONS\n");
    return 2;
  }
}
