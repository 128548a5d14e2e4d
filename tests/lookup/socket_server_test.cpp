#include "lookup/socket_server.h"

#include "support/temp_dir.h"
#include "support/turns.h"
#include "support/unix_sockets.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace proxycore;
using lookup::Listing;
using lookup::SocketServer;
using test::Fd;
using test::run_turns;
using test::run_until;

namespace {

// Finds names as they are, and what ends with ".w.test" by "*.w.test".
struct Hosts final : lookup::Directory {
  Result<Listing> find(std::string_view name) override {
    asked.emplace_back(name);
    if (away) return Error{Errc::busy, "no hosts are known yet"};
    if (const auto at = records.find(name); at != records.end())
      return Listing{at->first, at->second};
    const auto wild = records.find(std::string_view("*.w.test"));
    if (name.ends_with(".w.test") && wild != records.end())
      return Listing{wild->first, wild->second};
    return Error{Errc::not_found};
  }
  void on_wildcard_hit(std::string_view name, const Listing& listing) override {
    hits.push_back(std::string(name) + " by " + listing.pattern);
  }

  std::map<std::string, Record, std::less<>> records = {
      {"a.test", {{"host", "a.test"}, {"ip", "10.0.0.5"}}},
      {"*.w.test", {{"host", "*.w.test"}, {"ip", "10.0.0.6"}, {"is_wildcard", "true"}}},
  };
  std::vector<std::string> asked;
  std::vector<std::string> hits;
  bool away = false;
};

const std::string a_record =
    "{\"host\":\"a.test\",\"ip\":\"10.0.0.5\",\"wildcard_parent\":\"a.test\"}\n";

struct Rig {
  explicit Rig(const SocketServer::Limits& limits = {}) : path(directory.file("socket")) {
    const auto fd = SocketServer::listen(path, "");
    REQUIRE(fd);
    server.emplace(loop, *fd, hosts, limits, counters);
  }
  Fd client() {
    Fd fd = test::connect_unix(path);
    fd.set_blocking(false);
    return fd;
  }
  // The next `size` bytes, or fewer if there is an end before.
  std::string receive(const Fd& from, std::size_t size) {
    std::string text;
    run_until(loop, [&] {
      text += from.receive_now();
      return text.size() >= size || from.ended();
    });
    return text;
  }
  std::string line(const Fd& from) {
    std::string text;
    run_until(loop, [&] {
      char byte = 0;
      while (!text.ends_with('\n') && ::recv(from.get(), &byte, 1, MSG_DONTWAIT) == 1) text += byte;
      return text.ends_with('\n') || from.ended();
    });
    return text;
  }
  std::string ask(std::string_view request) {
    const Fd fd = client();
    fd.send(request);
    return line(fd);
  }
  bool gone(const Fd& fd) {
    run_until(loop, [&] {
      while (!fd.receive_now().empty()) {
      }
      return fd.ended();
    });
    return true;
  }

  test::TempDir directory;
  const std::string path;
  Hosts hosts;
  io::Loop loop;
  lookup::ServiceCounters counters;
  std::optional<SocketServer> server;
};

std::string asks(std::string_view name) {
  return "{\"domain\":\"" + std::string(name) + "\"}";
}

}  // namespace

TEST_CASE("lookup service: one request without a line end is answered, several times") {
  Rig rig;
  const Fd fd = rig.client();
  for (int i = 0; i < 3; ++i) {
    fd.send(asks("a.test"));
    CHECK(rig.line(fd) == a_record);
  }
  fd.send(asks("none.test"));
  CHECK(rig.line(fd) == "{}\n");
  CHECK(rig.counters.hits.value() == 3);
  CHECK(rig.counters.misses.value() == 1);
  CHECK(rig.counters.connections.value() == 1);
}

TEST_CASE("lookup service: several requests at once are answered in order") {
  Rig rig;
  const Fd fd = rig.client();
  fd.send(asks("a.test") + asks("x") + "\n" + asks("A.TEST.") + "\r\nnull{}5\n" + asks("a.test"));
  const std::string expected = a_record + "{}\n" + a_record + "{}\n{}\n" + a_record;
  CHECK(rig.receive(fd, expected.size()) == expected);
}

TEST_CASE("lookup service: a request may come byte by byte, a character in two") {
  Rig rig;
  rig.hosts.records["xn--bcher-kva.test"] = {{"host", "xn--bcher-kva.test"}, {"ip", "10.0.0.7"}};
  const Fd fd = rig.client();
  for (const char byte : asks("b\xc3\xbc"
                              "cher.test")) {
    run_turns(rig.loop);
    CHECK(fd.receive_now().empty());
    fd.send({&byte, 1});
  }
  CHECK(rig.line(fd).starts_with("{\"host\":\"xn--bcher-kva.test\""));
}

TEST_CASE("lookup service: after a half close what was asked is still answered, then it ends") {
  Rig rig;
  const Fd fd = rig.client();
  fd.send(asks("a.test") + asks("a.test") + "5");
  fd.shut_write();
  CHECK(rig.receive(fd, SIZE_MAX) == a_record + a_record + "{}\n");
  run_until(rig.loop, [&] { return rig.counters.connections.value() == 0; });
}

TEST_CASE("lookup service: a name under a wildcard gets the wildcard's record, and is reported") {
  Rig rig;
  const std::string record =
      "{\"host\":\"*.w.test\",\"ip\":\"10.0.0.6\",\"is_wildcard\":\"true\","
      "\"wildcard_parent\":\"*.w.test\"}\n";
  CHECK(rig.ask(asks("foo.w.test")) == record);
  CHECK(rig.hosts.hits == std::vector<std::string>{"foo.w.test by *.w.test"});
  // Asked for as such it is found as it is, and no hit of a wildcard.
  CHECK(rig.ask(asks("*.W.test")) == record);
  CHECK(rig.hosts.hits.size() == 1);
}

TEST_CASE("lookup service: a record keeps its own parent") {
  Rig rig;
  rig.hosts.records["a.test"]["wildcard_parent"] = "*.test";
  CHECK(rig.ask(asks("a.test")) ==
        "{\"host\":\"a.test\",\"ip\":\"10.0.0.5\",\"wildcard_parent\":\"*.test\"}\n");
}

TEST_CASE("lookup service: a wildcard may be for names with a host of their own only") {
  Rig rig;
  Record& wildcard = rig.hosts.records["*.w.test"];
  const auto found = [&] { return rig.ask(asks("foo.w.test")) != "{}\n"; };
  wildcard["wildcard_matchAny"] = "false";
  CHECK_FALSE(found());
  CHECK(rig.hosts.hits.empty());
  CHECK(rig.ask(asks("*.w.test")) != "{}\n");
  wildcard["wildcard_matchAny"] = "true";
  CHECK(found());
  wildcard["wildcard_matchAny"] = "false";
  wildcard["is_wildcard"] = "false";
  CHECK(found());
}

TEST_CASE("lookup service: what can be no host is not even looked for") {
  Rig rig;
  for (const char* name : {"", "a b", "..", "a..test", "x/../y", "constructor", "__proto__"}) {
    CAPTURE(name);
    CHECK(rig.ask(asks(name)) == "{}\n");
  }
  CHECK(rig.hosts.asked == std::vector<std::string>{"constructor", "__proto__"});
  CHECK(rig.ask(asks(std::string(60'000, 'x'))) == "{}\n");
}

TEST_CASE("lookup service: a directory that cannot tell now says so, and is no miss") {
  Rig rig;
  rig.hosts.away = true;
  CHECK(rig.ask(asks("a.test")) == "{\"error\":\"busy: no hosts are known yet\"}\n");
  CHECK(rig.counters.failures.value() == 1);
  CHECK(rig.counters.misses.value() == 0);
}

TEST_CASE("lookup service: garbage is told to be some, and ends the connection") {
  Rig rig;
  for (const char* bytes : {"GET / HTTP/1.1\r\n\r\n", "{]", "\x16\x03\x01", "{\"domain\":}"}) {
    CAPTURE(bytes);
    const Fd fd = rig.client();
    fd.send(asks("a.test") + bytes + asks("a.test"));
    CHECK(rig.line(fd) == a_record);
    CHECK(rig.line(fd).starts_with("{\"error\":\"invalid: "));
    CHECK(rig.gone(fd));
  }
  CHECK(rig.counters.refused.value() == 4);
  run_until(rig.loop, [&] { return rig.counters.connections.value() == 0; });
}

TEST_CASE("lookup service: a request that is too long ends the connection") {
  Rig rig;
  const Fd fd = rig.client();
  fd.send("{\"domain\":\"");
  const std::string part(8'192, 'x');
  for (int i = 0; i < 8; ++i) fd.send(part);
  CHECK(rig.line(fd) == "{\"error\":\"limit: over 65536 bytes\"}\n");
  CHECK(rig.gone(fd));
}

TEST_CASE("lookup service: who takes no answers is not read from, and given up in the end") {
  SocketServer::Limits limits;
  bool takes_them = false;
  SUBCASE("given up") {
    limits.write = Millis{100};
  }
  SUBCASE("but if it takes them, however late, it gets them all") {
    takes_them = true;
  }
  Rig rig(limits);
  rig.hosts.records["a.test"]["note"] = std::string(100'000, 'x');
  const Fd fd = rig.client();
  std::string many;
  for (int i = 0; i < 300; ++i) many += asks("a.test");
  const ssize_t sent = ::send(fd.get(), many.data(), many.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  REQUIRE(sent > 0);
  many.resize(static_cast<std::size_t>(sent));
  run_turns(rig.loop, 20);
  // What waits is bounded: far from all was answered.
  const auto answered = rig.counters.hits.value();
  CHECK(answered >= 1);
  CHECK(answered < 20);
  const Fd other = rig.client();
  other.send(asks("none.test"));
  CHECK(rig.line(other) == "{}\n");
  if (!takes_them) {
    run_until(rig.loop, [&] { return rig.counters.connections.value() == 1; });
    CHECK(rig.counters.hits.value() == answered);
  } else {
    const std::size_t requests = many.size() / asks("a.test").size();
    std::size_t lines = 0;
    run_until(rig.loop, [&] {
      for (std::string text = fd.receive_now(); !text.empty(); text = fd.receive_now()) {
        lines += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
      }
      return lines >= requests;
    });
    CHECK(rig.counters.hits.value() == requests);
  }
}

TEST_CASE("lookup service: a request must come to its end in time, in however small pieces") {
  SocketServer::Limits limits;
  limits.request = Millis{100};
  Rig rig(limits);
  const Fd slow = rig.client();
  const Fd idle = rig.client();
  slow.send("{");
  const std::int64_t began = rig.loop.now();
  run_until(rig.loop, [&] {
    if (slow.ended()) return true;
    const char blank = ' ';
    (void)::send(slow.get(), &blank, 1, MSG_NOSIGNAL);
    return false;
  });
  CHECK(rig.loop.now() - began < 1'000);
  CHECK_FALSE(idle.ended());
}

TEST_CASE("lookup service: who asks nothing for long is sent away") {
  SocketServer::Limits limits;
  limits.idle = Millis{100};
  Rig rig(limits);
  const Fd fd = rig.client();
  fd.send(asks("a.test"));
  CHECK(rig.line(fd) == a_record);
  CHECK(rig.gone(fd));
}

TEST_CASE("lookup service: connections are bounded; the busy ones stay") {
  SocketServer::Limits limits;
  limits.connections = 2;
  Rig rig(limits);
  const Fd one = rig.client();
  const Fd two = rig.client();
  run_until(rig.loop, [&] { return rig.counters.connections.value() == 2; });
  const Fd refused = rig.client();
  CHECK(rig.gone(refused));
  CHECK(rig.counters.refused.value() == 1);
  one.send(asks("a.test"));
  CHECK(rig.line(one) == a_record);
  // After a second without a request it makes room for others.
  const std::int64_t until = rig.loop.now() + 1'100;
  run_until(rig.loop, [&] { return rig.loop.now() >= until; });
  one.send(asks("a.test"));
  CHECK(rig.line(one) == a_record);
  const Fd three = rig.client();
  three.send(asks("a.test"));
  CHECK(rig.line(three) == a_record);
  CHECK(rig.gone(two));
  CHECK_FALSE(one.ended());
}

TEST_CASE("lookup service: clients that vanish leave nothing behind") {
  Rig rig;
  for (int i = 0; i < 50; ++i) {
    Fd fd = rig.client();
    fd.send(i % 2 == 0 ? asks("a.test") : "{\"dom");
    if (i % 3 == 0) run_turns(rig.loop);
    fd.close();
  }
  run_until(rig.loop, [&] {
    return rig.counters.accepted.value() == 50 && rig.counters.connections.value() == 0;
  });
}

TEST_CASE("lookup service: it ends with clients connected") {
  Rig rig;
  const Fd fd = rig.client();
  run_until(rig.loop, [&] { return rig.counters.connections.value() == 1; });
  rig.server.reset();
  run_turns(rig.loop);
  CHECK(fd.ended());
  CHECK(rig.counters.connections.value() == 0);
}

TEST_CASE("lookup service: the socket is for its user and group") {
  const test::TempDir directory;
  const std::string path = directory.file("socket");
  const struct group* own = ::getgrgid(::getegid());
  REQUIRE(own != nullptr);
  for (const std::string& group : {std::string(), std::string(own->gr_name)}) {
    const auto fd = SocketServer::listen(path, group);
    REQUIRE(fd);
    const Fd listening(*fd);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0660);
    CHECK(status.st_gid == ::getegid());
  }
  const auto nobody = SocketServer::listen(path, "no-such-group");
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code == Errc::invalid);
  CHECK(nobody.error().detail == "listen on unix:" + path + ": no group 'no-such-group'");
}
