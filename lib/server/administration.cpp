#include "server/administration.h"

#include "base/log.h"
#include "base/pause.h"
#include "base/priority.h"
#include "client/http_client.h"
#include "host/keys.h"
#include "server/in_process.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace proxycore::server {

namespace {

namespace log = base::log;

constexpr Millis next_try{2'000};

// The answer to one question, for the thread that waits for it.
struct Waiting {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Response> response;

  void wake() {
    const std::lock_guard lock(mutex);
    changed.notify_all();
  }
};

class WaitingSink final : public Responder::Sink {
 public:
  explicit WaitingSink(std::shared_ptr<Waiting> waiting) : waiting_(std::move(waiting)) {}
  void respond(Response response) override {
    const std::lock_guard lock(waiting_->mutex);
    waiting_->response = std::move(response);
    waiting_->changed.notify_all();
  }
  std::unique_ptr<ResponseStream> begin(Response head) override {
    respond(std::move(head));
    return nullptr;
  }

 private:
  std::shared_ptr<Waiting> waiting_;
};

// Whether asking again later may help: the store was away.
bool may_pass(const Error& error) {
  return error.code != Errc::invalid && error.code != Errc::not_found &&
         error.code != Errc::denied && error.code != Errc::limit;
}

}  // namespace

bool Administration::is_wanted(const Config& config, const Store& store) {
  const bool listens = !config.admin.listen.empty() || !config.admin.https.empty();
  return listens && in_process(config.admin.in_process, store);
}

Administration::Administration(const Config& config, Store& store, Page page, Renewer* renewer)
    : config_(config),
      store_(store),
      page_(std::move(page)),
      renewer_(renewer),
      shared_{config, {}, {}, proxy::Admission(max_connections, 0)},
      worker_(shared_, nullptr, nullptr) {
  shared_.admin = this;
  shared_.operators = max_connections;
}

Administration::~Administration() {
  stop();
}

Result<std::unique_ptr<Administration>> Administration::create(const Config& config, Store& store,
                                                               Page page, Renewer* renewer) {
  std::unique_ptr<Administration> made(new Administration(config, store, std::move(page), renewer));
  // A store has one thread for all its watches: it begins here, before those that step back.
  if (auto begun = store.watch(host::keys::host_prefix, [](std::string_view) {}); !begun) {
    log::warning("store.watch", {{"store", store.describe()}, {"why", begun.error().message()}});
  }
  Result<void> service;
  std::thread([&] {
    base::step_back(behind_traffic);
    service = made->make_service();
  }).join();
  if (!service && !may_pass(service.error())) return std::move(service).error();
  if (!service) {
    log::warning("admin.waits", {{"why", service.error().message()}});
  }
  return made;
}

Result<void> Administration::make_service() {
  AdminService::Surroundings around;
  around.proxyd = page_;
  around.renewer = renewer_;
  PX_TRY(made_, AdminService::create(config_, store_, std::move(around)));
  service_ = made_.get();
  return {};
}

void Administration::make_service_later() {
  base::step_back(behind_traffic);
  const Deadline ending = Deadline::never(stop_.get_token());
  while (base::pause(next_try, ending)) {
    if (auto service = make_service()) {
      log::info("admin.ready", {{"store", store_.describe()}});
      return;
    } else if (!may_pass(service.error())) {
      log::error("admin", {{"why", service.error().message()}});
      return;
    }
  }
}

Result<void> Administration::start(std::span<const proxy::Worker::Socket> sockets,
                                   TlsService* tls) {
  if (tls != nullptr) PX_CHECK(tls->equip(worker_));
  for (const auto& socket : sockets) worker_.listen(socket);
  if (service_ == nullptr) making_ = std::thread([this] { make_service_later(); });
  thread_ = std::thread([this] {
    base::step_back(behind_traffic);
    worker_.run();
  });
  return {};
}

void Administration::stop() {
  stop_.request_stop();
  if (making_.joinable()) making_.join();
  if (made_) made_->stop();
  worker_.stop();
  if (thread_.joinable()) thread_.join();
}

void Administration::handle(Request request, Responder responder) {
  if (AdminService* service = service_) {
    return service->handle(std::move(request), std::move(responder));
  }
  responder.respond({.status = 503,
                     .fields = {{"Content-Type", "application/json"},
                                {"Retry-After", "2"},
                                {"Cache-Control", "no-store"}},
                     .body = R"({"name":"Unavailable","message":"The store cannot be read yet"})"});
}

Result<Response> ask_on(io::Loop& loop, Handler& handler, std::string_view target,
                        const Deadline& by) {
  auto waiting = std::make_shared<Waiting>();
  const bool posted =
      loop.inbox()->post([&handler, waiting, asked = std::string(target)]() mutable {
        Request request;
        request.method = "GET";
        request.target = std::move(asked);
        handler.handle(std::move(request), Responder(std::make_unique<WaitingSink>(waiting)));
      });
  if (!posted) return Error{Errc::closed, "the server has ended"};
  const std::stop_callback cancelled(by.stop(), [&waiting] { waiting->wake(); });
  std::unique_lock lock(waiting->mutex);
  const auto over = [&] { return waiting->response || by.cancelled(); };
  if (!waiting->changed.wait_for(lock, by.left(), over)) {
    return Error{Errc::timeout, "the server does not answer"};
  }
  if (!waiting->response) return Error{Errc::cancelled};
  return *std::move(waiting->response);
}

Administration::Page page_of(const Config& config) {
  std::string base;
  for (const std::string& text : config.listen.admin) {
    auto address = ListenAddress::parse(text);
    if (!address || address->is_unix || address->port == 0) continue;
    // Every address of this machine, this one among them.
    if (address->address == "*" || address->address == "0.0.0.0") address->address = "127.0.0.1";
    if (address->address == "::") address->address = "::1";
    base = "http://" + address->text();
    break;
  }
  return [base = std::move(base)](std::string_view target, const Deadline& by) -> Result<Response> {
    if (base.empty()) {
      return Error{Errc::not_found,
                   "listen.admin: expected an address that proxyd can be asked at"};
    }
    client::HttpClient http;
    PX_TRY(auto answer, http.send({.url = base + std::string(target)}, by));
    Response response;
    response.status = answer.status;
    for (auto& header : answer.headers) {
      response.fields.emplace_back(std::move(header.name), std::move(header.value));
    }
    response.body = std::move(answer.body);
    return response;
  };
}

}  // namespace proxycore::server
