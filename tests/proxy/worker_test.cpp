#include "proxy/worker.h"

#include "io/listener.h"
#include "lookup/trie_tier.h"
#include "support/proxy_rig.h"
#include "support/temp_dir.h"
#include "support/tiers.h"

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <sys/un.h>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;

namespace {

void serve(Peer& client, Peer& at, std::string_view body = "ok") {
  at.message();
  at.send(ok(body));
  const std::string answer = client.message();
  CHECK(status_of(answer) == 200);
  CHECK(answer.ends_with(body));
}

std::string request_to(std::string_view host) {
  return "GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n";
}

class Hello final : public Handler {
  void handle(Request /*request*/, Responder responder) override {
    responder.respond({.status = 200, .fields = {}, .body = "hello"});
  }
};

}  // namespace

// --- limits

TEST_CASE("worker: clients over limits.connections are told 503, or find the door closed") {
  ProxyRig rig([](Config& config) { config.limits.connections = 2; });
  std::vector<Peer> inside;
  for (int i = 0; i < 2; ++i) {
    inside.push_back(rig.client());
    inside.back().send(request_to("unknown.test"));
    CHECK(status_of(inside.back().message()) == 404);
  }
  // limits.connections / 16 + 16 more are told.
  std::vector<Peer> told;
  for (int i = 0; i < 16; ++i) {
    told.push_back(rig.client());
    rig.turns();
  }
  Peer shut_out = rig.client();
  CHECK(shut_out.gone());
  for (Peer& client : told) {
    client.send(get());
    const std::string answer = client.message();
    CHECK(status_of(answer) == 503);
    CHECK(field_of(answer, "Connection") == "close");
    CHECK(client.gone());
  }
  CHECK(rig.counters().connections_refused_total.value() == 17);
  CHECK(rig.origin.nobody_comes());
  // Who is inside stays, and who leaves makes room.
  inside.back().send(request_to("unknown.test"));
  CHECK(status_of(inside.back().message()) == 404);
  inside.pop_back();
  told.clear();
  rig.until([&] { return rig.counters().connections_open.value() == 1; });
  Peer next = rig.client();
  next.send(request_to("unknown.test"));
  CHECK(status_of(next.message()) == 404);
}

TEST_CASE("worker: an address over its limit is told 503, others are served") {
  ProxyRig rig([](Config& config) { config.limits.connections_per_address = 1; });
  Peer first = rig.client();
  first.send(request_to("unknown.test"));
  CHECK(status_of(first.message()) == 404);
  Peer second = rig.client();
  second.send(get());
  CHECK(status_of(second.message()) == 503);
  CHECK(rig.counters().connections_refused_address.value() == 1);
  Peer other = rig.client("127.0.0.2");
  other.send(request_to("unknown.test"));
  CHECK(status_of(other.message()) == 404);
}

TEST_CASE("worker: operators get in when everything is full, and count nowhere") {
  ProxyRig rig([](Config& config) { config.limits.connections = 1; });
  Hello hello;
  rig.set_admin(hello);
  Peer inside = rig.client();
  inside.send(request_to("unknown.test"));
  inside.message();
  const std::uint64_t requests = rig.counters().requests.value();
  for (int i = 0; i < 40; ++i) {
    Peer surplus = rig.client();
    rig.turns(2);
  }
  std::vector<Peer> operators;
  for (int i = 0; i < 5; ++i) {
    operators.push_back(rig.admin_client());
    operators.back().send("GET /livez HTTP/1.1\r\nHost: whatever\r\n\r\n");
    CHECK(operators.back().message().ends_with("hello"));
  }
  CHECK(rig.counters().requests.value() == requests);
  CHECK(rig.counters().exchanges_open.value() == 0);
}

TEST_CASE("worker: over limits.origin_connections a request is 503") {
  ProxyRig rig([](Config& config) { config.limits.origin_connections = 1; });
  Peer first = rig.client();
  first.send(get());
  Peer at = rig.origin.accept();
  at.head();
  Peer second = rig.client();
  second.send(get());
  CHECK(status_of(second.message()) == 503);
  at.send(ok());
  CHECK(status_of(first.message()) == 200);
  second.send(get());
  serve(second, at);
}

// --- tables

TEST_CASE("worker: a new table is for requests that begin afterwards") {
  ProxyRig rig;
  Origin other(rig);
  Peer client = rig.client();
  client.send(get());
  Peer old = rig.origin.accept();
  old.head();
  old.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nho");
  client.until("ho");
  Peer tunnel = rig.client();
  tunnel.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer inside = rig.origin.accept();
  inside.head();
  inside.send(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  tunnel.head();

  rig.add_host({.host = "a.test", .ip = "127.0.0.1", .target_port = other.port()});

  old.send("st");
  CHECK(client.take(2) == "st");
  inside.send("still here");
  CHECK(tunnel.take(10) == "still here");
  client.send(get());
  Peer next = other.accept();
  serve(client, next);

  rig.remove_host("a.test");
  client.send(get());
  CHECK(status_of(client.message()) == 404);
  tunnel.send("me too");
  CHECK(inside.take(6) == "me too");
}

TEST_CASE("worker: hosts count for themselves, up to metrics.hosts, the rest together") {
  ProxyRig rig;
  rig.add_host({.host = "*.b.test", .ip = "127.0.0.1", .target_port = rig.origin.port()});
  Peer client = rig.client();
  client.send(get());
  Peer at = rig.origin.accept();
  serve(client, at, "12345");
  for (const std::string_view host : {"x.b.test", "y.b.test"}) {
    client.send(request_to(host));
    serve(client, at, "123");
  }
  client.send(request_to("unknown.test"));
  const std::size_t page = client.message().size();
  const auto& hosts = rig.counters().per_host;
  CHECK(hosts[1].responses[1].value() == 1);
  CHECK(hosts[1].bytes_out.value() == 5);
  CHECK(hosts[2].responses[1].value() == 2);
  CHECK(hosts[2].bytes_out.value() == 6);
  CHECK(hosts[0].responses[3].value() == 1);
  CHECK(hosts[0].bytes_out.value() > 0);
  CHECK(hosts[0].bytes_out.value() < page);
}

TEST_CASE("worker: request ids are different, dates are dates") {
  ProxyRig rig;
  Peer client = rig.client();
  std::set<std::string> ids;
  for (int i = 0; i < 200; ++i) {
    client.send(request_to("unknown.test"));
    const std::string answer = client.message();
    ids.insert(field_of(answer, "X-Request-Id"));
    const std::string date = field_of(answer, "Date");
    CHECK(date.size() == 29);
    CHECK(date.ends_with(" GMT"));
  }
  CHECK(ids.size() == 200);
  for (const std::string& id : ids) {
    CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
  }
}

TEST_CASE("worker: clients of a Unix socket are served") {
  ProxyRig rig;
  const TempDir directory;
  const ListenAddress address{.address = directory.path() + "/s", .is_unix = true};
  rig.worker().listen({*io::listen_on(address, 16, 0600), true, proxy::Service::proxy});
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  address.address.copy(to.sun_path, sizeof to.sun_path - 1);
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  Peer client(rig, std::move(fd));
  client.send(get());
  Peer at = rig.origin.accept();
  const std::string request = at.head();
  CHECK(field_of(request, "X-Forwarded-For") == "unix");
  CHECK(field_of(request, "Forwarded").starts_with("for=unknown;"));
  at.send(ok());
  CHECK(status_of(client.message()) == 200);
}

// --- the end

TEST_CASE("worker: draining, what was begun is finished and nothing is begun") {
  ProxyRig rig;
  Peer busy = rig.client();
  busy.send(get("/busy"));
  Peer at = rig.origin.accept();
  at.head();
  Peer streaming = rig.client();
  streaming.send(get("/streaming"));
  Peer stream = rig.origin.accept();
  stream.head();
  stream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nho");
  streaming.until("ho");
  Peer idle = rig.client();
  idle.send(request_to("unknown.test"));
  idle.message();
  Peer queued = rig.client();  // in the kernel's queue when the drain begins

  bool drained = false;
  rig.worker().drain([&] { drained = true; });
  rig.turns();
  CHECK_FALSE(drained);
  CHECK(rig.refuses());

  // A request that was on its way is still answered, and told that it is the last.
  idle.send(request_to("unknown.test"));
  std::string answer = idle.message();
  CHECK(status_of(answer) == 404);
  CHECK(field_of(answer, "Connection") == "close");
  CHECK(idle.gone());
  queued.send(request_to("unknown.test"));
  answer = queued.message();
  CHECK(status_of(answer) == 404);
  CHECK(field_of(answer, "Connection") == "close");

  at.send(ok("done"));
  answer = busy.rest();
  CHECK(answer.ends_with("done"));
  CHECK(field_of(answer, "Connection") == "close");
  CHECK_FALSE(drained);
  // Its head promised to keep the connection: another request is answered.
  stream.send("st");
  CHECK(streaming.take(2) == "st");
  streaming.send(request_to("unknown.test"));
  CHECK(field_of(streaming.message(), "Connection") == "close");
  CHECK(streaming.gone());
  busy.close();
  idle.close();
  queued.close();
  streaming.close();
  rig.until([&] { return drained; });
  CHECK(rig.counters().connections_open.value() == 0);
}

TEST_CASE("worker: draining, idle connections close after a moment of grace") {
  ProxyRig rig;
  Peer fresh = rig.client();
  Peer kept = rig.client();
  kept.send(request_to("unknown.test"));
  kept.message();
  bool drained = false;
  const std::int64_t begin = rig.worker().loop().now();
  rig.worker().drain([&] { drained = true; });
  CHECK(fresh.gone());
  CHECK(kept.gone());
  rig.until([&] { return drained; });
  CHECK(rig.worker().loop().now() - begin < 3'000);
}

TEST_CASE("worker: draining, operators may still ask, and do not hold it up") {
  ProxyRig rig;
  Hello hello;
  rig.set_admin(hello);
  Peer busy = rig.client();
  busy.send(get());
  Peer at = rig.origin.accept();
  at.head();
  Peer before = rig.admin_client();
  before.send(request_to("admin"));
  CHECK(status_of(before.message()) == 200);
  bool drained = false;
  rig.worker().drain([&] { drained = true; });
  rig.turns();
  before.send(request_to("admin"));
  CHECK(status_of(before.message()) == 200);
  Peer during = rig.admin_client();
  during.send(request_to("admin"));
  CHECK(status_of(during.message()) == 200);
  at.send(ok());
  busy.rest();
  busy.close();
  rig.until([&] { return drained; });
}

TEST_CASE("worker: draining with nothing open is over at once") {
  ProxyRig rig;
  bool drained = false;
  rig.worker().drain([&] { drained = true; });
  rig.until([&] { return drained; });
}

TEST_CASE("worker: stopping closes everything, whatever it is about") {
  ProxyRig rig;
  Peer waiting = rig.client();
  waiting.send(get());
  Peer at = rig.origin.accept();
  at.head();
  Peer streaming = rig.client();
  streaming.send(get());
  Peer stream = rig.origin.accept();
  stream.head();
  stream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nho");
  streaming.until("ho");
  Peer idle = rig.client();
  Peer half = rig.client();
  half.send("GET / HT");
  rig.turns();
  rig.worker().stop();
  for (Peer* peer : {&waiting, &streaming, &idle, &half, &at, &stream}) peer->gone();
  CHECK(rig.counters().exchanges_open.value() == 0);
  CHECK(rig.counters().connections_open.value() == 0);
  CHECK(rig.counters().pool.open.value() == 0);
}

TEST_CASE("worker: it may die in the middle of everything") {
  ProxyRig rig;
  Peer connecting = rig.client();
  connecting.send(get());
  rig.turns(2);
  Peer waiting = rig.client();
  waiting.send(get());
  Peer at = rig.origin.accept();
  Peer tunnel = rig.client();
  tunnel.send(get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  Peer pipelined = rig.client();
  pipelined.send(get() + get() + get());
  Peer full = rig.client();
  full.stop_reading();
  full.send(get());
  rig.turns();
}

// --- looking hosts up

namespace {

// Tiers in this order: one the test answers for, and the table.
struct Tiers {
  [[nodiscard]] std::vector<proxy::MakeTier> make() {
    using Routes = base::View<host::RouteTable>;
    return {[this](io::Loop&, const Routes&) {
              auto tier = std::make_unique<ScriptedTier>("redis", true);
              remote = tier.get();
              return tier;
            },
            [](io::Loop&, const Routes& routes) {
              return std::make_unique<lookup::TrieTier>("replica", routes);
            }};
  }
  ScriptedTier* remote = nullptr;
};

}  // namespace

TEST_CASE("worker: hosts are looked up in the tiers it is given, in their order") {
  Tiers tiers;
  ProxyRig rig({}, io::Resolver::system_query(), tiers.make());
  Peer client = rig.client();
  client.send(get());
  rig.until([&] { return !tiers.remote->waiting.empty(); });
  tiers.remote->answer(lookup::unknown());
  Peer at = rig.origin.accept();
  serve(client, at);
  const auto& counted = rig.counters().lookup.tiers;
  REQUIRE(counted.size() == 2);
  CHECK(counted[0].name == "redis");
  CHECK(counted[0].remote);
  CHECK(counted[0].misses.value() == 1);
  CHECK(counted[1].name == "replica");
  CHECK(counted[1].hits.value() == 1);
}

TEST_CASE("worker: without a list of tiers the table answers") {
  ProxyRig rig;
  Peer client = rig.client();
  client.send(request_to("unknown.test"));
  CHECK(status_of(client.message()) == 404);
  REQUIRE(rig.counters().lookup.tiers.size() == 1);
  CHECK(rig.counters().lookup.tiers[0].name == "trie");
}

TEST_CASE("worker: its tiers are told from any thread which hosts changed") {
  Tiers tiers;
  ProxyRig rig({}, io::Resolver::system_query(), tiers.make());
  rig.worker().forget({"a.test", "*.b.test"});
  rig.worker().forget({});
  rig.turns();
  CHECK(tiers.remote->forgotten == std::vector<std::string>{"a.test", "*.b.test", "everything"});
}

TEST_CASE("worker: it may die while hosts are looked up") {
  Tiers tiers;
  ProxyRig rig({}, io::Resolver::system_query(), tiers.make());
  Peer one = rig.client();
  Peer two = rig.client();
  one.send(get());
  two.send(get());
  rig.until([&] { return !tiers.remote->waiting.empty(); });
  rig.turns();
  CHECK(tiers.remote->asked.size() == 1);
}
