// Administration: the manager (admin.h) as a part of a server: its listeners are served by a worker
// of their own, and all its threads have a lower priority than others, so that nothing that happens
// to it touches traffic.
//
// Where the store cannot be read yet, requests are answered 503 until it can. Not here: what the
// manager does (admin/). Owner: Server. Thread: the Server's, but for handle() and what is said.
#pragma once

#include "proxy/worker.h"
#include "server/tls_service.h"
#include <proxycore/admin.h>
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/handler.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <thread>

namespace proxycore::server {

class Administration final : Handler {
 public:
  static constexpr std::uint32_t max_connections = 1024;
  // A page of a proxyd, as AdminService::Surroundings::proxyd.
  using Page = std::function<Result<Response>(std::string_view target, const Deadline& by)>;

  // Whether this process is the manager: admin.in_process, and admin.listen or admin.https.
  static bool is_wanted(const Config& config, const Store& store);

  // `config` and `store` outlive it, and so does `renewer`, which may be null. Errors: invalid,
  // not_found, denied (what admin.* says cannot be had).
  static Result<std::unique_ptr<Administration>> create(const Config& config, Store& store,
                                                        Page page, Renewer* renewer);
  Administration(const Administration&) = delete;
  Administration& operator=(const Administration&) = delete;
  ~Administration() override;

  // Takes the descriptors; `tls` may be null if no socket needs it. Errors: those of equip().
  Result<void> start(std::span<const proxy::Worker::Socket> sockets, TlsService* tls);
  // Returns when nothing of it runs any more.
  void stop();
  // For TlsService to tell it of certificates. Any thread.
  [[nodiscard]] proxy::Worker& worker() noexcept { return worker_; }

 private:
  Administration(const Config& config, Store& store, Page page, Renewer* renewer);
  Result<void> make_service();
  void make_service_later();
  void handle(Request request, Responder responder) override;
  [[nodiscard]] std::size_t max_body() const noexcept override { return AdminService::max_taken; }

  const Config& config_;
  Store& store_;
  const Page page_;
  Renewer* const renewer_;
  proxy::Shared shared_;
  proxy::Worker worker_;
  std::unique_ptr<AdminService> made_;
  std::atomic<AdminService*> service_ = nullptr;  // null: not made yet
  std::stop_source stop_;
  std::thread making_;
  std::thread thread_;  // the worker's
};

// Asks a handler that lives on a loop, and waits. Errors: closed (the loop has ended), timeout,
// cancelled. Any thread but the loop's.
Result<Response> ask_on(io::Loop& loop, Handler& handler, std::string_view target,
                        const Deadline& by);

// The listen.admin of another process with this configuration. Errors: not_found (it has none that
// can be asked), and those of HttpClient::send.
Administration::Page page_of(const Config& config);

}  // namespace proxycore::server
