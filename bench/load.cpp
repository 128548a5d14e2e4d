// The loads that wrk cannot make, one thread and one epoll each; wrk makes the others.
//
//   download PORT PATH CONNECTIONS SECONDS
//       one GET after the other; bodies are counted, not copied
//   websocket PORT CONNECTIONS SECONDS
//       masked 32-byte frames, each sent when the last came back
//   handshake PORT CONNECTIONS SECONDS
//       one GET on each connection, then the next one
//   idle PORT CONNECTIONS
//       one GET on each, then held open until stdin ends
//
// --tls before these: over TLS, --tls=1.2 that version alone; --resume: each connection takes up
// the session of one before. Nothing is verified.
// Prints one JSON object: requests (round trips), bytes, seconds, p50_us, p99_us, resumed; for
// idle, the connections still open at the end.
#include "net.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t scratch_size = std::size_t{1024} * 1024;
char scratch[scratch_size];
char host[] = "bench.example.test";

struct Connection {
  int fd = -1;
  SSL* ssl = nullptr;            // null: plain
  std::string_view unsent = {};  // over TLS: waits for the handshake
  std::string head = {};         // of the answer, until it is whole
  std::size_t left = 0;          // bytes of the answer still to come
  bool upgraded = false;
  Clock::time_point sent_at = {};
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "load: %s\n", what);
  std::exit(1);
}

// Over TLS. False: more has to be read first.
bool flush(Connection& c) {
  const int n = SSL_write(c.ssl, c.unsent.data(), static_cast<int>(c.unsent.size()));
  if (n > 0) {
    c.unsent = {};
    return true;
  }
  if (SSL_get_error(c.ssl, n) != SSL_ERROR_WANT_READ) {
    ERR_print_errors_fp(stderr);
    fail("a handshake failed");
  }
  return false;
}

// `bytes` live until they are sent.
void send_all(Connection& c, std::string_view bytes) {
  c.sent_at = Clock::now();
  if (c.ssl != nullptr) {
    c.unsent = bytes;
    flush(c);
    return;
  }
  if (write(c.fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    fail("the proxy does not take a small request");
  }
}

// As recv(2).
ssize_t receive(Connection& c, std::size_t most, int flags) {
  if (c.ssl == nullptr) return recv(c.fd, scratch, most, flags);
  const int n = SSL_read(c.ssl, scratch, static_cast<int>(most));
  if (n > 0) return n;
  const int why = SSL_get_error(c.ssl, n);
  errno = why == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
  return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

std::string get(std::string_view path) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
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

struct Tls {
  SSL_CTX* context = nullptr;  // null: plain
  bool resume = false;
  SSL_SESSION* session = nullptr;  // the last one that was given
};

Tls tls;

// Copies are kept and used: OpenSSL takes a session of TLS 1.3 for used up once its connection has
// got the next one.
int keep_session(SSL* /*ssl*/, SSL_SESSION* session) {
  SSL_SESSION_free(std::exchange(tls.session, SSL_SESSION_dup(session)));
  return 0;
}

void use_tls(int version, bool resume) {
  tls.context = SSL_CTX_new(TLS_client_method());
  tls.resume = resume;
  SSL_CTX_set_min_proto_version(tls.context, TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(tls.context, version);
  SSL_CTX_set_session_cache_mode(tls.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(tls.context, keep_session);
  // Fewer reads: the reader must not be what is measured.
  SSL_CTX_set_read_ahead(tls.context, 1);
  SSL_CTX_set_default_read_buffer_len(tls.context, std::size_t{256} * 1024);
}

class Load {
 public:
  explicit Load(std::uint16_t port) : port_(port) {}

  Connection& open() {
    Connection& c = *connections_.emplace_back(new Connection);
    connect(c);
    return c;
  }

  // Ends a connection and makes it a new one.
  void reopen(Connection& c) {
    if (c.ssl != nullptr) {
      if (SSL_session_reused(c.ssl) == 1) ++resumed_;
      SSL_shutdown(c.ssl);
      SSL_free(c.ssl);
    }
    close(c.fd);
    connect(c);
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
        auto& c = *static_cast<Connection*>(event.data.ptr);
        if (c.unsent.empty() || flush(c)) on_readable(c);
      }
    }
  }

  // Reads what is there of an answer. True: it is complete, and nothing follows it.
  bool read_answer(Connection& c) {
    for (;;) {
      const bool in_body = c.left > 0;
      const std::size_t want = in_body ? std::min(c.left, scratch_size) : scratch_size;
      // MSG_TRUNC drops a body in the kernel: the reader must not be what is measured.
      const ssize_t n = receive(c, want, in_body ? MSG_TRUNC : 0);
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
        "%.1f, \"resumed\": %zu}\n",
        round_trips_.size(), bytes_, std::chrono::duration<double>(elapsed).count(), percentile(50),
        percentile(99), resumed_);
  }

  const std::vector<Connection*>& connections() const { return connections_; }

 private:
  void connect(Connection& c) {
    c.sent_at = Clock::now();
    c.fd = bench::connect_to(port_);
    if (tls.context != nullptr) {
      c.ssl = SSL_new(tls.context);
      SSL_ctrl(c.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host);
      SSL_set_fd(c.ssl, c.fd);
      SSL_set_connect_state(c.ssl);
      if (tls.resume && tls.session != nullptr) {
        SSL_SESSION* const copy = SSL_SESSION_dup(tls.session);
        SSL_set_session(c.ssl, copy);
        SSL_SESSION_free(copy);
      }
    }
    bench::watch(epoll_, c.fd, &c);
  }

  std::uint16_t port_;
  int epoll_ = bench::check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  std::vector<Connection*> connections_;  // live as long as the program
  std::vector<Clock::duration> round_trips_;
  std::size_t bytes_ = 0;
  std::size_t resumed_ = 0;
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
    const ssize_t n = receive(c, scratch_size, 0);
    if (n < 0 && errno == EAGAIN) return;
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

void handshake(Load& load, int connections, Clock::duration time) {
  const std::string request = get("/1k");
  const auto start = Clock::now();
  for (int i = 0; i < connections; ++i) send_all(load.open(), request);
  load.run(start + time, [&](Connection& c) {
    if (!load.read_answer(c)) return;
    load.on_round_trip(c);
    load.reopen(c);
    send_all(c, request);
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
  std::vector<char*> words(argv + 1, argv + argc);
  int version = 0;
  bool resume = false;
  for (; !words.empty() && words.front()[0] == '-'; words.erase(words.begin())) {
    const std::string_view option = words.front();
    if (option == "--tls") version = TLS1_3_VERSION;
    if (option == "--tls=1.2") version = TLS1_2_VERSION;
    if (option == "--resume") resume = true;
  }
  if (version != 0) use_tls(version, resume);
  const std::string_view mode = words.size() > 1 ? words[0] : "";
  const std::uint16_t port = words.size() > 1 ? bench::port_argument(words[1]) : std::uint16_t{0};
  Load load(port);
  if (mode == "download" && words.size() == 5) {
    download(load, words[2], std::atoi(words[3]), seconds(words[4]));
  } else if (mode == "websocket" && words.size() == 4) {
    websocket(load, std::atoi(words[2]), seconds(words[3]));
  } else if (mode == "handshake" && words.size() == 4) {
    handshake(load, std::atoi(words[2]), seconds(words[3]));
  } else if (mode == "idle" && words.size() == 3) {
    idle(load, static_cast<std::size_t>(std::atol(words[2])));
  } else {
    std::fprintf(
        stderr,
        "usage: bench_load [--tls[=1.2] [--resume]] download PORT PATH CONNECTIONS SECONDS\n"
        "       bench_load [...] websocket PORT CONNECTIONS SECONDS\n"
        "       bench_load [...] handshake PORT CONNECTIONS SECONDS\n"
        "       bench_load [...] idle PORT CONNECTIONS\n");
    return 2;
  }
}
