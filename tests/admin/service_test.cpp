#include "admin/service.h"

#include "admin/endpoints.h"
#include "auth/password.h"
#include "auth/sessions.h"
#include "support/admin_rig.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

using test::AdminRig;
using test::Answered;

Result<Reply> nothing(Context& /*admin*/, const Call& /*call*/) {
  return Reply{};
}

constexpr Endpoint table[] = {
    {Method::get, "/api/a", Need::nothing, nothing, ""},
    {Method::get, "/api/a/fixed", Need::nothing, nothing, ""},
    {Method::get, "/api/a/:x", Need::nothing, nothing, ""},
    {Method::put, "/api/a/:x/b/:y", Need::nothing, nothing, ""},
};

std::string found_path(std::string_view method, std::string_view path) {
  const auto found = find_endpoint(table, method, path);
  REQUIRE(found);
  return *found ? std::string((*found)->endpoint->path) : "";
}

// Lets those who ask it wait until it is opened.
class Gate {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void until_waiting(int count) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, Seconds{20}, [&] { return waiting_ >= count; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

}  // namespace

TEST_CASE("service: paths are found in letters of any case, with a slash at the end or not") {
  CHECK(found_path("GET", "/api/a") == "/api/a");
  CHECK(found_path("HEAD", "/API/A/") == "/api/a");
  CHECK(found_path("GET", "/api/a/Fixed") == "/api/a/fixed");
  CHECK(found_path("GET", "/api/a/other") == "/api/a/:x");
  CHECK(found_path("PUT", "/api/a/1/B/2") == "/api/a/:x/b/:y");
  CHECK(found_path("PUT", "/api/a/1") == "");
  CHECK(found_path("GET", "/api/a//") == "");
  CHECK(found_path("GET", "/api") == "");
  CHECK(found_path("GET", "/api/a/b/c/d") == "");
  CHECK(found_path("GET", "") == "");
}

TEST_CASE("service: what stands for a part of the path is decoded, and stays one part") {
  const auto found = find_endpoint(table, "PUT", "/api/a/x%2Fy/b/%2A.example.com");
  REQUIRE(found);
  REQUIRE(*found);
  CHECK((*found)->path == std::vector<std::string>{"x/y", "*.example.com"});
  const auto broken = find_endpoint(table, "GET", "/api/a/%zz");
  REQUIRE_FALSE(broken);
  CHECK(broken.error().detail == "Failed to decode param '%zz'");
}

TEST_CASE("service: anybody is told that it lives") {
  const AdminRig rig;
  const Response health = rig.ask(AdminRig::request("GET", "/health"));
  CHECK(health.status == 200);
  CHECK(health.body == R"({"status":"ok"})");
}

TEST_CASE("service: who shows no valid credential is told nothing else") {
  const AdminRig rig;
  const std::string body =
      R"({"name":"LoginFailed","message":"Invalid Credentials, login failed."})";
  const Response nobody = rig.ask(AdminRig::request("GET", "/api/host"));
  CHECK(nobody.status == 401);
  CHECK(nobody.body == body);
  const Response wrong = rig.as("669f57a5-47bd-4dbf-bea8-437f99f8a345", "GET", "/api/host");
  CHECK(wrong.status == 401);
  CHECK(wrong.body == body);
  CHECK(rig.as("", "GET", "/api/host").status == 401);
  CHECK(rig.send("GET", "/api/host").status == 200);
}

TEST_CASE("service: with a one-time password one may do nothing but set another") {
  const AdminRig rig;
  const std::string key = host::keys::user("admin");
  Record user = *rig.store->get(key, AdminRig::by());
  user["password_expired"] = "true";
  REQUIRE(rig.store->put(key, user, {}, AdminRig::by()));

  std::vector<std::string> allowed;
  for (const Endpoint& endpoint : endpoints) {
    constexpr std::string_view methods[] = {"GET", "POST", "PUT", "DELETE", "OPTIONS"};
    const std::string method(methods[static_cast<std::size_t>(endpoint.method)]);
    std::string path(endpoint.path);
    std::replace(path.begin(), path.end(), ':', 'x');
    INFO(endpoint.path);
    const std::string token = rig.log_in("admin");
    const std::string body = endpoint.body.empty() ? "" : "{}";
    const Response plain = rig.as(token, method, path, body);
    if (AdminRig::json(plain).text("name").value_or("") != "PasswordExpired") {
      allowed.push_back(method + " " + std::string(endpoint.path));
      continue;
    }
    CHECK(plain.status == 403);
    const Response modern =
        rig.as(token, method, path, body, {{"Accept", "application/problem+json"}});
    CHECK(modern.status == 403);
    CHECK(AdminRig::json(modern).text("type").value_or("") == "/api/openapi.json#PasswordExpired");
  }
  CHECK(allowed == std::vector<std::string>{"GET /health", "GET /api/openapi.json",
                                            "POST /api/auth/login", "POST /api/auth/logout",
                                            "GET /api/auth/logout", "GET /api/auth/session",
                                            "GET /api/user/me", "PUT /api/user/password"});

  const std::string token = rig.log_in("admin");
  CHECK(rig.as(token, "GET", "/api/host").status == 403);
  CHECK(rig.as(token, "PUT", "/api/user/password", R"({"password":"Correct-Horse-7"})").status ==
        200);
  CHECK(rig.as(token, "GET", "/api/host").status == 200);
}

TEST_CASE("service: a bearer token does as well") {
  const AdminRig rig;
  CHECK(rig.ask(AdminRig::request("GET", "/api/host", "",
                                  {{"Authorization", "Bearer " + rig.admin_token}}))
            .status == 200);
}

TEST_CASE("service: with the cookie, what changes something needs the guard") {
  const AdminRig rig;
  const std::string host = R"({"host":"a.example.com","ip":"10.0.0.1","targetPort":80})";
  const AdminRig::Fields cookie = {{"Cookie", "session=" + rig.admin_token}};
  CHECK(rig.ask(AdminRig::request("GET", "/api/host", "", cookie)).status == 200);
  const Response refused = rig.ask(AdminRig::request("POST", "/api/host", host, cookie));
  CHECK(refused.status == 403);
  CHECK(refused.body.find("X-CSRF-Token") != std::string::npos);
  AdminRig::Fields guarded = cookie;
  guarded.emplace_back("X-CSRF-Token", auth::csrf_of(rig.admin_token));
  CHECK(rig.ask(AdminRig::request("POST", "/api/host", host, guarded)).status == 200);
}

TEST_CASE("service: errors of the request itself have the shapes that old clients know") {
  const AdminRig rig;
  const Response unknown = rig.send("GET", "/api/nothing");
  CHECK(unknown.status == 404);
  CHECK(unknown.body == R"({"name":"Error","message":"Page not found"})");
  CHECK(rig.send("PATCH", "/api/host").status == 404);
  const Response escape = rig.send("GET", "/api/host/%zz");
  CHECK(escape.status == 400);
  CHECK(escape.body == R"({"name":"URIError","message":"Failed to decode param '%zz'"})");
  const Response broken = rig.send("POST", "/api/host", "{\"host\":");
  CHECK(broken.status == 400);
  CHECK(broken.body.find(R"("name":"SyntaxError")") != std::string::npos);
  CHECK(rig.send("POST", "/api/host", "[]").status == 400);
  CHECK(rig.send("POST", "/api/host", "5").status == 400);
  const Response large = rig.send("POST", "/api/host", std::string(100'001, ' '));
  CHECK(large.status == 413);
  CHECK(large.body == R"({"name":"PayloadTooLargeError","message":"request entity too large"})");
  Request form =
      AdminRig::request("POST", "/api/host", "host=a", {{"auth-token", rig.admin_token}});
  for (auto& [name, value] : form.fields) {
    if (name == "Content-Type") value = "application/x-www-form-urlencoded";
  }
  CHECK(rig.ask(std::move(form)).status == 415);
}

TEST_CASE("service: another site's name for our address is not answered") {
  const AdminRig rig;
  const auto status = [&](std::string host, bool tls, std::string client) {
    Request request = AdminRig::request("GET", "/health");
    request.host = std::move(host);
    request.tls = tls;
    request.client_address = std::move(client);
    return rig.ask(std::move(request)).status;
  };
  CHECK(status("127.0.0.1", false, "127.0.0.1") == 200);
  CHECK(status("[::1]", false, "::1") == 200);
  CHECK(status("localhost", false, "127.0.0.1") == 200);
  CHECK(status("evil.example", false, "127.0.0.1") == 421);
  CHECK(status("", false, "127.0.0.1") == 421);
  CHECK(status("manager.example.com", true, "192.0.2.1") == 200);
  CHECK(status("manager.example.com", false, "unix") == 200);
}

TEST_CASE("service: every response keeps scripts and frames of others out") {
  const AdminRig rig;
  for (const Response& response :
       {rig.send("GET", "/api/host"), rig.send("GET", "/api/nothing"),
        rig.ask(AdminRig::request("GET", "/")), rig.ask(AdminRig::request("GET", "/api/host"))}) {
    CHECK(AdminRig::field(response, "content-security-policy").find("default-src 'none'") == 0);
    CHECK(AdminRig::field(response, "x-content-type-options") == "nosniff");
  }
}

TEST_CASE("service: reads do not wait for whoever waits for others, and the queue is bounded") {
  Gate gate;
  AdminRig::Options options;
  options.proxyd = [&gate](std::string_view, const Deadline&) -> Result<Response> {
    gate.wait();
    return Response{.body = "{}"};
  };
  const AdminRig rig(std::move(options));
  constexpr int threads = 4;
  constexpr int waiting = 64;
  std::vector<Answered> asked(threads + waiting + 1);
  for (int i = 0; i < threads + waiting; ++i) {
    rig.service->handle(
        AdminRig::request("GET", "/api/host/a.test/explain", "", {{"auth-token", rig.admin_token}}),
        asked[static_cast<std::size_t>(i)].responder());
    if (i < threads) gate.until_waiting(i + 1);
  }
  CHECK(rig.send("GET", "/api/host").status == 200);
  const Response refused = rig.send("GET", "/api/host/a.test/explain");
  CHECK(refused.status == 503);
  CHECK(AdminRig::field(refused, "retry-after") == "1");
  gate.open();
  for (int i = 0; i < threads + waiting; ++i) {
    CHECK(asked[static_cast<std::size_t>(i)].response().status == 200);
  }
}

TEST_CASE("service: reads do not wait for the bcrypt of older software's API tokens") {
  const std::string secret(48, 'b');
  constexpr std::size_t scripts = 12;
  const auto id = [](std::size_t number) { return std::string(23, 'a') + "0123456789ab"[number]; };
  AdminRig::Options options;
  options.before = [&](Store& store) {
    const auto hash = auth::hash_password(secret, 11);
    REQUIRE(hash);
    for (std::size_t i = 0; i < scripts; ++i) {
      REQUIRE(store.put(host::keys::api_token(id(i)),
                        {{"id", id(i)},
                         {"secret_hash", *hash},
                         {"name", "old"},
                         {"created_by", "admin"},
                         {"is_valid", "true"}},
                        {}, AdminRig::by()));
    }
  };
  const AdminRig rig(std::move(options));
  std::vector<Answered> asked(scripts);
  const auto ask = [&](std::size_t number, const std::string& shown) {
    rig.service->handle(
        AdminRig::request("GET", "/api/user/me", "",
                          {{"Authorization", "Bearer prx_" + id(number) + "_" + shown}}),
        asked[number].responder());
  };
  for (std::size_t i = 0; i < scripts; ++i) ask(i, i % 2 == 0 ? secret : std::string(48, 'c'));
  CHECK(rig.send("GET", "/api/user/me").status == 200);
  CHECK_FALSE(asked[scripts / 2].now());
  for (std::size_t i = 0; i < scripts; ++i) {
    CHECK(asked[i].response().status == (i % 2 == 0 ? 200 : 401));
  }
}

TEST_CASE("service: after stop() everything is answered, with 503") {
  const AdminRig rig;
  rig.service->stop();
  CHECK(rig.send("GET", "/api/host").status == 503);
  rig.service->stop();
}

TEST_CASE("service: HEAD is answered as GET is") {
  const AdminRig rig;
  CHECK(rig.send("HEAD", "/api/host").status == 200);
}

}  // namespace proxycore::admin
