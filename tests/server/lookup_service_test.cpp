#include "server/lookup_service.h"

#include "support/temp_dir.h"

#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;

namespace {

Deadline soon() {
  return Deadline::in(Millis{10'000});
}

// What the service answers to one request.
std::string ask(const std::string& path, const std::string& name) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd >= 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  const timeval limit{10, 0};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
  const std::string request = R"({"domain":")" + name + "\"}\n";
  REQUIRE(::send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size()));
  std::string reply;
  char part[4096];
  while (!reply.ends_with('\n')) {
    const ssize_t size = ::recv(fd, part, sizeof(part), 0);
    if (size <= 0) break;
    reply.append(part, static_cast<std::size_t>(size));
  }
  ::close(fd);
  return reply;
}

}  // namespace

TEST_CASE("lookup service: answers from records, and from routes where there is none") {
  const test::TempDir dir;
  const std::string path = dir.file("lookup.sock");
  const auto store = open_memory();
  REQUIRE(store->put("proxy_Host_a.test",
                     {{"host", "a.test"}, {"ip", "10.0.0.1"}, {"targetPort", "80"}, {"note", "x"}},
                     {}, soon()));
  host::StatsIds ids(10);
  host::RouteTable::Builder builder(ids);
  REQUIRE(builder.add({.host = "a.test", .ip = "10.0.0.1", .target_port = 80}, "store"));
  REQUIRE(builder.add({.host = "file.test", .ip = "10.0.0.2", .target_port = 81}, "file"));
  base::Snapshot<host::RouteTable> table;
  table.publish(builder.finish());

  const auto fd = lookup::SocketServer::listen(path, "");
  REQUIRE(fd);
  const LookupService service(*fd, table, store.get(), nullptr);
  CHECK(
      ask(path, "a.test") ==
      R"({"host":"a.test","ip":"10.0.0.1","note":"x","targetPort":"80","wildcard_parent":"a.test"})"
      "\n");
  const std::string from_file = ask(path, "file.test");
  CHECK(from_file.find(R"("ip":"10.0.0.2")") != std::string::npos);
  CHECK(from_file.find(R"("targetPort":"81")") != std::string::npos);
  CHECK(ask(path, "nope.test") == "{}\n");
  CHECK(service.counters().hits.value() == 2);
  CHECK(service.counters().misses.value() == 1);
}

TEST_CASE("lookup service: a wildcard hit is written back") {
  const test::TempDir dir;
  const std::string path = dir.file("lookup.sock");
  const auto store = open_memory();
  REQUIRE(store->put("proxy_Host_*.w.test",
                     {{"host", "*.w.test"}, {"ip", "10.0.0.1"}, {"targetPort", "80"}}, {}, soon()));
  host::StatsIds ids(10);
  host::RouteTable::Builder builder(ids);
  REQUIRE(builder.add({.host = "*.w.test", .ip = "10.0.0.1", .target_port = 80}, "store"));
  base::Snapshot<host::RouteTable> table;
  table.publish(builder.finish());
  WildcardCache cache(*store, table, Seconds{3600}, 10);
  const auto fd = lookup::SocketServer::listen(path, "");
  REQUIRE(fd);
  const LookupService service(*fd, table, nullptr, &cache);
  CHECK(ask(path, "a.w.test").find(R"("wildcard_parent":"*.w.test")") != std::string::npos);
  const Deadline by = soon();
  while (!store->get("proxy_Host_a.w.test", by) && !by.passed()) {
  }
  CHECK(store->get("proxy_Host_a.w.test", by)->at("wildcard_parent") == "*.w.test");
}

TEST_CASE("lookup service: where the record is older than the table, the table tells") {
  const test::TempDir dir;
  const std::string path = dir.file("lookup.sock");
  const auto store = open_memory();
  REQUIRE(store->put("proxy_Host_a.test",
                     {{"host", "a.test"}, {"ip", "10.0.0.1"}, {"targetPort", "80"}}, {}, soon()));
  host::StatsIds ids(10);
  host::RouteTable::Builder builder(ids);
  REQUIRE(builder.add(
      {.host = "a.test", .ip = "10.0.0.1", .target_port = 81, .connect_timeout = Millis{300}},
      "store"));
  base::Snapshot<host::RouteTable> table;
  table.publish(builder.finish());
  const auto fd = lookup::SocketServer::listen(path, "");
  REQUIRE(fd);
  const LookupService service(*fd, table, store.get(), nullptr);
  const std::string reply = ask(path, "a.test");
  CHECK(reply.find(R"("targetPort":"81")") != std::string::npos);
  CHECK(reply.find(R"("connectTimeout":"300")") != std::string::npos);
}
