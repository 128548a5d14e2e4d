#include "origin/pool.h"

#include "support/count_allocations.h"
#include "support/fake_clock.h"
#include "support/pool_rig.h"
#include "support/tls_rig.h"
#include "support/tls_target.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using test::Answer;
using test::Door;
using test::Fd;
using test::pass;
using test::PoolRig;
using test::PoolUser;
using test::run_turns;
using test::run_until;
using test::TlsTarget;

namespace {

constexpr const char* ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

io::Addresses addresses(std::initializer_list<const char*> ips) {
  std::vector<io::Address> all;
  for (const char* ip : ips) all.push_back(*io::Address::parse(ip, 0));
  return all;
}

// A rig whose route goes to a target over TLS, by the name "a.test".
struct TlsPool : PoolRig {
  explicit TlsPool(const CertBundle& bundle = test::test_bundle("P-256"))
      : target(loop, credentials(bundle)) {
    verification.use(tls::Authorities::load(test::test_authority().pem()).value());
    names.emplace("a.test", addresses({"127.0.0.1"}));
    names.emplace("b.test", addresses({"127.0.0.1"}));
    add_target(target.at("a.test"));
    speak({});
  }
  static std::shared_ptr<const tls::Credentials> credentials(const CertBundle& bundle) {
    auto made = std::make_shared<tls::Credentials>();
    made->ecdsa = test::load_certificate(bundle);
    return made;
  }
  void speak(TargetTls how) { route.tls = std::make_shared<const TargetTls>(std::move(how)); }
  // A request and its answer; whether the connection was there already.
  std::string request_one(PoolUser& user) {
    std::string how = user.acquire();
    if (how == "later") {
      run_until(loop, [&] { return static_cast<bool>(user.lease) || user.error.has_value(); });
    }
    if (!user.lease) return user.error ? user.error->message() : how;
    user.body.clear();
    user.done = false;
    user.get();
    run_until(loop, [&] { return user.done; });
    CHECK(user.body == "ok");
    return how;
  }

  TlsTarget target;
};

}  // namespace

TEST_CASE_FIXTURE(PoolRig, "pool: the first connection comes later, a kept one now") {
  const Door door;
  add_target(door);
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return static_cast<bool>(user.lease); });
  const Fd far = door.accept();
  CHECK_FALSE(user.lease->reused());
  user.exchange(far, ok);
  CHECK(user.body == "ok");
  CHECK_FALSE(user.lease);
  CHECK(counters.idle.value() == 1);

  CHECK(user.acquire() == "now");
  CHECK(user.lease->reused());
  user.exchange(far, ok);
  CHECK(counters.connects.value() == 1);
  CHECK(counters.reuses.value() == 1);
  CHECK(counters.open.value() == 1);
}

TEST_CASE_FIXTURE(PoolRig, "pool: the last that was given back is the first to be used again") {
  const Door door;
  add_target(door);
  PoolUser first(*this);
  PoolUser second(*this);
  first.acquire_and_wait();
  const Fd far_first = door.accept();
  second.acquire_and_wait();
  const Fd far_second = door.accept();
  second.exchange(far_second, ok);
  first.exchange(far_first, ok);
  REQUIRE(first.acquire() == "now");
  first.get("/again");
  CHECK(request(far_first).substr(0, 10) == "GET /again");
}

TEST_CASE_FIXTURE(PoolRig, "pool: a target gets no more connections than the limit") {
  config.limits.origin_connections = 2;
  const Door door;
  add_target(door);
  PoolUser users[] = {PoolUser(*this), PoolUser(*this), PoolUser(*this)};
  users[0].acquire_and_wait();
  CHECK(users[1].acquire() == "later");
  CHECK(users[2].acquire() == "limit: limits.origin_connections is reached for this target");
  users[0].lease.release();
  CHECK(users[2].acquire() == "now");
}

TEST_CASE_FIXTURE(PoolRig, "pool: an unused connection is closed when its time is over") {
  config.timeouts.origin_keepalive = Millis{40};
  const Door door;
  add_target(door);
  PoolUser user(*this);
  user.acquire_and_wait();
  const Fd far = door.accept();
  user.exchange(far, ok);
  until_ended(far);
  CHECK(counters.idle.value() == 0);
  CHECK(counters.open.value() == 0);
  CHECK(user.acquire() == "later");
}

TEST_CASE_FIXTURE(
    PoolRig, "pool: an unused connection that the target ends, breaks or talks on is not used") {
  const Door door;
  add_target(door);
  PoolUser user(*this);
  for (int how = 0; how < 3; ++how) {
    user.acquire_and_wait();
    Fd far = door.accept();
    user.exchange(far, ok);
    REQUIRE(counters.idle.value() == 1);
    if (how == 0) far.close();
    if (how == 1) far.abort();
    if (how == 2) far.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
    run_until(loop, [&] { return counters.idle.value() == 0; });
    run_turns(loop);
    CHECK(counters.open.value() == 0);
  }
  CHECK(user.acquire() == "later");
}

TEST_CASE_FIXTURE(PoolRig, "pool: keeps so many unused connections per target, closes the rest") {
  config.origins.idle_connections = 1;
  const Door door;
  add_target(door);
  PoolUser first(*this);
  PoolUser second(*this);
  first.acquire_and_wait();
  const Fd far_first = door.accept();
  second.acquire_and_wait();
  const Fd far_second = door.accept();
  first.exchange(far_first, ok);
  second.exchange(far_second, ok);
  until_ended(far_second);
  CHECK(counters.idle.value() == 1);
  CHECK_FALSE(far_first.ended());
}

TEST_CASE_FIXTURE(PoolRig, "pool: drain closes what is unused, and what is in use after it") {
  const Door door;
  add_target(door);
  PoolUser idle(*this);
  PoolUser busy(*this);
  idle.acquire_and_wait();
  const Fd far_idle = door.accept();
  busy.acquire_and_wait();
  const Fd far_busy = door.accept();
  idle.exchange(far_idle, ok);
  pool().drain();
  until_ended(far_idle);
  busy.exchange(far_busy, ok);
  CHECK(busy.body == "ok");
  until_ended(far_busy);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(PoolRig, "pool: a connection whose waiter died serves the next one") {
  const Door door;
  add_target(door);
  {
    PoolUser gone(*this);
    CHECK(gone.acquire() == "later");
  }
  run_until(loop, [&] { return counters.idle.value() == 1; });
  const Fd far = door.accept();
  PoolUser user(*this);
  CHECK(user.acquire() == "now");
  CHECK_FALSE(user.lease->reused());
  user.exchange(far, ok);
  CHECK(user.body == "ok");
}

TEST_CASE_FIXTURE(PoolRig, "pool: a lease that is given back unused leaves the connection usable") {
  const Door door;
  add_target(door);
  PoolUser user(*this);
  user.during_lease = [&] { user.lease.release(); };
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return counters.idle.value() == 1; });
  user.during_lease = nullptr;
  CHECK(user.acquire() == "now");
  user.exchange(door.accept(), ok);
  CHECK(user.body == "ok");
}

TEST_CASE_FIXTURE(PoolRig, "pool: a name is resolved when it is used") {
  const Door door;
  add_target(door, "origin.test");
  names.emplace("origin.test", addresses({"127.0.0.1"}));
  PoolUser user(*this);
  user.acquire_and_wait();
  user.exchange(door.accept(), ok);
  CHECK(user.body == "ok");
}

TEST_CASE_FIXTURE(PoolRig, "pool: a name that does not resolve is told, later and now") {
  add_target({"dead.test", 80});
  names.emplace("dead.test", Error{Errc::not_found, "no such name"});
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->code == Errc::not_found);
  CHECK(user.acquire() == "not_found: no such name");  // remembered
  run_turns(loop);
  CHECK(counters.open.value() == 0);
  CHECK(counters.connect_failures.value() == 2);
}

TEST_CASE_FIXTURE(PoolRig, "pool: a name that is never answered is given up in time") {
  config.timeouts.origin_connect = Millis{40};
  add_target({"hangs.test", 80});
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->code == Errc::timeout);
}

TEST_CASE_FIXTURE(PoolRig, "pool: when the first address refuses, the second is tried") {
  const auto [refusing, door] = Door::twins(Answer::refuses, Answer::accepts);
  add_target(door, "two.test");
  names.emplace("two.test", addresses({"127.0.0.1", "127.0.0.2"}));
  PoolUser user(*this);
  user.acquire_and_wait();
  user.exchange(door.accept(), ok);
  CHECK(user.body == "ok");
  CHECK(counters.connect_failures.value() == 0);
}

TEST_CASE_FIXTURE(PoolRig, "pool: when the first address does not answer, the second is tried") {
  config.timeouts.origin_connect = Millis{40};
  const auto [hanging, door] = Door::twins(Answer::hangs, Answer::accepts);
  add_target(door, "two.test");
  names.emplace("two.test", addresses({"127.0.0.1", "127.0.0.2"}));
  PoolUser user(*this);
  user.acquire_and_wait();
  user.exchange(door.accept(), ok);
  CHECK(user.body == "ok");
}

TEST_CASE_FIXTURE(PoolRig, "pool: when no address answers, the last reason is told") {
  const auto [first, second] = Door::twins(Answer::refuses, Answer::refuses);
  add_target(first, "two.test");
  names.emplace("two.test", addresses({"127.0.0.1", "127.0.0.2"}));
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->code == Errc::refused);
  CHECK(counters.connect_failures.value() == 1);
  run_turns(loop);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(PoolRig, "pool: a route may have less patience than the server") {
  const Door hanging("127.0.0.1", Answer::hangs);
  add_target(hanging);
  route.connect_timeout = Millis{40};
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->code == Errc::timeout);
}

TEST_CASE_FIXTURE(PoolRig, "pool: who is told may acquire again at once, elsewhere") {
  const Door dead("127.0.0.1", Answer::refuses);
  const Door door;
  add_target(dead);
  add_target(door);
  PoolUser user(*this);
  std::string again;
  user.during_lease = [&] {
    if (user.error) again = user.acquire(std::exchange(user.target, 0));
    user.error.reset();
  };
  CHECK(user.acquire() == "later");
  CHECK(user.target == 0);
  run_until(loop, [&] { return static_cast<bool>(user.lease); });
  CHECK(again == "later");
  CHECK(user.target == 1);
  user.exchange(door.accept(), ok);
  CHECK(user.body == "ok");
}

TEST_CASE_FIXTURE(PoolRig, "pool: a target that keeps failing rests, and is tried again after it") {
  const Door first;
  const Door second;
  add_target(first);
  add_target(second);
  const auto targets = [&](int count) {
    std::string all;
    for (int i = 0; i < count; ++i) {
      PoolUser user(*this);
      user.acquire();
      all += std::to_string(user.target);
    }
    return all;
  };
  CHECK(targets(4) == "0101");
  for (std::uint32_t i = 0; i < config.origins.failures; ++i) pool().failed(route, 0);
  CHECK(targets(4) == "1111");
  pass(loop, config.origins.cool_down);
  CHECK(targets(4) == "0101");
  // Its count is still at the limit: one more failure is enough, one success clears it.
  pool().failed(route, 0);
  CHECK(targets(2) == "11");
  pass(loop, config.origins.cool_down);
  pool().succeeded(route, 0);
  pool().failed(route, 0);
  CHECK(targets(2) == "01");
}

TEST_CASE_FIXTURE(PoolRig,
                  "pool: a target is among those that fail until it is used with success") {
  const Door door;
  add_target(door);
  pool().failed(route, 0);
  auto list = failing.list(loop.wall());
  REQUIRE(list.size() == 1);
  CHECK(list[0].target == route.targets[0].text());
  CHECK(list[0].failures == 1);
  CHECK(list[0].rests_until == 0);
  for (std::uint32_t i = 1; i < config.origins.failures; ++i) pool().failed(route, 0);
  list = failing.list(loop.wall());
  REQUIRE(list.size() == 1);
  CHECK(list[0].failures == config.origins.failures);
  CHECK(list[0].rests_until == loop.wall() + config.origins.cool_down.count());
  pool().succeeded(route, 0);
  CHECK(failing.list(loop.wall()).empty());
}

TEST_CASE_FIXTURE(PoolRig,
                  "pool: a warm connection is acquired and given back without an allocation") {
  const Door door;
  add_target(door);
  PoolUser user(*this);
  user.acquire_and_wait();
  const Fd far = door.accept();
  for (int i = 0; i < 3; ++i) {
    user.exchange(far, ok);
    REQUIRE(user.acquire() == "now");
  }
  user.lease.release();
  const std::size_t before = test::allocations();
  for (int i = 0; i < 10; ++i) {
    user.lease = *std::move(*pool().acquire(route, 0, false, user).lease);
    user.lease.release();
  }
  CHECK(test::allocations() == before);
}

TEST_CASE_FIXTURE(PoolRig, "pool: a warm exchange allocates nothing on the target's side") {
  const Door door;
  add_target(door);
  PoolUser user(*this);
  user.acquire_and_wait();
  const Fd far = door.accept();
  user.exchange(far, ok);
  std::size_t before = 0;
  for (int i = 0; i < 10; ++i) {
    if (i == 5) before = test::allocations();
    user.lease = *std::move(*pool().acquire(route, 0, false, user).lease);
    user.done = false;
    user.body.clear();
    user.get();
    char buffer[1024];
    while (::recv(far.get(), buffer, sizeof buffer, MSG_DONTWAIT) <= 0) run_turns(loop, 1);
    far.send(ok);
    while (!user.done) run_turns(loop, 1);
  }
  CHECK(test::allocations() == before);
}

TEST_CASE_FIXTURE(PoolRig,
                  "pool: may be destroyed with connections in every state, in the same turn") {
  const Door door;
  const Door hanging("127.0.0.1", Answer::hangs);
  add_target(door);
  PoolUser idle(*this);
  idle.acquire_and_wait();
  idle.exchange(door.accept(), ok);
  {
    PoolUser died(*this);
    died.acquire_and_wait();
    died.get();
    died.stream->reset(Errc::cancelled);
    died.lease.release();
  }
  PoolUser connecting(*this);
  route.targets = {{"127.0.0.1", hanging.address.port()}};
  CHECK(connecting.acquire() == "later");
  PoolUser resolving(*this);
  route.targets = {{"hangs.test", 80}};
  CHECK(resolving.acquire() == "later");
  held.reset();
  run_turns(loop);
  CHECK(counters.open.value() == 0);
  CHECK_FALSE(connecting.error);
}

TEST_CASE_FIXTURE(TlsPool, "pool: a connection over TLS is kept as one without is") {
  PoolUser user(*this);
  CHECK(request_one(user) == "later");
  REQUIRE(target.visitors.size() == 1);
  CHECK(target.visitors[0]->name() == "a.test");
  CHECK(target.visitors[0]->protocol() == "http/1.1");
  CHECK(counters.idle.value() == 1);
  CHECK(request_one(user) == "now");
  CHECK(target.visitors.size() == 1);
  CHECK(counters.handshakes_full.value() == 1);
  CHECK(counters.reuses.value() == 1);
  pool().drain();
  run_until(loop, [&] { return target.visitors[0]->ended; });
}

TEST_CASE_FIXTURE(TlsPool, "pool: connections that speak otherwise are not mixed up") {
  PoolUser user(*this);
  const TargetTls ways[] = {{},
                            {.server_name = "b.test"},
                            {.verify = TargetVerify::no},
                            {.verify = TargetVerify::no, .server_name = "b.test"}};
  for (const TargetTls& way : ways) {
    speak(way);
    CHECK(request_one(user) == "later");
  }
  for (const TargetTls& way : ways) {
    speak(way);
    CHECK(request_one(user) == "now");
  }
  CHECK(target.visitors.size() == 4);
  CHECK(target.visitors[1]->name() == "b.test");
  CHECK(target.visitors[2]->name() == "a.test");
  CHECK(counters.handshakes_full.value() == 4);  // no session of another's was offered

  route.tls.reset();
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return static_cast<bool>(user.lease); });
  user.lease.release();
  // The name asked for is the same, though once it is the target's own.
  speak({.server_name = "a.test"});
  CHECK(request_one(user) == "now");
}

TEST_CASE_FIXTURE(TlsPool, "pool: a session is resumed by the next connection that speaks so") {
  PoolUser first(*this);
  PoolUser second(*this);
  CHECK(request_one(first) == "later");
  CHECK(first.acquire() == "now");
  CHECK(request_one(second) == "later");
  first.lease.release();
  CHECK(counters.handshakes_full.value() == 1);
  CHECK(counters.handshakes_resumed.value() == 1);
  CHECK(target.visitors[1]->resumed());
  // What is not verified takes no session that was.
  speak({.verify = TargetVerify::no});
  CHECK(request_one(first) == "later");
  CHECK(counters.handshakes_full.value() == 2);
  CHECK_FALSE(target.visitors[2]->resumed());
}

TEST_CASE_FIXTURE(TlsPool, "pool: after an hour the certificate is verified again") {
  config.timeouts.origin_keepalive = Millis{1};
  PoolUser user(*this);
  for (int i = 0; i < 3; ++i) {
    request_one(user);
    run_until(loop, [&] { return counters.idle.value() == 0; });
    if (i == 1) pass(loop, Millis{3'600'000});
  }
  REQUIRE(target.visitors.size() == 3);
  CHECK(counters.handshakes_resumed.value() == 1);
  CHECK(counters.handshakes_full.value() == 2);
}

TEST_CASE("pool: a target whose certificate is not valid is refused, with the reason") {
  struct Bad {
    CertBundle bundle;
    std::string why;
  };
  const auto& authority = test::test_authority();
  const std::vector<Bad> cases = {
      {authority.issue({.dns = {"a.test"}, .not_before = -1000, .not_after = -10}),
       "the certificate has expired"},
      {authority.issue({.dns = {"b.test"}}), "the certificate is for another name"},
      {test::lone({.dns = {"a.test"}}), "no known authority has signed the certificate"},
  };
  for (const Bad& bad : cases) {
    CAPTURE(bad.why);
    TlsPool rig(bad.bundle);
    PoolUser user(rig);
    CHECK(rig.request_one(user) == "denied: tls: handshake: " + bad.why);
    CHECK(rig.counters.handshakes_denied.value() == 1);
    CHECK(rig.counters.connect_failures.value() == 1);
    run_turns(rig.loop);
    CHECK(rig.counters.open.value() == 0);
    user.error.reset();
    rig.speak({.verify = TargetVerify::no});
    CHECK(rig.request_one(user) == "later");
    CHECK(rig.counters.unverified_by_choice.value() == 1);
    rig.speak({.verify = TargetVerify::unset});
    CHECK(rig.request_one(user) == "now");  // neither is verified
    CHECK(rig.counters.unverified_by_default.value() == 0);
  }
}

TEST_CASE_FIXTURE(TlsPool,
                  "pool: a target by its address is verified by it, and asked for nobody") {
  route.targets = Targets({target.at("127.0.0.1")});
  PoolUser user(*this);
  CHECK(request_one(user) == "later");
  CHECK(target.visitors[0]->name().empty());
  speak({.server_name = "a.test"});
  CHECK(request_one(user) == "later");
  CHECK(target.visitors[1]->name() == "a.test");
  speak({.server_name = "127.0.0.2"});
  CHECK(request_one(user) == "denied: tls: handshake: the certificate is for another name");
}

TEST_CASE_FIXTURE(TlsPool, "pool: other authorities are for all that begins afterwards") {
  PoolUser user(*this);
  PoolUser busy(*this);
  CHECK(request_one(user) == "later");
  CHECK(busy.acquire() == "now");
  const test::Authority other({.common_name = "Other Authority"});
  verification.use(tls::Authorities::load(other.pem()).value());
  pool().forget_authorities();
  // No session is resumed either: nor one that comes with a connection from before.
  CHECK(request_one(user) ==
        "denied: tls: handshake: no known authority has signed the certificate");
  user.error.reset();
  busy.done = false;
  busy.get();
  run_until(loop, [&] { return busy.done; });
  CHECK(busy.body == "ok");
  CHECK(busy.acquire() == "now");  // it goes on
  CHECK(request_one(user) ==
        "denied: tls: handshake: no known authority has signed the certificate");
  CHECK(counters.handshakes_resumed.value() == 0);
}

TEST_CASE_FIXTURE(TlsPool, "pool: without authorities nothing is verified, and so refused") {
  origin::Verification none;
  origin::Pool other(
      loop, config, policy, none, failing,
      [](io::Loop& on, const std::string&, base::UniqueFunction<void(io::Addresses)> done) {
        on.post([done = std::move(done)]() mutable { done(addresses({"127.0.0.1"})); });
      },
      counters);
  PoolUser user(*this);
  auto choice = other.acquire(route, origin::Balancer::none, false, user);
  REQUIRE_FALSE(choice.lease);
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->message() == "denied: tls: there are no authorities to verify it by");
}

TEST_CASE_FIXTURE(PoolRig, "pool: a target that does not speak TLS is told") {
  const Door door;
  add_target(door);
  route.tls = std::make_shared<const TargetTls>(TargetTls{TargetVerify::no, ""});
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  Fd far = door.accept();
  std::string hello;
  run_until(loop, [&] { return !(hello += far.receive_now()).empty(); });
  SUBCASE("by what it answers") {
    far.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  }
  SUBCASE("by an alert") {
    far.send(std::string_view("\x15\x03\x03\x00\x02\x02\x28", 7));
  }
  SUBCASE("by its end") {
    far.close();
  }
  SUBCASE("by a reset") {
    far.abort();
  }
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->code == Errc::protocol);
  CHECK(counters.handshakes_failed.value() == 1);
  run_turns(loop);
  CHECK(counters.open.value() == 0);
}

TEST_CASE_FIXTURE(PoolRig, "pool: a handshake that is not answered is given up in time") {
  config.timeouts.origin_connect = Millis{40};
  const Door door;
  add_target(door);
  route.tls = std::make_shared<const TargetTls>(TargetTls{TargetVerify::no, ""});
  PoolUser user(*this);
  CHECK(user.acquire() == "later");
  run_until(loop, [&] { return user.error.has_value(); });
  CHECK(user.error->message() == "timeout: tls: handshake: no answer in time");
  CHECK(counters.handshakes_failed.value() == 1);
}

TEST_CASE_FIXTURE(TlsPool, "pool: when the first address does not speak TLS, the second is tried") {
  // Nothing listens on its port at the first.
  names.insert_or_assign("a.test", addresses({"127.0.0.2", "127.0.0.1"}));
  PoolUser user(*this);
  CHECK(request_one(user) == "later");
  CHECK(counters.connect_failures.value() == 0);
}

TEST_CASE_FIXTURE(TlsPool, "pool: a warm connection over TLS is acquired without an allocation") {
  PoolUser user(*this);
  request_one(user);
  speak({.verify = TargetVerify::no, .server_name = "a-long-name-that-has-memory.a.test"});
  request_one(user);
  const std::size_t before = test::allocations();
  for (int i = 0; i < 10; ++i) {
    CHECK(user.acquire() == "now");
    user.lease.release();
  }
  CHECK(test::allocations() == before);
}

TEST_CASE_FIXTURE(PoolRig, "pool: what the policy objects to is not connected to") {
  const Door door;
  config.admin.listen = {door.address.text()};
  policy = *host::TargetPolicy::create(config);
  names.emplace("rebound.test", addresses({"127.0.0.1"}));
  SUBCASE("as an address") {
    add_target(door);
  }
  SUBCASE("as a name that means it by now") {
    add_target(door, "rebound.test");
  }
  PoolUser user(*this);
  std::string how = user.acquire();
  if (how == "later") {
    run_until(loop, [&] { return user.error.has_value(); });
    how = user.error->message();
  }
  CHECK(how == "refused: " + door.address.text() + ": it is one of our own listeners");
  CHECK(counters.refused.value() == 1);
  CHECK(counters.connect_failures.value() == 1);
  run_until(loop, [&] { return counters.open.value() == 0; });
}

TEST_CASE_FIXTURE(PoolRig, "pool: of a name's addresses only those that are allowed are tried") {
  const Door door;
  config.admin.denied_targets = {"127.0.0.2"};
  policy = *host::TargetPolicy::create(config);
  names.emplace("both.test", addresses({"127.0.0.2", "127.0.0.1"}));
  add_target(door, "both.test");
  PoolUser user(*this);
  user.acquire_and_wait();
  const Fd far = door.accept();
  user.exchange(far, ok);
  CHECK(counters.refused.value() == 1);
}

TEST_CASE_FIXTURE(PoolRig, "pool: the operator's hosts go anywhere, by connections of their own") {
  const Door door;
  config.admin.listen = {door.address.text()};
  policy = *host::TargetPolicy::create(config);
  add_target(door);
  route.source = HostSource::file;
  PoolUser user(*this);
  user.acquire_and_wait();
  const Fd far = door.accept();
  user.exchange(far, ok);
  CHECK(counters.idle.value() == 1);
  // There is a connection, but not for a host of the store.
  route.source = HostSource::store;
  CHECK(user.acquire().starts_with("refused: "));
  route.source = HostSource::file;
  CHECK(user.acquire() == "now");
  user.exchange(far, ok);
}
