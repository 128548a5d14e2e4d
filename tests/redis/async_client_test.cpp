#include "redis/async_client.h"

#include "support/redis_server.h"
#include "support/turns.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using redis::AsyncClient;
using redis::Reply;
using test::RedisServer;
using test::run_until;

namespace {

struct Asked final : AsyncClient::Call {
  void on_result(Result<Reply> given) override { result = std::move(given); }
  std::optional<Result<Reply>> result;
};

io::Conversation::Limits quick() {
  io::Conversation::Limits limits;
  limits.back_off = Millis{20};
  limits.back_off_most = Millis{100};
  return limits;
}

struct Rig {
  explicit Rig(std::vector<std::string> options = {}, std::string user = {})
      : server(std::move(options)),
        client(loop,
               *redis::Url::parse("redis://" + user + "127.0.0.1:" + std::to_string(server.port())),
               quick()) {}

  // Waits for the reply.
  Result<Reply> ask(std::vector<std::string_view> command) {
    Asked asked;
    PX_CHECK(client.ask(command, asked));
    run_until(loop, [&] { return asked.result.has_value(); });
    return *std::move(asked.result);
  }
  void until_healthy() {
    run_until(loop, [&] { return client.healthy(); });
  }

  RedisServer server;
  io::Loop loop;
  AsyncClient client;
};

}  // namespace

TEST_CASE("async client: commands are answered, on TCP and on a Unix socket") {
  Rig rig;
  REQUIRE(rig.ask({"SET", "a", "1"}));
  const auto got = rig.ask({"GET", "a"});
  REQUIRE(got);
  CHECK(got->text == "1");
  CHECK(rig.client.server() == rig.server.url() + "/0");

  AsyncClient local(rig.loop, *redis::Url::parse(rig.server.unix_url() + "?db=1"), quick());
  Asked asked;
  const std::string_view command[] = {"GET", "a"};
  REQUIRE(local.ask(command, asked));
  run_until(rig.loop, [&] { return asked.result.has_value(); });
  REQUIRE(*asked.result);
  CHECK((*asked.result)->is(Reply::Type::nil));  // it is another database
}

TEST_CASE("async client: many commands at a time get their own replies") {
  Rig rig;
  std::vector<std::unique_ptr<Asked>> calls;
  for (int i = 0; i < 2'000; ++i) {
    const std::string text = std::to_string(i);
    const std::string_view command[] = {"ECHO", text};
    calls.push_back(std::make_unique<Asked>());
    REQUIRE(rig.client.ask(command, *calls.back()));
  }
  run_until(rig.loop, [&] { return calls.back()->result.has_value(); });
  int right = 0;
  for (int i = 0; i < 2'000; ++i) {
    const auto& result = calls[static_cast<std::size_t>(i)]->result;
    right += *result && (*result)->text == std::to_string(i) ? 1 : 0;
  }
  CHECK(right == 2'000);
}

TEST_CASE("async client: an error reply is a reply") {
  Rig rig;
  const auto reply = rig.ask({"NONSENSE"});
  REQUIRE(reply);
  CHECK(reply->is(Reply::Type::error));
}

TEST_CASE("async client: it logs in; a wrong password is told without it") {
  Rig right({"--requirepass", "sesame"}, ":sesame@");
  CHECK(right.ask({"PING"}));
  Rig wrong({"--requirepass", "sesame"}, ":tomato@");
  const auto failed = wrong.ask({"PING"});
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Errc::closed);
  CHECK(failed.error().detail ==
        wrong.server.url() + "/0: AUTH: wrong user or password, or the user is disabled");
}

TEST_CASE("async client: a server that is killed is found again when it is back") {
  Rig rig;
  REQUIRE(rig.ask({"PING"}));
  rig.server.kill();
  std::optional<Error> why;
  run_until(rig.loop, [&] {
    Asked asked;
    const std::string_view command[] = {"PING"};
    const auto sent = rig.client.ask(command, asked);
    if (!sent) why = sent.error();
    return why.has_value();
  });
  CHECK(why->code == Errc::closed);
  CHECK(why->detail == rig.server.url() + "/0: connect: connection refused");
  rig.server.start();
  rig.until_healthy();
  CHECK(rig.ask({"PING"}));
}

TEST_CASE("async client: a server that hangs costs one time-out, and is used when it goes on") {
  Rig rig;
  REQUIRE(rig.ask({"PING"}));
  rig.server.hang();
  const std::int64_t began = rig.loop.now();
  const auto late = rig.ask({"PING"});
  CHECK(rig.loop.now() - began >= 250);
  CHECK(rig.loop.now() - began < 1'000);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Errc::timeout);
  const auto refused = rig.ask({"PING"});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::busy);
  CHECK(refused.error().detail == rig.server.url() + "/0: it has stopped answering");
  rig.server.go_on();
  rig.until_healthy();
  CHECK(rig.ask({"PING"}));
}

TEST_CASE(
    "async client: a value that is too large fails its command, and the others are answered") {
  Rig rig;
  REQUIRE(rig.ask({"SET", "small", "1"}));
  REQUIRE(rig.ask({"SETRANGE", "huge", "99999999", "x"}));
  Asked before;
  Asked huge;
  Asked after;
  const std::string_view get_small[] = {"GET", "small"};
  const std::string_view get_huge[] = {"GET", "huge"};
  REQUIRE(rig.client.ask(get_small, before));
  REQUIRE(rig.client.ask(get_huge, huge));
  REQUIRE(rig.client.ask(get_small, after));
  run_until(rig.loop, [&] { return huge.result && after.result; });
  CHECK((*before.result)->text == "1");
  REQUIRE_FALSE(*huge.result);
  CHECK(huge.result->error().code == Errc::limit);
  CHECK(huge.result->error().detail.starts_with(rig.server.url() + "/0: "));
  REQUIRE(*after.result);
  CHECK((*after.result)->text == "1");
  // None of it was kept.
  CHECK(rig.loop.slabs().allocated() < std::size_t{4} << 20);
}
