#include "server/challenges.h"

#include "host/keys.h"
#include "support/answered.h"
#include "support/away_store.h"
#include "support/eventually.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using server::Challenges;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{5});
}

const std::string token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA";
const std::string authorization = token + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
const std::string path = "/.well-known/acme-challenge/";

Answered begin(Challenges& challenges, const std::string& target, const std::string& method = "GET",
               const std::string& host = "a.test") {
  Answered answered;
  Request request;
  request.method = method;
  request.target = target;
  request.host = host;
  challenges.handle(std::move(request), answered.responder());
  return answered;
}

Response ask(Challenges& challenges, const std::string& target, const std::string& method = "GET",
             const std::string& host = "a.test") {
  return begin(challenges, target, method, host).response();
}

std::string field_of(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.fields) {
    if (key == name) return value;
  }
  return "-";
}

}  // namespace

TEST_CASE("challenges: a token is answered with the bytes that the store has for host and token") {
  AwayStore store;
  REQUIRE(
      store.put(host::keys::challenge("a.test", token), {{"value", authorization}}, {}, soon()));
  Challenges challenges(store);
  for (const char* method : {"GET", "HEAD"}) {
    CAPTURE(method);
    const Response found = ask(challenges, path + token, method);
    CHECK(found.status == 200);
    CHECK(found.body == authorization);
    CHECK(field_of(found, "Content-Type") == "application/octet-stream");
  }
  CHECK(ask(challenges, path + token, "GET", "b.test").status == 404);
  CHECK(challenges.counters().answered.value() == 2);
  CHECK(challenges.counters().unknown.value() == 1);
  // As soon as it is there, and as long as it is.
  REQUIRE(store.put("[::1]:challenge:x", {{"value", "x.y"}}, {}, soon()));
  CHECK(ask(challenges, path + "x", "GET", "[::1]").body == "x.y");
  REQUIRE(store.erase("[::1]:challenge:x", soon()));
  CHECK(ask(challenges, path + "x", "GET", "[::1]").status == 404);
}

TEST_CASE("challenges: what is no token is unknown, and asked of nobody") {
  AwayStore store;
  store.away = true;
  Challenges challenges(store);
  for (const std::string& odd :
       {std::string(), std::string("a/b"), std::string("a?b"), std::string("a%2Fb"),
        std::string("../x"), std::string("a:b"), std::string("a."), std::string(129, 'a')}) {
    CAPTURE(odd);
    const Response response = ask(challenges, path + odd);
    CHECK(response.status == 404);
  }
  CHECK(challenges.counters().unknown.value() == 8);
  CHECK(challenges.counters().failed.value() == 0);
}

TEST_CASE("challenges: other methods are refused") {
  AwayStore store;
  Challenges challenges(store);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get"}) {
    CAPTURE(method);
    const Response response = ask(challenges, path + token, method);
    CHECK(response.status == 405);
    CHECK(field_of(response, "Allow") == "GET, HEAD");
  }
}

TEST_CASE("challenges: a store that is away is 503, and so is a record of something else") {
  AwayStore store;
  Challenges challenges(store);
  store.away = true;
  const Response away = ask(challenges, path + token);
  CHECK(away.status == 503);
  CHECK(field_of(away, "Retry-After") == "1");
  store.away = false;
  store.misused = host::keys::challenge("a.test", token);
  CHECK(ask(challenges, path + token).status == 503);
  CHECK(challenges.counters().failed.value() == 2);
}

TEST_CASE("challenges: a slow store holds up so many, and for so long") {
  AwayStore store;
  std::mutex mutex;
  std::condition_variable wake;
  bool held = true;
  std::atomic<bool> asked = false;
  store.before_get = [&](const Deadline& by) -> Result<void> {
    asked = true;
    std::unique_lock lock(mutex);
    if (by.passed() || !wake.wait_until(lock, by.at(), [&] { return !held; })) {
      return Error{Errc::timeout, "slow"};
    }
    return {};
  };
  SUBCASE("more than it may hold up are told at once") {
    Challenges challenges(store, Millis{60'000});
    std::vector<Answered> waiting;
    waiting.push_back(begin(challenges, path + token));
    REQUIRE(eventually([&] { return asked.load(); }));
    for (std::size_t i = 0; i < Challenges::most_waiting; ++i) {
      waiting.push_back(begin(challenges, path + token));
    }
    CHECK(ask(challenges, path + token).status == 503);
    {
      const std::lock_guard lock(mutex);
      held = false;
      wake.notify_all();
    }
    for (auto& one : waiting) CHECK(one.response().status == 404);
  }
  SUBCASE("those who have waited long enough are told together") {
    Challenges challenges(store, Millis{20});
    std::vector<Answered> waiting;
    for (int i = 0; i < 10; ++i) waiting.push_back(begin(challenges, path + token));
    for (auto& one : waiting) CHECK(one.response().status == 503);
  }
  SUBCASE("nobody is waited for at the end") {
    Answered left;
    {
      Challenges challenges(store, Millis{60'000});
      std::thread release([&] {
        const bool seen = eventually([&] { return asked.load(); });
        const std::lock_guard lock(mutex);
        held = !seen;
        wake.notify_all();
      });
      left = begin(challenges, path + token);
      static_cast<void>(begin(challenges, path + token));
      release.join();
    }
    CHECK(left.response().status == 404);
  }
}
