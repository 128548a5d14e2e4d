// ProxyRig: a worker whose loop the test turns by hand, with scripted clients and origins on real
// sockets on loopback.
//
// All three live on the test's thread: nothing happens but in the turns that a Peer takes while it
// waits for something, so that every interleaving can be written down. What does not come within
// ten seconds fails the test. Thread: the test's.
#pragma once

#include "base/line_writer.h"
#include "host/route_table.h"
#include "proxy/worker.h"
#include "support/memory_transport.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include <proxycore/config.h>
#include <proxycore/handler.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

class ProxyRig;

// One end of a connection to the worker: a client's, or a target's.
class Peer {
 public:
  Peer(ProxyRig& rig, Fd fd);

  // Takes turns while the kernel's buffer is full.
  void send(std::string_view text);
  // Without taking turns: as much as the kernel takes now; returns how much.
  std::size_t send_some(std::string_view text);
  void send_end() { fd_.shut_write(); }
  void close() { fd_.close(); }
  void reset() { fd_.abort(); }

  // What came, up to and with `mark`; takes turns until it is there.
  std::string until(std::string_view mark);
  std::string take(std::size_t size);
  // A head with its empty line.
  std::string head() { return until("\r\n\r\n"); }
  // A head and the content its Content-Length tells of.
  std::string message();
  // Everything up to FIN; a reset fails the test.
  std::string rest();
  // Whether the end, by FIN or reset, has come after nothing more.
  bool gone();
  // Whether nothing comes, not even the end.
  bool quiet();

  [[nodiscard]] const Fd& fd() const noexcept { return fd_; }
  [[nodiscard]] const std::string& unread() const noexcept { return in_; }
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] bool was_reset() const noexcept { return reset_; }
  // Reads what is there without taking turns.
  void pump(std::size_t most = SIZE_MAX);
  void stop_reading() { reading_ = false; }
  void read_on() { reading_ = true; }

 private:
  ProxyRig* rig_;
  Fd fd_;
  std::string in_;
  bool ended_ = false;
  bool reset_ = false;
  bool reading_ = true;
};

// A target that the test plays.
class Origin {
 public:
  explicit Origin(ProxyRig& rig);
  // The next connection of the worker.
  Peer accept();
  [[nodiscard]] bool nobody_comes();
  [[nodiscard]] std::uint16_t port() const noexcept { return door_.address.port(); }
  [[nodiscard]] std::string target() const { return "127.0.0.1:" + std::to_string(port()); }
  // Connections are refused from now on.
  void shut() { door_.fd.close(); }

 private:
  ProxyRig& rig_;
  Door door_;
};

class ProxyRig {
 public:
  using Change = std::function<void(Config&)>;
  explicit ProxyRig(const Change& change = {},
                    io::Resolver::Query resolver = io::Resolver::system_query(),
                    std::vector<proxy::MakeTier> tiers = {});
  ProxyRig(const ProxyRig&) = delete;
  ProxyRig& operator=(const ProxyRig&) = delete;

  // Adds or replaces a host: "a.test" goes to `origin` from the beginning.
  void add_host(Host host);
  void remove_host(std::string_view name);
  void mount(std::string_view pattern, Handler& handler);
  void set_admin(Handler& handler);
  void set_challenges(Handler& handler);
  void set_tls_port(std::uint16_t port);

  // A connected client; `from` is its address, one of loopback.
  Peer client(std::string_view from = "127.0.0.1");
  Peer admin_client();
  // A client in memory: its end of a connection that has negotiated `alpn`, unless it is told to
  // open() later. `room` is what may be on the way.
  std::unique_ptr<MemoryTransport> memory_client(std::string alpn, std::size_t room = 256 << 10,
                                                 bool open = true);
  // Whether nobody listens for clients any more.
  [[nodiscard]] bool refuses() const;
  // Takes turns until it holds. `holds` may be asked again when it did.
  void until(const std::function<bool()>& holds);
  void turns(int count = 5);
  // Turns for that long.
  void pass(Millis span);

  [[nodiscard]] proxy::Worker& worker() noexcept { return *worker_; }
  [[nodiscard]] const proxy::Counters& counters() const noexcept { return worker_->counters(); }
  // The access log so far; or all of it, after ending the worker.
  [[nodiscard]] std::string read_log() const;
  std::string end_and_read_log();

  Config config;
  Origin origin;

 private:
  void publish();

  host::StatsIds ids_;
  std::vector<Host> hosts_;
  TempDir directory_;
  std::unique_ptr<base::LineWriter> log_;
  std::unique_ptr<proxy::Shared> shared_;
  std::unique_ptr<proxy::Worker> worker_;
  std::uint16_t port_ = 0;
  std::uint16_t admin_port_ = 0;
};

// "GET / HTTP/1.1" for a.test, with further lines ("A: b\r\n").
std::string get(std::string_view target = "/", std::string_view lines = "");
std::string post(std::string_view body, std::string_view lines = "");
// "HTTP/1.1 200 OK" with that body.
std::string ok(std::string_view body = "ok", std::string_view lines = "");
// The status of a response head.
int status_of(std::string_view response);
// The value of the first field of that name in a head, spelled so; "-" if there is none.
std::string field_of(std::string_view message, std::string_view name);

}  // namespace proxycore::test
