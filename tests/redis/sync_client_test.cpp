#include "redis/sync_client.h"

#include "support/redis_server.h"
#include "support/sockets.h"

#include <stop_token>
#include <string>
#include <thread>

#include <doctest/doctest.h>

using namespace proxycore;
using redis::Backoff;
using redis::Reply;
using redis::SyncClient;
using redis::Url;

namespace {

constexpr Millis patience{20'000};  // nothing here takes it unless it is broken

Deadline soon() {
  return Deadline::in(patience);
}

Url url_of(const test::Door& door) {
  return *Url::parse("redis://" + door.address.text());
}

// The greeting's answer, for a server that is played by the test.
void greet(const test::Fd& peer) {
  CHECK(peer.receive().find("SETNAME") != std::string::npos);
  peer.send("+OK\r\n");
}

}  // namespace

TEST_CASE("redis client: any bytes come back as they were put, over TCP and over a Unix socket") {
  test::RedisServer server;
  for (const std::string& text : {server.url(), server.unix_url()}) {
    Backoff backoff;
    SyncClient client(*Url::parse(text), backoff);
    REQUIRE(client.connect(soon()));
    const std::string bytes("\0\r\n\xFF", 4);
    REQUIRE(client.call({"SET", bytes, bytes}, soon()));
    CHECK(client.call({"GET", bytes}, soon())->text == bytes);
    CHECK(client.call({"GET", "other"}, soon())->is(Reply::Type::nil));
    CHECK(client.call({"CLIENT", "GETNAME"}, soon())->text == "proxycore");
  }
}

TEST_CASE("redis client: commands that are sent ahead are answered in order") {
  test::RedisServer server;
  Backoff backoff;
  SyncClient client(*Url::parse(server.url() + "/3"), backoff);
  REQUIRE(client.connect(soon()));
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) client.send({"SET", std::to_string(i), large + std::to_string(i)});
  for (int i = 0; i < 20; ++i) client.send({"GET", std::to_string(i)});
  CHECK(client.owed() == 40);
  for (int i = 0; i < 20; ++i) CHECK(client.receive(soon())->text == "OK");
  for (int i = 0; i < 20; ++i) CHECK(client.receive(soon())->text == large + std::to_string(i));
  CHECK(client.owed() == 0);
  CHECK(server.run({"DBSIZE"}).integer == 0);  // database 3 has them
}

TEST_CASE("redis client: an error reply names server, command and key, and what was expected") {
  test::RedisServer server;
  Backoff backoff;
  SyncClient client(*Url::parse(server.url()), backoff);
  REQUIRE(client.connect(soon()));
  REQUIRE(client.call({"SET", "proxy_Host_x", "secret"}, soon()));
  const auto read = client.call({"HGETALL", "proxy_Host_x"}, soon());
  CHECK(read.error().message() == "invalid: " + server.url() +
                                      "/0: HGETALL proxy_Host_x: expected a hash, found another "
                                      "type");
  CHECK(client.connected());
  const auto unknown = client.call({"NOSUCH", "k", "secret"}, soon());
  CHECK(unknown.error().code == Errc::protocol);
  CHECK(unknown.error().detail.find("secret") == std::string::npos);
}

TEST_CASE("redis client: a wrong password is denied, and not shown") {
  test::RedisServer server({"--requirepass", "right"});
  for (const char* user : {"redis://:wrong-secret@", "redis://me:wrong-secret@", "redis://"}) {
    Backoff backoff;
    SyncClient client(*Url::parse(user + server.url().substr(8)), backoff);
    const auto connected = client.connect(soon());
    REQUIRE_FALSE(connected);
    CHECK(connected.error().code == Errc::denied);
    CHECK(connected.error().detail.starts_with(server.url()));
    CHECK(connected.error().detail.find("secret") == std::string::npos);
  }
  Backoff backoff;
  SyncClient client(*Url::parse("redis://:right@" + server.url().substr(8)), backoff);
  CHECK(client.connect(soon()));
}

TEST_CASE("redis client: nobody listens: refused, then it rests, longer each time") {
  const test::Door door("127.0.0.1", test::Answer::refuses);
  Backoff backoff;
  SyncClient client(url_of(door), backoff);
  CHECK(client.connect(soon()).error().code == Errc::refused);
  const Millis first = backoff.left();
  CHECK(first > Millis{0});
  CHECK(first <= Backoff::first);
  const auto again = client.connect(soon());
  CHECK(again.error().code == Errc::closed);
  CHECK(again.error().detail.starts_with("redis://" + door.address.text() + "/0: not tried again"));
  CHECK(again.error().detail.find("Connection refused") != std::string::npos);
  CHECK(backoff.failure()->find("Connection refused") != std::string::npos);
  backoff.succeeded();
  CHECK(backoff.left() == Millis{0});
  CHECK_FALSE(backoff.failure());
}

TEST_CASE("redis client: the rest between tries doubles up to a bound") {
  Backoff backoff;
  CHECK(backoff.admit());
  backoff.failed({Errc::refused, "x"});
  CHECK_FALSE(backoff.admit());
  const Millis before = backoff.left();
  backoff.failed({Errc::refused, "x"});  // another connection failed as well
  CHECK(backoff.left() <= before);
}

TEST_CASE("redis client: a server that does not answer costs the deadline, and then nothing") {
  const test::Door door;
  Backoff backoff;
  SyncClient client(url_of(door), backoff);
  const auto connected = client.connect(Deadline::in(Millis{30}));
  CHECK(connected.error().code == Errc::timeout);
  CHECK(client.connect(soon()).error().code == Errc::closed);  // at once
}

TEST_CASE("redis client: who comes too late to connect is not the server's failure") {
  const test::Door door;
  Backoff backoff;
  SyncClient client(url_of(door), backoff);
  CHECK(client.connect(Deadline::in(Millis{0})).error().code == Errc::timeout);
  CHECK_FALSE(backoff.failure());
}

TEST_CASE("redis client: a reply that does not come drops the connection") {
  const test::Door door;
  Backoff backoff;
  SyncClient client(url_of(door), backoff);
  std::thread peer([&] {
    const test::Fd first = door.accept();
    greet(first);
    CHECK(first.receive_all().find("GET") != std::string::npos);  // to its end
    const test::Fd second = door.accept();
    greet(second);
    CHECK(second.receive().find("GET") != std::string::npos);
    second.send("$1\r\nx\r\n");
  });
  REQUIRE(client.connect(soon()));
  const auto late = client.call({"GET", "k"}, Deadline::in(Millis{30}));
  CHECK(late.error().code == Errc::timeout);
  CHECK(late.error().detail.find("GET k") != std::string::npos);
  CHECK_FALSE(client.connected());
  CHECK(client.call({"GET", "k"}, soon()).error().code == Errc::closed);  // it does not reconnect
  REQUIRE(client.connect(soon()));
  CHECK(client.call({"GET", "k"}, soon())->text == "x");
  peer.join();
}

TEST_CASE("redis client: a stop request ends a wait at once") {
  const test::Door door;
  Backoff backoff;
  SyncClient client(url_of(door), backoff);
  std::stop_source stop;
  std::thread peer([&] {
    const test::Fd first = door.accept();
    greet(first);
    CHECK(first.receive().find("GET") != std::string::npos);
    stop.request_stop();
    CHECK(first.receive_all().empty());
  });
  REQUIRE(client.connect(soon()));
  const Deadline by = Deadline::never(stop.get_token());
  CHECK(client.call({"GET", "k"}, by).error().code == Errc::cancelled);
  CHECK(client.connect(by).error().code == Errc::cancelled);
  CHECK(backoff.left() == Millis{0});  // that was not the server's fault
  peer.join();
}

TEST_CASE("redis client: waiting for what was not asked for leaves the connection as it is") {
  test::RedisServer server;
  Backoff backoff;
  SyncClient client(*Url::parse(server.url()), backoff);
  REQUIRE(client.connect(soon()));
  REQUIRE(client.call({"SUBSCRIBE", "c"}, soon()));
  const auto nothing = client.wait(Deadline::in(Millis{1}));
  REQUIRE(nothing);
  CHECK_FALSE(*nothing);
  std::stop_source stop;
  stop.request_stop();
  CHECK(client.wait(Deadline::never(stop.get_token())).error().code == Errc::cancelled);
  server.run({"PUBLISH", "c", "x"});
  const auto message = client.wait(soon());
  REQUIRE(message);
  CHECK((*message)->items[2].text == "x");
  server.kill();
  CHECK(client.wait(soon()).error().code == Errc::closed);
  CHECK_FALSE(client.connected());
}

TEST_CASE("redis client: an idle connection that a restarted server ended is replaced") {
  test::RedisServer server;
  Backoff backoff;
  SyncClient client(*Url::parse(server.url()), backoff);
  REQUIRE(client.connect(soon()));
  server.kill();
  server.start();
  REQUIRE(client.connect(soon()));
  CHECK(client.call({"PING"}, soon())->text == "PONG");
}

TEST_CASE("redis client: a value of 100 MB costs neither the memory nor the time") {
  test::RedisServer server;
  server.run({"SETRANGE", "k", "104857599", "x"});
  Backoff backoff;
  SyncClient client(*Url::parse(server.url()), backoff);
  REQUIRE(client.connect(soon()));
  const auto value = client.call({"GET", "k"}, soon());
  CHECK(value.error().code == Errc::limit);
  CHECK(value.error().detail == server.url() + "/0: GET k: a reply is over 8388608 bytes");
  CHECK_FALSE(client.connected());
  REQUIRE(client.connect(soon()));
  CHECK(client.call({"STRLEN", "k"}, soon())->integer == 104857600);
}

TEST_CASE("redis client: a server that speaks something else is named") {
  const test::Door door;
  Backoff backoff;
  SyncClient client(url_of(door), backoff);
  std::thread peer([&] {
    const test::Fd first = door.accept();
    static_cast<void>(first.receive());
    first.send("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  const auto connected = client.connect(soon());
  peer.join();
  CHECK(connected.error().code == Errc::protocol);
  CHECK(connected.error().detail.find("CLIENT: malformed reply") != std::string::npos);
}

TEST_CASE("redis client: a name is looked up, and one that there is not is told") {
  test::RedisServer server;
  Backoff backoff;
  SyncClient client(*Url::parse("redis://localhost:" + std::to_string(server.port())), backoff);
  CHECK(client.connect(soon()));
  Backoff other;
  SyncClient nowhere(*Url::parse("redis://nowhere.invalid"), other);
  const auto connected = nowhere.connect(soon());
  REQUIRE_FALSE(connected);
  CHECK(connected.error().detail.starts_with("redis://nowhere.invalid:6379/0: "));
}
