// PoolRig: an origin::Pool on a loop that the test turns; PoolUser: somebody who wants a connection
// and an answer on it. The targets are raw sockets of the test (sockets.h).
//
// Thread: the test's.
#pragma once

#include "host/target_policy.h"
#include "http/codec.h"
#include "http/head.h"
#include "io/loop.h"
#include "origin/balancer.h"
#include "origin/pool.h"
#include "origin/verification.h"
#include "support/sockets.h"
#include "support/turns.h"
#include <proxycore/config.h>
#include <proxycore/host.h>

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

struct PoolRig {
  io::Loop loop;
  Config config;                               // to be changed before the first use of pool()
  std::map<std::string, io::Addresses> names;  // what is absent is never answered
  origin::Verification verification;
  origin::FailingTargets failing;
  host::TargetPolicy policy;
  origin::PoolCounters counters;
  Route route;
  std::optional<origin::Pool> held;

  PoolRig() { route.pattern = "a.test"; }
  origin::Pool& pool() {
    if (!held) {
      held.emplace(
          loop, config, policy, verification, failing,
          [this](io::Loop& on, const std::string& name,
                 base::UniqueFunction<void(io::Addresses)> done) {
            if (!names.contains(name)) return;
            on.post([this, name, done = std::move(done)]() mutable { done(names.at(name)); });
          },
          counters);
    }
    return *held;
  }
  // Adds the door to the route's targets; `name` stands for its address.
  void add_target(const Door& door, std::string name = {}) {
    add_target({name.empty() ? door.address.ip() : std::move(name), door.address.port()});
  }
  void add_target(Target target) {
    std::vector<Target> targets(route.targets.begin(), route.targets.end());
    targets.push_back(std::move(target));
    route.targets = Targets(std::move(targets));
  }
  // The request that comes to `far`, up to its empty line.
  std::string request(const Fd& far) {
    std::string text;
    run_until(loop,
              [&] { return (text += far.receive_now()).find("\r\n\r\n") != std::string::npos; });
    return text;
  }
  void until_ended(const Fd& far) {
    run_until(loop, [&] { return far.ended(); });
  }
};

class PoolUser final : public origin::Waiter, public http::StreamEvents {
 public:
  explicit PoolUser(PoolRig& rig) : rig_(rig) {}

  // "now", "later" or the error.
  std::string acquire(std::size_t avoid = origin::Balancer::none) {
    auto choice = rig_.pool().acquire(rig_.route, avoid, false, *this);
    target = choice.target;
    if (!choice.lease) return "later";
    if (!*choice.lease) return choice.lease->error().message();
    lease = **std::move(choice.lease);
    return "now";
  }
  // acquire(), and the turns it takes.
  void acquire_and_wait() {
    if (acquire() == "later") {
      run_until(rig_.loop, [&] { return static_cast<bool>(lease) || error.has_value(); });
    }
    REQUIRE(lease);
  }
  http::Stream& open() {
    stream = lease->codec().open(*this);
    REQUIRE(stream != nullptr);
    return *stream;
  }
  // Sends a request without content.
  void get(std::string_view path = "/") {
    request.clear();
    request.method = "GET";
    request.target = path;
    request.authority = "a.test";
    open().send_head(request, http::End::yes);
  }
  // The whole of it: a connection, a request to `far`, and its answer.
  void exchange(const Fd& far, std::string_view answer) {
    body.clear();
    done = false;
    get();
    CHECK(rig_.request(far).substr(0, 14) == "GET / HTTP/1.1");
    far.send(answer);
    run_until(rig_.loop, [&] { return done; });
  }

  origin::Lease lease;
  std::size_t target = 0;
  std::optional<Error> error;  // of the connection
  http::Stream* stream = nullptr;
  http::Head request;
  int status = 0;
  std::string body;
  std::optional<Errc> reset;
  bool sendable = false;
  bool done = false;         // the response is complete: the lease ends
  bool keep_at_end = false;  // it does not
  std::function<void()> during_lease;

 private:
  void on_lease(Result<origin::Lease> result) override {
    if (result) {
      lease = *std::move(result);
    } else {
      error = std::move(result).error();
    }
    if (during_lease) during_lease();
  }
  void on_head(http::Head& head, http::End end) override {
    status = head.status;
    if (end == http::End::yes) finish();
  }
  void on_body(base::Bytes part, http::End end) override {
    body += part.text();
    if (end == http::End::yes) finish();
  }
  void on_trailers(http::Fields&) override { finish(); }
  void on_sendable() override { sendable = true; }
  void on_reset(const http::Reset& why) override {
    reset = why.code;
    stream = nullptr;
    lease.release();
  }
  void finish() {
    done = true;
    if (!keep_at_end) lease.release();
  }

  PoolRig& rig_;
};

}  // namespace proxycore::test
