// Server: the whole proxy as one object.
//
// create() binds and builds everything, run() serves until stop() or a drain has ended, attach()
// serves on a loop of your own instead. One worker thread per core by default; each has its own
// listening sockets (SO_REUSEPORT) and shares nothing but immutable tables.
// Thread: create, run, attach and the destructor on one thread; the others on any.
#pragma once

#include <proxycore/cert.h>
#include <proxycore/config.h>
#include <proxycore/handler.h>
#include <proxycore/host.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct uv_loop_s;

namespace proxycore {

class Server {
 public:
  // Binds the listeners, reads the hosts of `store` and of the configuration. The store must
  // outlive the server. `bound`, if given, is called once the listeners are bound and before any
  // thread is started: the place to drop privileges; an error of it ends create(). Ignores SIGPIPE
  // if nobody handles it. Errors: invalid (which host or key), conflict (a host in both the file
  // and the store), io (which address could not be bound, and why).
  static Result<std::unique_ptr<Server>> create(Config config, Store& store,
                                                const std::function<Result<void>()>& bound = {});
  // A server that proxies nothing: the manager (admin.h) on admin.listen, 127.0.0.1:3000 if nothing
  // is said, and on admin.https, and the lookup service where proxyd of the same configuration asks
  // it. That proxyd is asked over its listen.admin. Everything else as create(). Errors: invalid
  // (admin.in_process: that proxyd is the manager), and those of create().
  static Result<std::unique_ptr<Server>> create_manager(
      Config config, Store& store, const std::function<Result<void>()>& bound = {});
  // Whether the files that a configuration names can be used: certificates and their keys. Binds
  // nothing and writes nothing. Errors: those of create() about them.
  static Result<void> check(const Config& config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Requests for hosts that `pattern` matches are answered by `handler`, which must outlive the
  // server. Before run() or attach(). Errors: invalid (the pattern, or too late), conflict.
  Result<void> mount(std::string_view pattern, Handler& handler);

  // `source` is asked for certificates before those of files and of the store; it must outlive the
  // server. Without listen.https nobody asks. Before run() or attach(). Errors: invalid (too late).
  Result<void> serve_certificates(CertSource& source);
  // The certificate of `name`, or "*." pattern, has changed in such a source; empty: any may have.
  // Once it runs. Changes in the store are noticed without this.
  void forget_certificate(std::string_view name);

  // Serves until stop() or a finished drain(). Blocks.
  Result<void> run();
  // Serves on the calling thread's own loop, with one worker, until stop(); the caller runs the
  // loop and keeps it until the server is destroyed. Errors: invalid (already running).
  Result<void> attach(uv_loop_s& loop);

  // Stops accepting, lets running exchanges finish until the deadline (timeouts.drain), then ends.
  void drain();
  // Ends at once: open connections are closed.
  void stop();
  // Takes over what may change while running: hosts, certificate files, the fallback and the
  // authorities of `next` are read; logs are reopened.
  // Listeners, workers, limits and the store need a restart; a difference there is logged.
  // Errors: as create; then the old configuration goes on.
  Result<void> reload(Config next);
  // Reopens the access log (after rotation).
  void reopen_logs();

  // The addresses bound, in the order of listen.http and so on; with the real ports where 0 was
  // asked for.
  [[nodiscard]] std::vector<ListenAddress> http_addresses() const;
  [[nodiscard]] std::vector<ListenAddress> https_addresses() const;
  [[nodiscard]] std::vector<ListenAddress> admin_addresses() const;
  // Of admin.listen and admin.https; empty: this process is not the manager.
  [[nodiscard]] std::vector<ListenAddress> manager_addresses() const;
  [[nodiscard]] std::vector<ListenAddress> manager_tls_addresses() const;

 private:
  class Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// "0.1.0"
std::string_view version() noexcept;

}  // namespace proxycore
