#include "auth/sessions.h"

#include "auth/secret.h"
#include "support/away_store.h"
#include "support/eventually.h"
#include "support/golden.h"

#include <set>
#include <string>

#include <doctest/doctest.h>

namespace proxycore::auth {

namespace {
Deadline soon() {
  return Deadline::in(Millis{10'000});
}

constexpr std::string_view alices = "669f57a5-47bd-4dbf-bea8-437f99f8a345";

struct Rig {
  test::AwayStore store;
  std::int64_t now = 1'800'000'000'000;
  Sessions sessions{store, Millis{3'600'000}, true, [this] { return now; }};

  Errc refusal(std::string_view token) {
    const auto session = sessions.resolve(token, soon());
    REQUIRE_FALSE(session);
    return session.error().code;
  }
};
}  // namespace

TEST_CASE("sessions: a token has the form that old clients know, and comes once") {
  Rig rig;
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto token = rig.sessions.begin("alice", soon());
    REQUIRE(token);
    REQUIRE(token->size() == 36);
    CHECK((*token)[8] == '-');
    CHECK((*token)[23] == '-');
    seen.insert(*token);
  }
  CHECK(seen.size() == 100);
}

TEST_CASE("sessions: the store never sees a token") {
  Rig rig;
  const auto token = rig.sessions.begin("alice", soon());
  REQUIRE(token);
  const auto record = rig.store.get("proxy_AuthToken_" + digest(*token), soon());
  REQUIRE(record);
  CHECK(record->at("token") == digest(*token));
  CHECK(record->at("created_by") == "alice");
  CHECK(record->at("created_on") == "1800000000000");
  CHECK(record->at("is_valid") == "true");
  const auto keys = rig.store.keys("", soon());
  CHECK(keys->size() == 1);
  for (const auto& [name, value] : *record) CHECK(value.find(*token) == std::string::npos);
}

TEST_CASE("sessions: a token leads to its user") {
  Rig rig;
  const auto token = rig.sessions.begin("alice", soon());
  for (int i = 0; i < 2; ++i) {  // from the store, from memory
    const auto session = rig.sessions.resolve(*token, soon());
    REQUIRE(session);
    CHECK(session->user == "alice");
    CHECK(session->id == digest(*token));
    CHECK(session->ends_ms == rig.now + 3'600'000);
  }
}

TEST_CASE("sessions: what is no token, or nobody's, is refused") {
  Rig rig;
  const auto token = rig.sessions.begin("alice", soon());
  CHECK(rig.refusal("") == Errc::denied);
  CHECK(rig.refusal("669f57a5-47bd-4dbf-bea8-437f99f8a345") == Errc::denied);
  CHECK(rig.refusal("669f57a5-47bd-4dbf-bea8-437f99f8a34*") == Errc::denied);
  CHECK(rig.refusal(*token + "0") == Errc::denied);
  // The key in place of what it was made of.
  CHECK(rig.refusal(digest(*token)) == Errc::denied);
}

TEST_CASE("sessions: a session ends when its time is up, in memory, too") {
  Rig rig;
  const auto token = rig.sessions.begin("alice", soon());
  REQUIRE(rig.sessions.resolve(*token, soon()));
  rig.now += 3'599'999;
  REQUIRE(rig.sessions.resolve(*token, soon()));
  rig.now += 1;
  CHECK(rig.refusal(*token) == Errc::denied);
}

TEST_CASE("sessions: the store forgets a session by itself") {
  test::AwayStore store;
  Sessions sessions(store, Millis{1'000}, true, [] { return 1'800'000'000'000; });
  const auto token = sessions.begin("alice", soon());
  REQUIRE(sessions.resolve(*token, soon()));
  CHECK(test::eventually([&] { return store.keys("", soon())->empty(); }));
}

TEST_CASE("sessions: a log-out counts at once, wherever it came from") {
  Rig rig;
  Sessions elsewhere(rig.store.here(), Millis{3'600'000}, true, [&] { return rig.now; });
  const auto token = rig.sessions.begin("alice", soon());
  REQUIRE(rig.sessions.resolve(*token, soon()));
  REQUIRE(elsewhere.resolve(*token, soon()));
  CHECK(*rig.sessions.end(*token, soon()));
  CHECK(rig.refusal(*token) == Errc::denied);
  CHECK(test::eventually([&] { return !elsewhere.resolve(*token, soon()); }));
  CHECK_FALSE(*rig.sessions.end(*token, soon()));
  CHECK_FALSE(*rig.sessions.end("no token", soon()));
}

TEST_CASE("sessions: all of a user end, but the one that is kept") {
  Rig rig;
  const auto first = rig.sessions.begin("alice", soon());
  const auto second = rig.sessions.begin("alice", soon());
  const auto bobs = rig.sessions.begin("bob", soon());
  REQUIRE(rig.sessions.resolve(*first, soon()));
  const auto kept = rig.sessions.resolve(*second, soon());
  CHECK(*rig.sessions.end_all("alice", kept->id, soon()) == 1);
  CHECK(rig.refusal(*first) == Errc::denied);
  CHECK(rig.sessions.resolve(*second, soon()));
  CHECK(*rig.sessions.end_all("alice", "", soon()) == 1);
  CHECK(rig.refusal(*second) == Errc::denied);
  CHECK(rig.sessions.resolve(*bobs, soon()));
}

TEST_CASE("sessions: those of the old software are accepted, and end") {
  Rig rig;
  test::load_golden(rig.store);
  const auto session = rig.sessions.resolve(alices, soon());
  REQUIRE(session);
  CHECK(session->user == "alice");
  CHECK(session->ends_ms == 0);
  CHECK(session->id == digest(alices));
  CHECK(*rig.sessions.end(alices, soon()));
  CHECK(rig.refusal(alices) == Errc::denied);
  CHECK(*rig.sessions.end_all("proxyadmin2", "", soon()) == 3);
}

TEST_CASE("sessions: those of the old software can be refused") {
  test::AwayStore store;
  test::load_golden(store);
  Sessions sessions(store, Millis{3'600'000}, false, [] { return 0; });
  CHECK(sessions.resolve(alices, soon()).error().code == Errc::denied);
  CHECK_FALSE(*sessions.end(alices, soon()));
}

TEST_CASE("sessions: a record that says it is not valid is honoured") {
  Rig rig;
  test::load_golden(rig.store);
  const std::string key = "proxy_AuthToken_" + std::string(alices);
  Record record = *rig.store.get(key, soon());
  record["is_valid"] = "false";
  REQUIRE(rig.store.put(key, record, {}, soon()));
  CHECK(rig.refusal(alices) == Errc::denied);
}

TEST_CASE("sessions: reads come from memory while the store is away") {
  Rig rig;
  const auto token = rig.sessions.begin("alice", soon());
  // Made after it: no late news of the token make these forget it.
  Sessions sessions(rig.store, Millis{3'600'000}, true, [&rig] { return rig.now; });
  REQUIRE(sessions.resolve(*token, soon()));
  rig.store.away = true;
  CHECK(sessions.resolve(*token, soon()));
  CHECK(sessions.resolve(alices, soon()).error().code == Errc::closed);
  rig.store.tell("proxy_AuthToken_");
  CHECK(sessions.resolve(*token, soon()).error().code == Errc::closed);
}

TEST_CASE("sessions: what is read while the record changes is not remembered") {
  Rig rig;
  const auto token = rig.sessions.begin("alice", soon());
  bool once = true;
  rig.store.before_get = [&](const Deadline&) -> Result<void> {
    // The log-out that comes in between is told before the answer is there.
    if (std::exchange(once, false)) rig.store.tell("proxy_AuthToken_" + digest(*token));
    return {};
  };
  REQUIRE(rig.sessions.resolve(*token, soon()));
  rig.store.away = true;
  CHECK(rig.refusal(*token) == Errc::closed);
}

TEST_CASE("sessions: the CSRF token is made of the token, and is not the record's key") {
  CHECK(csrf_of("a").size() == 64);
  CHECK(csrf_of("a") != csrf_of("b"));
  CHECK(csrf_of("a") != digest("a"));
}

}  // namespace proxycore::auth
