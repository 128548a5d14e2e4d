#include "server/explain.h"

#include "support/answered.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;
using proxycore::test::Answered;

namespace {

// Answers now, or when told.
struct FakeTier final : lookup::Tier {
  FakeTier(std::string called, std::optional<lookup::Answer> gives)
      : name_(std::move(called)), answer(std::move(gives)) {}
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  std::optional<lookup::Answer> find(std::string_view, lookup::Waiter& later) override {
    if (!answer) waiter.push_back(later);
    return answer;
  }
  std::string name_;
  std::optional<lookup::Answer> answer;
  base::List<lookup::Waiter> waiter;
};

lookup::Answer route_to(std::string pattern) {
  auto route = std::make_shared<Route>();
  route->pattern = std::move(pattern);
  route->targets = {{"127.0.0.1", 80}};
  return std::shared_ptr<const Route>(std::move(route));
}

struct Fixture {
  std::vector<std::unique_ptr<lookup::Tier>> tiers;
  Answered answered;
  std::unique_ptr<Explanation> explanation;

  FakeTier& add(std::string name, std::optional<lookup::Answer> answer) {
    auto tier = std::make_unique<FakeTier>(std::move(name), std::move(answer));
    FakeTier& added = *tier;
    tiers.push_back(std::move(tier));
    return added;
  }
  void begin(std::shared_ptr<const host::RouteTable> table = nullptr) {
    answered = {};
    explanation =
        std::make_unique<Explanation>("a.test", tiers, std::move(table), answered.responder());
    explanation->begin();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "explain: tells what each tier said, up to the one that decided") {
  add("cache", lookup::unknown());
  add("redis", lookup::Answer(Error{Errc::timeout, "redis: too late"}));
  FakeTier& socket = add("socket", std::nullopt);
  add("never", lookup::unknown());
  begin();
  CHECK_FALSE(answered.now());
  CHECK_FALSE(explanation->done());
  socket.waiter.pop_front().on_answer(route_to("*.test"));
  REQUIRE(answered.now());
  CHECK(explanation->done());
  CHECK(answered.now()->body ==
        R"({"host":"a.test","found":true,"answered_by":"socket","pattern":"*.test",)"
        R"("targets":["127.0.0.1:80"],"tiers":[{"tier":"cache","answer":"does not know"},)"
        R"({"tier":"redis","answer":"failed","why":"timeout: redis: too late"},)"
        R"({"tier":"socket","answer":"found","pattern":"*.test"}],"candidates":[]})"
        "\n");
}

TEST_CASE_FIXTURE(Fixture, "explain: nobody knows, or somebody knows that there is none") {
  add("redis", lookup::unknown());
  begin();
  REQUIRE(answered.now());
  CHECK(answered.now()->body.find(R"("found":false,"answered_by":null)") != std::string::npos);
  tiers.clear();
  add("replica", lookup::Answer(Error{Errc::not_found}));
  begin();
  CHECK(answered.now()->body.find(R"("answered_by":"replica")") != std::string::npos);
  CHECK(answered.now()->body.find(R"("answer":"no such host")") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "explain: the candidates of the table are told") {
  host::StatsIds ids(1);
  host::RouteTable::Builder builder(ids);
  REQUIRE(builder.add({.host = "*.test", .ip = "127.0.0.1", .target_port = 80}, "here"));
  add("trie", route_to("*.test"));
  begin(builder.finish());
  REQUIRE(answered.now());
  CHECK(answered.now()->body.find(R"("pattern":"*.test","matches":true,"wins":true)") !=
        std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "explain: may end before its tiers, and they before it") {
  FakeTier& tier = add("socket", std::nullopt);
  begin();
  explanation.reset();
  CHECK(tier.waiter.empty());
  CHECK(answered.now()->status == 500);  // a Responder that nobody used
  begin();
  tiers.clear();
  explanation.reset();
}

TEST_CASE("explain: the host asked for") {
  CHECK(asked_host("host=a.example.com") == "a.example.com");
  CHECK(asked_host("x=1&host=a%2eb&host=c") == "a.b");
  CHECK(asked_host("host=b%C3%BCcher.test") ==
        "b\xC3\xBC"
        "cher.test");
  CHECK(asked_host("host=%zz%4") == "%zz%4");
  CHECK(asked_host("hosts=a") == "");
  CHECK(asked_host("") == "");
}
