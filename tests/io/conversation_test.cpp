#include "io/conversation.h"

#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/turns.h"
#include "support/unix_sockets.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <doctest/doctest.h>

using namespace proxycore;
using io::Conversation;
using io::Loop;
using test::Answer;
using test::Door;
using test::Fd;
using test::run_turns;
using test::run_until;

namespace {

// Every line is a reply; "too much" is one that cannot be taken.
struct Lines final : Conversation::Language {
  std::size_t greet(base::Chain& out) override {
    if (!greeting.empty()) out.append(greeting + "\n");
    return greeting.empty() ? 0 : 1;
  }
  Result<void> greeted(std::size_t /*part*/) override {
    if (present == "welcome") return {};
    return Error{Errc::denied, "it says '" + present + "'"};
  }
  void feed(std::string_view bytes) override { unread += bytes; }
  Result<bool> next() override {
    const std::size_t end = unread.find('\n');
    if (end == std::string::npos) return false;
    present = unread.substr(0, end);
    unread.erase(0, end + 1);
    if (present == "too much") return Error{Errc::limit, "too much"};
    return true;
  }
  void clear() override { unread.clear(); }

  std::string greeting;
  std::string unread;
  std::string present;
};

struct Asked final : Conversation::Call {
  explicit Asked(Lines& from) : lines(from) {}
  void on_reply() override { reply = lines.present; }
  void on_failure(const Error& why) override { error = why; }
  [[nodiscard]] bool done() const { return reply || error; }

  Lines& lines;
  std::optional<std::string> reply;
  std::optional<Error> error;
};

Conversation::Limits quick() {
  return {.timeout = Millis{60},  // for tests that wait for it
          .connect = Millis{300},
          .patience = Millis{300},
          .back_off = Millis{20},
          .back_off_most = Millis{60}};
}

Conversation::Limits patient() {
  Conversation::Limits limits = quick();
  limits.timeout = Millis{8'000};
  limits.connect = Millis{8'000};
  return limits;
}

// A server that the test plays, and who talks to it.
struct Rig {
  explicit Rig(Conversation::Limits limits = patient(), std::string greeting = {}) {
    lines.greeting = std::move(greeting);
    door.fd.set_blocking(false);
    talk.emplace(loop,
                 Conversation::Server{
                     .name = "the server", .host = "127.0.0.1", .port = door.address.port()},
                 lines, limits);
  }
  Fd accept() {
    Fd fd;
    run_until(loop, [&] {
      if (fd.get() < 0) fd = door.accept();
      return fd.get() >= 0;
    });
    fd.set_blocking(false);
    return fd;
  }
  std::string receive(const Fd& from, std::size_t size) {
    std::string text;
    run_until(loop, [&] {
      text += from.receive_now();
      return text.size() >= size;
    });
    return text;
  }
  void until_healthy() {
    run_until(loop, [&] { return talk->healthy(); });
  }

  Loop loop;
  Lines lines;
  Door door;
  std::optional<Conversation> talk;
};

}  // namespace

TEST_CASE("conversation: requests are sent ahead of the replies, which come in order") {
  Rig rig;
  const Fd server = rig.accept();
  Asked one(rig.lines);
  Asked two(rig.lines);
  REQUIRE(rig.talk->ask("one\n", one));
  REQUIRE(rig.talk->ask("two\n", two));
  CHECK(rig.receive(server, 8) == "one\ntwo\n");
  server.send("1\n2");
  run_until(rig.loop, [&] { return one.done(); });
  CHECK(*one.reply == "1");
  CHECK_FALSE(two.done());
  server.send("\n");
  run_until(rig.loop, [&] { return two.done(); });
  CHECK(*two.reply == "2");
}

TEST_CASE("conversation: what is asked before the connection is there waits for it") {
  Rig rig(patient(), "hello");
  Asked early(rig.lines);
  REQUIRE(rig.talk->ask("early\n", early));
  const Fd server = rig.accept();
  CHECK(rig.receive(server, 6) == "hello\n");
  run_turns(rig.loop);
  CHECK(server.receive_now().empty());
  server.send("welcome\n");
  CHECK(rig.receive(server, 6) == "early\n");
  server.send("yes\n");
  run_until(rig.loop, [&] { return early.done(); });
  CHECK(*early.reply == "yes");
}

TEST_CASE("conversation: who goes away is not told, and the others get their own replies") {
  Rig rig;
  const Fd server = rig.accept();
  std::optional<Asked> gone(std::in_place, rig.lines);
  Asked stays(rig.lines);
  REQUIRE(rig.talk->ask("gone\n", *gone));
  REQUIRE(rig.talk->ask("stays\n", stays));
  rig.receive(server, 11);
  gone.reset();
  server.send("1\n2\n");
  run_until(rig.loop, [&] { return stays.done(); });
  CHECK(*stays.reply == "2");
}

TEST_CASE("conversation: with one at a time the next is sent after the reply") {
  Conversation::Limits limits = patient();
  limits.unanswered = 1;
  Rig rig(limits);
  const Fd server = rig.accept();
  Asked one(rig.lines);
  Asked two(rig.lines);
  REQUIRE(rig.talk->ask("one\n", one));
  REQUIRE(rig.talk->ask("two\n", two));
  CHECK(rig.receive(server, 4) == "one\n");
  run_turns(rig.loop);
  CHECK(server.receive_now().empty());
  server.send("1\n");
  CHECK(rig.receive(server, 4) == "two\n");
  server.send("2\n");
  run_until(rig.loop, [&] { return two.done(); });
  CHECK(*two.reply == "2");
}

TEST_CASE("conversation: more than the limit are not kept") {
  Conversation::Limits limits = quick();
  limits.most = 2;
  Rig rig(limits);
  Asked calls[] = {Asked(rig.lines), Asked(rig.lines), Asked(rig.lines)};
  REQUIRE(rig.talk->ask("1\n", calls[0]));
  REQUIRE(rig.talk->ask("2\n", calls[1]));
  const auto third = rig.talk->ask("3\n", calls[2]);
  REQUIRE_FALSE(third);
  CHECK(third.error().code == Errc::busy);
  CHECK(third.error().detail == "the server: too many requests wait for it");
}

TEST_CASE("conversation: a server that hangs costs its time-out once, and a late reply heals it") {
  Rig rig(quick());
  const Fd server = rig.accept();
  Asked first(rig.lines);
  REQUIRE(rig.talk->ask("first\n", first));
  const std::int64_t began = rig.loop.now();
  run_until(rig.loop, [&] { return first.done(); });
  CHECK(first.error->code == Errc::timeout);
  CHECK(first.error->detail == "the server: no answer in 60 ms");
  CHECK(rig.loop.now() - began < 60 + 200);
  CHECK_FALSE(rig.talk->healthy());
  Asked refused(rig.lines);
  const auto asked = rig.talk->ask("refused\n", refused);
  REQUIRE_FALSE(asked);
  CHECK(asked.error().code == Errc::busy);

  server.send("late\n");
  rig.until_healthy();
  CHECK(*first.reply == "late");  // who stays is told as well
  Asked again(rig.lines);
  REQUIRE(rig.talk->ask("again\n", again));
  rig.receive(server, 6 + 6);
  server.send("here\n");
  run_until(rig.loop, [&] { return again.done(); });
  CHECK(*again.reply == "here");
}

TEST_CASE("conversation: a reply that came while we were held up is in time") {
  Rig rig(quick());
  const Fd server = rig.accept();
  rig.until_healthy();
  Asked one(rig.lines);
  REQUIRE(rig.talk->ask("one\n", one));
  CHECK(rig.receive(server, 4) == "one\n");
  run_turns(rig.loop);
  server.send("1\n");
  // Nobody looks until the time is up, as when the machine stood still.
  std::this_thread::sleep_for(2 * quick().timeout);
  run_until(rig.loop, [&] { return one.done(); });
  CHECK_FALSE(one.error);
  REQUIRE(one.reply);
  CHECK(*one.reply == "1");
}

TEST_CASE("conversation: a connection without an answer for too long is given up for another") {
  Rig rig(quick(), "hello");
  const Fd dead = rig.accept();
  dead.send("welcome\n");
  Asked first(rig.lines);
  REQUIRE(rig.talk->ask("first\n", first));
  run_until(rig.loop, [&] { return first.done(); });
  const Fd server = rig.accept();
  CHECK(rig.receive(server, 6) == "hello\n");
  CHECK_FALSE(rig.talk->healthy());
  server.send("welcome\n");
  rig.until_healthy();
}

TEST_CASE("conversation: what was not answered when the connection broke is asked once more") {
  Rig rig;
  Fd server = rig.accept();
  Asked first(rig.lines);
  Asked second(rig.lines);
  REQUIRE(rig.talk->ask("first\n", first));
  REQUIRE(rig.talk->ask("second\n", second));
  rig.receive(server, 13);
  server.send("1\n");
  server.close();
  server = rig.accept();
  CHECK(*first.reply == "1");
  CHECK(rig.receive(server, 7) == "second\n");
  SUBCASE("and answered then") {
    server.send("2\n");
    run_until(rig.loop, [&] { return second.done(); });
    CHECK(*second.reply == "2");
  }
  SUBCASE("but not a third time") {
    server.close();
    run_until(rig.loop, [&] { return second.done(); });
    CHECK(second.error->code == Errc::closed);
    CHECK(second.error->detail == "the server: it has closed the connection");
  }
}

TEST_CASE("conversation: a reply that cannot be taken fails its own request alone") {
  Rig rig;
  const Fd server = rig.accept();
  Asked calls[] = {Asked(rig.lines), Asked(rig.lines), Asked(rig.lines)};
  REQUIRE(rig.talk->ask("a\n", calls[0]));
  REQUIRE(rig.talk->ask("b\n", calls[1]));
  REQUIRE(rig.talk->ask("c\n", calls[2]));
  rig.receive(server, 6);
  server.send("1\ntoo much\n3\n");
  const Fd other = rig.accept();
  CHECK(*calls[0].reply == "1");
  CHECK(calls[1].error->code == Errc::limit);
  CHECK(calls[1].error->detail == "the server: too much");
  CHECK(rig.receive(other, 2) == "c\n");
  other.send("3\n");
  run_until(rig.loop, [&] { return calls[2].done(); });
  CHECK(*calls[2].reply == "3");
}

TEST_CASE("conversation: a reply to nothing ends the connection") {
  Rig rig;
  const Fd server = rig.accept();
  rig.until_healthy();
  server.send("surprise\n");
  run_until(rig.loop, [&] { return server.ended(); });
  rig.accept();
}

TEST_CASE("conversation: while the server cannot be reached nobody waits, and it is found again") {
  std::optional<Rig> rig(std::in_place);
  Fd server = rig->accept();
  rig->until_healthy();
  const auto port = rig->door.address.port();
  rig->door.fd.close();
  server.close();
  Asked call(rig->lines);
  std::optional<Error> why;
  run_until(rig->loop, [&] {
    call.unlink();
    const auto asked = rig->talk->ask("?\n", call);
    if (!asked) why = asked.error();
    return why && why->detail.find("refused") != std::string::npos;
  });
  CHECK(why->code == Errc::closed);
  CHECK(why->detail == "the server: connect: connection refused");

  const Fd back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(back.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto address = *io::Address::parse("127.0.0.1", port);
  REQUIRE(::bind(back.get(), address.data(), address.size()) == 0);
  REQUIRE(::listen(back.get(), 8) == 0);
  rig->until_healthy();
}

TEST_CASE("conversation: a server that does not want us is left alone for a while") {
  Rig rig(patient(), "hello");
  const Fd server = rig.accept();
  rig.receive(server, 6);
  Asked call(rig.lines);
  REQUIRE(rig.talk->ask("?\n", call));
  server.send("go away\n");
  run_until(rig.loop, [&] { return call.done(); });
  CHECK(call.error->code == Errc::closed);
  CHECK(call.error->detail == "the server: it says 'go away'");
  Asked next(rig.lines);
  const auto refused = rig.talk->ask("?\n", next);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().detail == call.error->detail);
  rig.accept();
}

TEST_CASE("conversation: a Unix socket is as good") {
  const test::TempDir directory;
  const std::string path = directory.file("socket");
  const Fd listening = test::listen_unix(path);
  Loop loop;
  Lines lines;
  Conversation talk(loop, {.name = "unix:it", .path = path}, lines, patient());
  Asked call(lines);
  REQUIRE(talk.ask("?\n", call));
  Fd server;
  run_until(loop, [&] {
    if (server.get() < 0) server = Fd(::accept(listening.get(), nullptr, nullptr));
    return server.get() >= 0;
  });
  server.set_blocking(false);
  run_until(loop, [&, seen = std::string()]() mutable {
    seen += server.receive_now();
    return seen == "?\n";
  });
  server.send("!\n");
  run_until(loop, [&] { return call.done(); });
  CHECK(*call.reply == "!");

  Conversation nowhere(loop, {.name = "unix:none", .path = directory.file("none")}, lines, quick());
  Asked lost(lines);
  if (const auto asked = nowhere.ask("?\n", lost)) {
    run_until(loop, [&] { return lost.done(); });
    CHECK(lost.error->code == Errc::closed);
  }
  Conversation impossible(loop, {.name = "unix:long", .path = std::string(200, 'x')}, lines,
                          quick());
  const auto never = impossible.ask("?\n", lost);
  REQUIRE_FALSE(never);
  CHECK(never.error().detail == "unix:long: connect: the path of the socket is too long");
}

TEST_CASE("conversation: a server's name is resolved, and every address of it is tried") {
  auto [alive, dead] = Door::twins(Answer::accepts, Answer::refuses);
  alive.fd.set_blocking(false);
  const auto query = [](Loop& loop, const std::string& name,
                        base::UniqueFunction<void(io::Addresses)> done) {
    CHECK(name == "redis.internal");
    loop.post([done = std::move(done)]() mutable {
      done(std::vector{*io::Address::parse("127.0.0.2", 0), *io::Address::parse("127.0.0.1", 0)});
    });
  };
  Loop loop;
  Lines lines;
  Conversation talk(loop, {.name = "it", .host = "redis.internal", .port = alive.address.port()},
                    lines, patient(), query);
  Asked call(lines);
  REQUIRE(talk.ask("?\n", call));
  Fd server;
  run_until(loop, [&, &door = alive] {
    if (server.get() < 0) server = door.accept();
    return server.get() >= 0;
  });
  run_until(loop, [&] { return talk.healthy(); });
}
