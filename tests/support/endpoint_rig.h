// EndpointRig: the parts of a manager on a store in memory, and calls of single endpoints, without
// the service around them (admin_rig.h has that).
//
// Thread: the test's.
#pragma once

#include "admin/changes.h"
#include "admin/endpoint.h"
#include "admin/events.h"
#include "admin/host_index.h"
#include "admin/replies.h"
#include "auth/accounts.h"
#include "base/json.h"
#include "host/target_policy.h"
#include "support/temp_dir.h"
#include <proxycore/config.h>
#include <proxycore/renew.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

// What came back, as a client sees it.
struct ApiAnswer {
  int status = 0;
  std::string text = {};
  std::string etag = {};
  std::string cookie = {};  // Set-Cookie
  base::json::Value json = {};

  // Of an object inside objects: at("results", "name"); null: there is none.
  template <class... Keys>
  [[nodiscard]] const base::json::Value& at(Keys... keys) const {
    static const base::json::Value none;
    const base::json::Value* here = &json;
    for (const std::string_view key : {std::string_view(keys)...}) {
      here = here->find(key);
      if (here == nullptr) return none;
    }
    return *here;
  }
  // Of an array; none if there is none.
  template <class... Keys>
  [[nodiscard]] std::span<const base::json::Value> list_at(Keys... keys) const {
    return at(keys...).array().value_or(std::span<const base::json::Value>());
  }
  template <class... Keys>
  [[nodiscard]] std::string text_at(Keys... keys) const {
    return std::string(at(keys...).text().value_or(std::string_view()));
  }
};

struct EndpointRig {
  explicit EndpointRig(std::vector<Renewer::DnsType> types = {},
                       std::unique_ptr<Store> on = open_memory())
      : store(std::move(on)) {
    config.renew.key_file = dir.file("key");
    auto made = Renewer::create(config, *store, {.dns_types = std::move(types)});
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message()));
    renewer = *std::move(made);
    request.method = "GET";
    request.target = "/";
    request.host = "localhost";
  }

  // By an administrator, unless `caller` is changed before.
  ApiAnswer run(admin::Run endpoint, std::vector<std::string> path = {}, std::string_view body = {},
                std::string_view query = {}) {
    const admin::Query parsed = admin::Query::parse(query);
    const auto json = base::json::parse(body.empty() ? "{}" : body);
    REQUIRE(json);
    admin::Context context{.store = *store,
                           .config = config,
                           .accounts = accounts,
                           .changes = changes,
                           .hosts = hosts,
                           .events = events,
                           .targets = targets,
                           .renewer = *renewer,
                           .proxyd = proxyd,
                           .now_ms = now};
    const admin::Call call{.request = request,
                           .path = path,
                           .query = parsed,
                           .body = body.empty() ? nullptr : &*json,
                           .caller = caller,
                           .credential = credential,
                           .by = Deadline::in(Millis{10'000})};
    auto reply = endpoint(context, call);
    const Response response = reply ? admin::response_of(*std::move(reply), request)
                                    : admin::response_of(admin::problem_of(reply.error()), request);
    ApiAnswer answer{.status = response.status, .text = response.body};
    for (const auto& [name, value] : response.fields) {
      if (name == "ETag") answer.etag = value;
      if (name == "Set-Cookie") answer.cookie = value;
    }
    if (auto found = base::json::parse(response.body)) answer.json = *std::move(found);
    return answer;
  }
  // A caller with that role for the hosts of a domain.
  static auth::Caller somebody(auth::Role role, std::string domain) {
    return {.user = "bob",
            .grants = {{.role = role, .domain = std::move(domain)}},
            .how = auth::How::session};
  }

  TempDir dir;
  Config config;
  std::unique_ptr<Store> store;
  std::int64_t now_ms = 1'700'000'000'000;
  std::function<std::int64_t()> now = [this] { return now_ms; };
  auth::Accounts accounts{*store, {.bcrypt_cost = 4, .now_ms = now}};
  admin::HostIndex hosts;
  admin::Changes changes{*store, hosts, now};
  admin::Events events{*store, hosts};
  host::TargetPolicy targets;
  std::unique_ptr<Renewer> renewer;
  std::function<Result<Response>(std::string_view, const Deadline&)> proxyd =
      [](std::string_view, const Deadline&) -> Result<Response> {
    return Error{Errc::not_found, "there is no proxyd here"};
  };
  Request request = {};
  auth::Caller caller{.user = "alice", .admin = true, .how = auth::How::session};
  std::string credential = {};
};

}  // namespace proxycore::test
