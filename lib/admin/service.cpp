#include "admin/service.h"

#include "admin/changes.h"
#include "admin/credentials.h"
#include "admin/endpoints.h"
#include "admin/events.h"
#include "admin/host_index.h"
#include "admin/pages.h"
#include "admin/replies.h"
#include "auth/accounts.h"
#include "auth/password_desk.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "client/url.h"
#include "host/target_policy.h"
#include <proxycore/admin.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <stop_token>
#include <utility>

namespace proxycore {

namespace admin {

namespace {

namespace json = base::json;
namespace log = base::log;

constexpr std::string_view method_names[] = {"GET", "POST", "PUT", "DELETE", "OPTIONS"};

// The parts of a path between slashes; one at the end is no part.
std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.ends_with('/')) path.remove_suffix(1);
  while (true) {
    const std::size_t end = path.find('/');
    parts.push_back(path.substr(0, end));
    if (end == std::string_view::npos) return parts;
    path.remove_prefix(end + 1);
  }
}

bool fits(std::string_view pattern, std::span<const std::string_view> parts) {
  std::size_t at = 0;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // '/'
    const std::string_view part = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(part.size());
    if (at == parts.size() || parts[at].empty()) return false;
    if (!part.starts_with(':') && !base::same(part, parts[at])) return false;
    ++at;
  }
  return at == parts.size();
}

Problem bad_request(std::string_view name, std::string message) {
  return {.status = 400, .name = std::string(name), .message = std::move(message)};
}

Problem forbidden(std::string_view message) {
  return {.status = 403, .name = "Forbidden", .message = std::string(message)};
}

Problem stopping() {
  return problem_of(Error{Errc::cancelled});
}

// The body, if the endpoint takes one and one was sent.
std::optional<Problem> read_content(const Endpoint& endpoint, const Request& request,
                                    std::optional<json::Value>& content) {
  if (endpoint.body.empty() || request.body.empty()) return std::nullopt;
  const std::string* type = request.field("content-type");
  const std::string_view media = type != nullptr ? std::string_view(*type) : std::string_view();
  if (!base::same(base::trim(media.substr(0, media.find(';'))), "application/json")) {
    return Problem{.status = 415,
                   .name = "UnsupportedMediaType",
                   .message = "Expected a body of Content-Type application/json."};
  }
  auto parsed = json::parse(request.body);
  if (!parsed) return bad_request("SyntaxError", parsed.error().detail);
  if (parsed->kind() != json::Value::Kind::object) {
    return bad_request("SyntaxError", "expected a JSON object");
  }
  content = *std::move(parsed);
  return std::nullopt;
}

// What the caller lacks for the endpoint, before it is asked; nullopt: nothing that could be said.
std::optional<Problem> lacking(Need need, const auth::Caller& caller) {
  if (need == Need::nothing) return std::nullopt;
  if (caller.user.empty()) return login_failed();
  if (need == Need::any_login) return std::nullopt;
  if (caller.password_expired) return password_expired();
  const auto needs_somewhere = [&](auth::Role role) -> std::optional<Problem> {
    if (auth::role_anywhere(caller) >= role) return std::nullopt;
    return forbidden(std::string("You need '").append(name_of(role)).append("' rights."));
  };
  switch (need) {
    case Need::nothing:
    case Need::any_login:
    case Need::login:
      return std::nullopt;
    case Need::viewer_of_any:
    case Need::viewer:
      return needs_somewhere(auth::Role::viewer);
    case Need::manager:
      return needs_somewhere(auth::Role::manager);
    case Need::admin:
      if (auth::role_everywhere(caller) == auth::Role::admin) return std::nullopt;
      return forbidden("Administrator access required.");
  }
  return std::nullopt;
}

}  // namespace

Result<std::optional<Found>> find_endpoint(std::span<const Endpoint> table, std::string_view method,
                                           std::string_view path) {
  if (method == "HEAD") method = "GET";
  const auto parts = parts_of(path);
  for (const Endpoint& endpoint : table) {
    if (method_names[static_cast<std::size_t>(endpoint.method)] != method) continue;
    if (!fits(endpoint.path, parts)) continue;
    Found found{.endpoint = &endpoint, .path = {}};
    const auto wanted = parts_of(endpoint.path);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!wanted[i].starts_with(':')) continue;
      auto decoded = client::percent_decoded(parts[i]);
      if (!decoded) {
        return Error{Errc::invalid,
                     std::string("Failed to decode param '").append(parts[i]).append("'")};
      }
      found.path.push_back(*std::move(decoded));
    }
    return std::optional<Found>(std::move(found));
  }
  return std::optional<Found>();
}

bool is_our_host(const Request& request) {
  // No other site can have an address for its name, and over TLS it would have to show our
  // certificate; who comes by a Unix socket is no browser.
  if (request.tls || request.client_address == "unix") return true;
  return request.host == "localhost" || base::is_address(request.host);
}

Result<Reply> show_health(Context& /*admin*/, const Call& /*call*/) {
  return ok(R"({"status":"ok"})");
}

}  // namespace admin

using namespace admin;

class AdminService::Parts {
 public:
  Parts(const Config& config, Store& store, Surroundings around, host::TargetPolicy policy)
      : config_(config),
        accounts_(store, {.token_ttl = config.admin.token_ttl,
                          .bcrypt_cost = config.admin.bcrypt_cost,
                          .legacy_tokens = config.admin.legacy_tokens,
                          .now_ms = around.now_ms}),
        changes_(store, hosts_, around.now_ms),
        events_(store, hosts_),
        policy_(std::move(policy)),
        context_{.store = store,
                 .config = config_,
                 .accounts = accounts_,
                 .changes = changes_,
                 .hosts = hosts_,
                 .events = events_,
                 .targets = policy_,
                 .renewer = *around.renewer,
                 .proxyd = std::move(around.proxyd),
                 .now_ms = std::move(around.now_ms)} {}

  Result<void> begin(const std::function<void(std::string_view line)>& told) {
    const auto by = Deadline::in(patience(Lane::others));
    PX_TRY(const auto password, accounts_.begin(config_.admin.initial_password_file, by));
    if (password) {
      told(std::string("The first user is '")
               .append(auth::first_administrator)
               .append("' with the one-time password ")
               .append(*password));
    }
    return events_.start(by);
  }

  void keep(std::unique_ptr<Renewer> renewer) { own_renewer_ = std::move(renewer); }

  void handle(Request request, Responder responder);

  void stop() {
    stop_.request_stop();
    // Streams first: what would begin one finds that they have ended.
    events_.stop();
    quick_.stop();
    others_.stop();
    passwords_.stop();
  }

 private:
  // One request on its way through a lane. Destroyed unanswered, it says that we cannot now.
  class Job {
   public:
    Job(Parts& parts, Request request, Responder responder, Found found)
        : parts_(parts),
          request_(std::move(request)),
          responder_(std::move(responder)),
          found_(std::move(found)),
          by_(Deadline::in(patience(found_.endpoint->lane), parts.stop_.get_token())) {}
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    Job(Job&&) = delete;
    Job& operator=(Job&&) = delete;
    ~Job() {
      if (!answered_) respond(refuse(stopping()));
    }

    [[nodiscard]] Lane lane() const noexcept { return found_.endpoint->lane; }

    // Whether telling who asks takes a password's time, as API tokens of older software do once.
    [[nodiscard]] bool belongs_on_desk() const {
      const auto credential = credential_of(request_);
      if (!credential || by_.passed()) return false;
      // What a store fails with, it fails with again where it is told.
      return parts_.accounts_.takes_long(credential->token, credential->how, by_).value_or(false);
    }
    void find_caller() {
      const auto credential = credential_of(request_);
      caller_ = parts_.accounts_.caller_of(credential->token, credential->how, by_);
    }

    void run() { respond(reply()); }

   private:
    Reply reply() {
      const Endpoint& endpoint = *found_.endpoint;
      if (by_.passed()) return refuse(stopping());
      Call call{.request = request_, .path = found_.path, .query = query_, .by = by_};
      if (const auto credential = credential_of(request_)) {
        const bool guarded = passes_csrf(request_, *credential);
        if (!caller_) find_caller();
        auto caller = *std::move(caller_);
        if (!caller && caller.error().code != Errc::denied) return failed(caller.error());
        if (caller && guarded) {
          call.caller = *std::move(caller);
          call.credential = credential->token;
        } else if (caller && endpoint.need != Need::nothing) {
          return refuse(forbidden("X-CSRF-Token is missing or wrong."));
        }
      }
      if (auto problem = lacking(endpoint.need, call.caller)) return refuse(*std::move(problem));

      std::optional<json::Value> content;
      if (auto problem = read_content(endpoint, request_, content)) {
        return refuse(*std::move(problem));
      }
      if (content) call.body = &*content;
      query_ = Query::parse(request_.query());
      auto reply = endpoint.run(parts_.context_, call);
      return reply ? *std::move(reply) : failed(reply.error());
    }

    [[nodiscard]] Reply failed(const Error& error) const {
      Problem problem = problem_of(error);
      if (problem.status >= 500) {
        static log::Throttle throttle;
        log::write(throttle, LogLevel::warning, "admin.failed",
                   {{"method", request_.method},
                    {"path", std::string(request_.path())},
                    {"why", error.message()}});
      }
      return refuse(std::move(problem));
    }

    void respond(Reply reply) {
      answered_ = true;
      const auto take_over = std::exchange(reply.stream, {});
      Response response = response_of(std::move(reply), request_);
      add_security_fields(response, request_);
      if (!take_over) return responder_.respond(std::move(response));
      take_over([responder = std::move(responder_), head = std::move(response)]() mutable {
        return responder.begin(std::move(head));
      });
    }

    Parts& parts_;
    const Request request_;
    Responder responder_;
    const Found found_;
    const Deadline by_;
    Query query_;
    std::optional<Result<auth::Caller>> caller_;
    bool answered_ = false;
  };

  static Millis patience(Lane lane) {
    return lane == Lane::others ? Millis{60'000} : Millis{10'000};
  }

  base::Executor& lane(Lane lane) {
    switch (lane) {
      case Lane::quick:
        return quick_;
      case Lane::password:
        return passwords_;
      case Lane::others:
        return others_;
    }
    return quick_;
  }

  // What is refused is destroyed, and says so.
  void run(std::unique_ptr<Job> job) {
    if (job->lane() == Lane::password || !job->belongs_on_desk()) return job->run();
    (void)passwords_.post([this, job = std::move(job)]() mutable {
      job->find_caller();
      base::Executor& threads = lane(job->lane());
      (void)threads.post([job = std::move(job)] { job->run(); });
    });
  }

  static void refuse_now(const Request& request, Responder responder, const Problem& problem) {
    Response response = response_of(problem, request);
    add_security_fields(response, request);
    responder.respond(std::move(response));
  }

  const Config config_;
  std::unique_ptr<Renewer> own_renewer_;
  std::stop_source stop_;
  auth::Accounts accounts_;
  HostIndex hosts_;
  Changes changes_;
  Events events_;
  host::TargetPolicy policy_;
  Context context_;
  // Last: what runs there uses all of the above.
  auth::PasswordDesk passwords_;
  base::Executor others_{4, 64};
  base::Executor quick_{4, 256};
};

void AdminService::Parts::handle(Request request, Responder responder) {
  if (!is_our_host(request)) {
    return refuse_now(request, std::move(responder),
                      {.status = 421,
                       .name = "MisdirectedRequest",
                       .message = "The manager does not go by that name; use 127.0.0.1 or "
                                  "localhost."});
  }
  if (const Page* page = page_for(request.path())) {
    Response response = page_response(*page, request);
    add_security_fields(response, request);
    return responder.respond(std::move(response));
  }
  if (request.body.size() > max_request) {
    return refuse_now(
        request, std::move(responder),
        {.status = 413, .name = "PayloadTooLargeError", .message = "request entity too large"});
  }
  auto found = find_endpoint(endpoints, request.method, request.path());
  if (!found) {
    return refuse_now(request, std::move(responder), bad_request("URIError", found.error().detail));
  }
  if (!*found) return refuse_now(request, std::move(responder), page_not_found());
  base::Executor& threads = lane((*found)->endpoint->lane);
  auto job =
      std::make_unique<Job>(*this, std::move(request), std::move(responder), **std::move(found));
  (void)threads.post([this, job = std::move(job)]() mutable { run(std::move(job)); });
}

Result<std::unique_ptr<AdminService>> AdminService::create(const Config& config, Store& store,
                                                           Surroundings around) {
  if (!around.now_ms) around.now_ms = [] { return base::now_ms(); };
  if (!around.proxyd) {
    around.proxyd = [](std::string_view, const Deadline&) -> Result<Response> {
      return Error{Errc::not_found, "there is no proxyd to ask"};
    };
  }
  if (!around.told) {
    around.told = [](std::string_view line) {
      (void)std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
    };
  }
  std::unique_ptr<Renewer> renewer;
  if (around.renewer == nullptr) {
    PX_TRY(renewer, Renewer::create(config, store, {.now_ms = around.now_ms}));
    around.renewer = renewer.get();
  }
  PX_TRY(auto policy, host::TargetPolicy::create(config));
  const auto told = around.told;
  auto parts = std::make_unique<Parts>(config, store, std::move(around), std::move(policy));
  parts->keep(std::move(renewer));
  PX_CHECK(parts->begin(told));
  return std::unique_ptr<AdminService>(new AdminService(std::move(parts)));
}

AdminService::AdminService(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

AdminService::~AdminService() {
  stop();
}

void AdminService::handle(Request request, Responder responder) {
  parts_->handle(std::move(request), std::move(responder));
}

void AdminService::stop() {
  parts_->stop();
}

}  // namespace proxycore
