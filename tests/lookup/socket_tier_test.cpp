#include "lookup/socket_tier.h"

#include "lookup/socket_server.h"
#include "support/temp_dir.h"
#include "support/tiers.h"
#include "support/turns.h"
#include "support/unix_sockets.h"

#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::SocketTier;
using test::Asker;
using test::Fd;
using test::run_turns;
using test::run_until;
using test::told;

namespace {

io::Conversation::Limits quick(Millis timeout) {
  io::Conversation::Limits limits;
  limits.timeout = timeout;
  limits.back_off = Millis{20};
  limits.back_off_most = Millis{60};
  return limits;
}

// A service that the test plays, and the tier.
struct Rig {
  explicit Rig(Millis timeout = Millis{8'000})
      : listening(test::listen_unix(path)), tier(loop, path, quick(timeout), ids) {}

  // The next connection, after what is said first on it.
  Fd accept(std::string_view welcome = "{}") {
    Fd fd;
    run_until(loop, [&] {
      if (fd.get() < 0) fd = Fd(::accept(listening.get(), nullptr, nullptr));
      return fd.get() >= 0;
    });
    CHECK(request(fd) == "{\"domain\":\"\"}\n");
    fd.send(welcome);
    return fd;
  }
  std::string request(const Fd& fd) {
    std::string text;
    run_until(loop, [&] {
      text += fd.receive_now();
      return text.ends_with('\n');
    });
    return text;
  }
  std::string wait(const Asker& asker) {
    run_until(loop, [&] { return asker.times == 1; });
    return asker.text();
  }

  test::TempDir directory;
  const std::string path = directory.file("socket");
  Fd listening;
  host::StatsIds ids{10};
  io::Loop loop;
  SocketTier tier;
};

}  // namespace

TEST_CASE("socket tier: asks one name after the other, as old services need it") {
  Rig rig;
  CHECK(rig.tier.name() == "socket");
  CHECK(rig.tier.remote());
  Asker one;
  Asker two;
  REQUIRE_FALSE(rig.tier.find("a.test", one));
  REQUIRE_FALSE(rig.tier.find("b.w.test", two));
  const Fd service = rig.accept();
  CHECK(rig.request(service) == "{\"domain\":\"a.test\"}\n");
  run_turns(rig.loop);
  CHECK(service.receive_now().empty());
  // Without a line end, in two pieces.
  service.send(R"({"host":"a.test","ip":"10.0.0.5","targetPort")");
  run_turns(rig.loop);
  service.send(R"(:"8080","wildcard_parent":"a.test"})");
  CHECK(rig.wait(one) == "a.test");
  CHECK((**one.heard)->targets.front().text() == "10.0.0.5:8080");
  CHECK(rig.request(service) == "{\"domain\":\"b.w.test\"}\n");
  service.send("{\"host\":\"*.w.test\",\"ip\":\"10.0.0.6\",\"targetPort\":\"80\"}\n");
  CHECK(rig.wait(two) == "*.w.test");
}

TEST_CASE("socket tier: what the service does not know does not exist") {
  Rig rig;
  Asker asker;
  REQUIRE_FALSE(rig.tier.find("a.test", asker));
  const Fd service = rig.accept("{}\n");
  rig.request(service);
  service.send("{}\n");
  CHECK(rig.wait(asker) == "not_found");
}

TEST_CASE("socket tier: lists that an older service joined are lists again") {
  Rig rig;
  Asker asker;
  REQUIRE_FALSE(rig.tier.find("a.test", asker));
  const Fd service = rig.accept();
  rig.request(service);
  service.send(
      R"({"host":"a.test","ip":"10.0.0.5","targetPort":"80","targets":"10.0.0.6:81,10.0.0.7:82",)"
      R"("resp_headers":"[object Object]","ip_allow":""})");
  CHECK(rig.wait(asker) == "a.test");
  const auto& targets = (**asker.heard)->targets;
  REQUIRE(targets.size() == 3);
  CHECK(targets[2].text() == "10.0.0.7:82");
}

TEST_CASE("socket tier: a record that is broken, or that there is none now, is a failure") {
  Rig rig;
  const Fd service = rig.accept();
  for (const auto& [reply, failure] : {
           std::pair{"{\"host\":\"a.test\",\"ip\":\"10.0.0.5\",\"targetPort\":\"no\"}",
                     "field 'targetPort': expected a number, found 'no'"},
           std::pair{"{\"error\":\"busy: no hosts are known yet\"}",
                     "it says 'busy: no hosts are known yet'"},
           std::pair{"[]", "expected an object, found an array"},
       }) {
    Asker asker;
    REQUIRE_FALSE(rig.tier.find("a.test", asker));
    rig.request(service);
    service.send(reply);
    rig.wait(asker);
    REQUIRE_FALSE(*asker.heard);
    CHECK(asker.heard->error().detail == "unix:" + rig.path + ": a.test: " + failure);
  }
}

TEST_CASE("socket tier: a service that hangs costs one wait") {
  Rig rig(Millis{100});
  const Fd service = rig.accept();
  Asker asker;
  REQUIRE_FALSE(rig.tier.find("a.test", asker));
  CHECK(rig.wait(asker) == "timeout");
  Asker next;
  const auto refused = rig.tier.find("b.test", next);
  REQUIRE(refused);
  CHECK(told(*refused) == "busy");
  CHECK(rig.request(service) == "{\"domain\":\"a.test\"}\n");
  service.send("{}\n");
  run_until(rig.loop, [&] {
    next.unlink();
    return !rig.tier.find("b.test", next);
  });
  CHECK(rig.request(service) == "{\"domain\":\"b.test\"}\n");
}

TEST_CASE("socket tier: a service that ends or sends garbage is connected to anew") {
  Rig rig;
  Fd service = rig.accept();
  Asker known;
  REQUIRE_FALSE(rig.tier.find("known.test", known));
  rig.request(service);
  service.send("{}");
  CHECK(rig.wait(known) == "not_found");
  Asker asker;
  REQUIRE_FALSE(rig.tier.find("a.test", asker));
  rig.request(service);
  SUBCASE("ends") {
    service.close();
    service = rig.accept();
    CHECK(rig.request(service) == "{\"domain\":\"a.test\"}\n");
    service.send("{}");
    CHECK(rig.wait(asker) == "not_found");
  }
  SUBCASE("sends garbage") {
    service.send("}");
    CHECK(rig.wait(asker) == "invalid");
    rig.accept();
  }
}

TEST_CASE("socket tier: without a service nobody waits") {
  Rig rig;
  rig.listening.close();
  Asker asker;
  run_until(rig.loop, [&] {
    asker.unlink();
    const auto now = rig.tier.find("a.test", asker);
    return now.has_value();
  });
  CHECK(told(*rig.tier.find("a.test", asker)) == "closed");
}

TEST_CASE("socket tier: our own service understands it") {
  struct One final : lookup::Directory {
    Result<lookup::Listing> find(std::string_view name) override {
      if (name != "a.test") return Error{Errc::not_found};
      return lookup::Listing{"*.test",
                             {{"host", "*.test"}, {"ip", "10.0.0.5"}, {"targetPort", "80"}}};
    }
  } directory;
  const test::TempDir place;
  io::Loop loop;
  host::StatsIds ids(10);
  lookup::ServiceCounters counters;
  const auto fd = lookup::SocketServer::listen(place.file("socket"), "");
  REQUIRE(fd);
  const lookup::SocketServer server(loop, *fd, directory, {}, counters);
  SocketTier tier(loop, place.file("socket"), quick(Millis{8'000}), ids);
  Asker askers[2];
  REQUIRE_FALSE(tier.find("a.test", askers[0]));
  REQUIRE_FALSE(tier.find("b.test", askers[1]));
  run_until(loop, [&] { return askers[1].times == 1; });
  CHECK(askers[0].text() == "*.test");
  CHECK(askers[1].text() == "not_found");
}
