// AdminRig: a manager on a memory store, without a server, and people who ask it things.
//
// "admin" may do everything; viewer() and manager() may see and change example.com and what is
// under it. Thread: the test's.
#pragma once

#include "answered.h"
#include "auth/permissions.h"
#include "auth/sessions.h"
#include "base/clock.h"
#include "base/json.h"
#include "host/keys.h"
#include "temp_dir.h"
#include <proxycore/admin.h>
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/handler.h>
#include <proxycore/renew.h>
#include <proxycore/store.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

class AdminRig {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;
  struct Options {
    Config config = {};
    std::function<void(Store& store)> before = {};  // fills the store
    std::function<Result<Response>(std::string_view target, const Deadline& by)> proxyd = {};
    std::vector<Renewer::DnsType> dns_types = {};
  };

  AdminRig() : AdminRig(Options{}) {}
  explicit AdminRig(Options options) : store(open_memory()) {
    options.config.admin.bcrypt_cost = 4;
    options.config.acme.enabled = false;
    options.config.renew.key_file = dir_.file("key");
    auto own = Renewer::create(options.config, *store, {.dns_types = std::move(options.dns_types)});
    REQUIRE(own);
    renewer_ = *std::move(own);
    if (options.before) options.before(*store);
    for (const char* name : {"viewer", "manager"}) {
      user(name);
      grant(name, name == std::string_view("viewer") ? auth::Role::viewer : auth::Role::manager,
            "example.com");
    }
    user("admin");
    admin_token = log_in("admin");
    auto made = AdminService::create(
        options.config, *store,
        {.proxyd = std::move(options.proxyd), .renewer = renewer_.get(), .told = [](auto) {}});
    INFO((made ? "" : made.error().message()));
    REQUIRE(made);
    service = *std::move(made);
  }

  // Before the service is made, or else with the API.
  void user(const std::string& name) {
    REQUIRE(store->put(host::keys::user(name),
                       {{"username", name}, {"password", "*"}, {"backing", "redis"}}, {}, by()));
  }
  void grant(const std::string& name, auth::Role role, const std::string& domain) {
    auth::Permissions permissions(*store);
    REQUIRE(permissions.put({.subject = name, .grant = {role, domain}}, by()));
  }
  // The token of a new session.
  std::string log_in(const std::string& name) const {
    auth::Sessions sessions(*store, Millis{3'600'000}, false, [] { return base::now_ms(); });
    const auto token = sessions.begin(name, by());
    REQUIRE(token);
    return *token;
  }

  static Request request(std::string method, std::string target, std::string body = {},
                         Fields fields = {}) {
    if (!body.empty()) fields.emplace_back("Content-Type", "application/json");
    return {.method = std::move(method),
            .target = std::move(target),
            .host = "127.0.0.1",
            .fields = std::move(fields),
            .body = std::move(body),
            .client_address = "127.0.0.1"};
  }
  // As it is, with nobody's token.
  Response ask(Request request) const {
    const Answered answered;
    service->handle(std::move(request), answered.responder());
    return answered.response();
  }
  Response as(const std::string& token, std::string method, std::string target,
              std::string body = {}, Fields fields = {}) const {
    fields.emplace_back("auth-token", token);
    return ask(request(std::move(method), std::move(target), std::move(body), std::move(fields)));
  }
  // As the administrator.
  Response send(std::string method, std::string target, std::string body = {},
                Fields fields = {}) const {
    return as(admin_token, std::move(method), std::move(target), std::move(body),
              std::move(fields));
  }

  static std::string field(const Response& response, std::string_view name) {
    Request fields;
    fields.fields = response.fields;
    const std::string* found = fields.field(name);
    return found != nullptr ? *found : "";
  }
  static base::json::Value json(const Response& response) {
    auto parsed = base::json::parse(response.body, {.size = std::size_t{64} << 20});
    INFO(response.body);
    REQUIRE(parsed);
    return *std::move(parsed);
  }
  static Deadline by() { return Deadline::in(Seconds{20}); }

  std::unique_ptr<Store> store;
  std::string admin_token;

 private:
  TempDir dir_;
  std::unique_ptr<Renewer> renewer_;

 public:
  std::unique_ptr<AdminService> service;  // last: it uses the others
};

}  // namespace proxycore::test
