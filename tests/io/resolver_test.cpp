#include "io/resolver.h"

#include "support/fake_clock.h"
#include "support/turns.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using io::Address;
using io::Addresses;
using io::Loop;
using io::Resolver;
using test::pass;

namespace {

constexpr Millis ttl{30'000};
constexpr Millis failure_ttl{5'000};

// Queries that the test answers itself.
class Queries {
 public:
  Resolver::Query query() {
    return [this](Loop&, const std::string& name, base::UniqueFunction<void(Addresses)> done) {
      asked_.push_back(name);
      pending_.emplace_back(name, std::move(done));
    };
  }
  void answer(std::string_view name, Addresses addresses) {
    const auto at = std::find_if(pending_.begin(), pending_.end(),
                                 [&](const auto& each) { return each.first == name; });
    REQUIRE(at != pending_.end());
    auto done = std::move(at->second);
    pending_.erase(at);
    done(std::move(addresses));
  }
  void answer(std::string_view name, const char* ip) {
    answer(name, std::vector{*Address::parse(ip, 0)});
  }
  void fail(std::string_view name) { answer(name, Error{Errc::not_found, "no such name"}); }

  // Since the last call.
  std::vector<std::string> asked() { return std::exchange(asked_, {}); }
  [[nodiscard]] std::size_t pending() const { return pending_.size(); }

 private:
  std::vector<std::string> asked_;
  std::vector<std::pair<std::string, base::UniqueFunction<void(Addresses)>>> pending_;
};

struct Waiter final : Resolver::Waiter {
  void on_resolved(const Addresses& answer) override {
    ++told;
    text = answer ? answer->front().ip() : answer.error().message();
    if (then) then();
  }
  int told = 0;
  std::string text;
  std::function<void()> then;
};

using Names = std::vector<std::string>;

// The address, the error, or "later".
std::string find(Resolver& resolver, std::string_view name, Waiter& waiter) {
  const auto now = resolver.find(name, waiter);
  if (!now) return "later";
  return *now ? (**now).front().ip() : now->error().message();
}

struct Fixture {
  Loop loop;
  Queries queries;
  Resolver resolver{loop, ttl, failure_ttl, queries.query()};
  Waiter waiter;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "resolver: one query per name, whoever waits for it") {
  Waiter second;
  CHECK(find(resolver, "a.test", waiter) == "later");
  CHECK(find(resolver, "a.test", second) == "later");
  CHECK(queries.asked() == Names{"a.test"});
  queries.answer("a.test", "192.0.2.1");
  CHECK(waiter.text == "192.0.2.1");
  CHECK(second.text == "192.0.2.1");
  CHECK(waiter.told == 1);
  CHECK(second.told == 1);
}

TEST_CASE_FIXTURE(Fixture, "resolver: an answer is used for its time, then while it is refreshed") {
  find(resolver, "a.test", waiter);
  queries.answer("a.test", "192.0.2.1");
  pass(loop, ttl - Millis{1});
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
  CHECK(queries.asked().size() == 1);

  pass(loop, Millis{1});
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
  CHECK(queries.asked() == Names{"a.test"});
  queries.answer("a.test", "192.0.2.2");
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.2");
  CHECK(queries.asked().empty());
  CHECK(waiter.told == 1);
}

TEST_CASE_FIXTURE(Fixture, "resolver: too old an answer is not used") {
  find(resolver, "a.test", waiter);
  queries.answer("a.test", "192.0.2.1");
  pass(loop, 10 * ttl);
  CHECK(find(resolver, "a.test", waiter) == "later");
  queries.answer("a.test", "192.0.2.2");
  CHECK(waiter.text == "192.0.2.2");
}

TEST_CASE_FIXTURE(Fixture,
                  "resolver: a failure is told, remembered for its time, and asked again") {
  find(resolver, "dead.test", waiter);
  queries.fail("dead.test");
  CHECK(waiter.text == "not_found: no such name");
  pass(loop, failure_ttl - Millis{1});
  CHECK(find(resolver, "dead.test", waiter) == "not_found: no such name");
  CHECK(queries.asked().size() == 1);
  pass(loop, Millis{1});
  CHECK(find(resolver, "dead.test", waiter) == "later");
  queries.answer("dead.test", "192.0.2.1");
  CHECK(waiter.text == "192.0.2.1");
}

TEST_CASE_FIXTURE(Fixture,
                  "resolver: a refresh that fails leaves the old answer until it is too old") {
  find(resolver, "a.test", waiter);
  queries.answer("a.test", "192.0.2.1");
  pass(loop, ttl);
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
  queries.fail("a.test");
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
  CHECK(queries.asked() == Names{"a.test", "a.test"});  // it is not asked before the failure's time
  pass(loop, failure_ttl);
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
  CHECK(queries.asked() == Names{"a.test"});
  pass(loop, 10 * ttl);
  queries.fail("a.test");
  CHECK(find(resolver, "a.test", waiter) == "not_found: no such name");
}

TEST_CASE_FIXTURE(Fixture,
                  "resolver: few names are asked for at a time, the others in their order") {
  Waiter waiters[6];
  const char* const names[] = {"a.test", "b.test", "c.test", "d.test", "e.test", "f.test"};
  for (int i = 0; i < 6; ++i) find(resolver, names[i], waiters[i]);
  CHECK(queries.asked() == Names{"a.test", "b.test", "c.test"});
  queries.answer("b.test", "192.0.2.1");
  CHECK(queries.asked() == Names{"d.test"});
  queries.answer("a.test", "192.0.2.1");
  queries.answer("d.test", "192.0.2.1");
  CHECK(queries.asked() == Names{"e.test", "f.test"});
}

TEST_CASE_FIXTURE(Fixture, "resolver: names that hang or fail leave the others their room") {
  Waiter waiters[8];
  // One new name hangs: the others go on around it.
  find(resolver, "hangs.test", waiters[0]);
  for (int i = 0; i < 5; ++i) {
    const std::string name = "a" + std::to_string(i) + ".test";
    find(resolver, name, waiters[1]);
    queries.answer(name, "192.0.2.1");
  }
  CHECK(waiters[1].told == 5);
  queries.fail("hangs.test");

  // Once known, suspects have a lane of their own, one at a time.
  for (const char* name : {"dead1.test", "dead2.test", "dead3.test"}) {
    find(resolver, name, waiters[2]);
    queries.fail(name);
  }
  queries.asked();
  pass(loop, failure_ttl);
  find(resolver, "dead1.test", waiters[2]);
  find(resolver, "dead2.test", waiters[3]);
  find(resolver, "dead3.test", waiters[4]);
  CHECK(queries.asked() == Names{"dead1.test"});
  find(resolver, "x.test", waiters[5]);
  find(resolver, "y.test", waiters[6]);
  find(resolver, "z.test", waiters[7]);
  CHECK(queries.asked() == Names{"x.test", "y.test", "z.test"});
  queries.fail("dead1.test");
  CHECK(queries.asked() == Names{"dead2.test"});
}

TEST_CASE_FIXTURE(Fixture,
                  "resolver: a slow name is suspect, and trusted again once it was quick") {
  const auto lane_is_shared_with = [&](const char* name) {
    Waiter other[2];
    find(resolver, "dead.test", other[0]);
    queries.asked();
    find(resolver, name, other[1]);
    const bool waits = queries.asked().empty();
    queries.fail("dead.test");
    queries.answer(name, "192.0.2.1");
    return waits;
  };
  find(resolver, "dead.test", waiter);
  queries.fail("dead.test");
  find(resolver, "slow.test", waiter);
  pass(loop, Millis{Resolver::slow});
  queries.answer("slow.test", "192.0.2.1");
  pass(loop, 10 * ttl);
  CHECK(lane_is_shared_with("slow.test"));
  pass(loop, 10 * ttl);
  CHECK_FALSE(lane_is_shared_with("slow.test"));
}

TEST_CASE_FIXTURE(Fixture, "resolver: a waiter that died is not told, the answer is kept") {
  {
    Waiter gone;
    find(resolver, "a.test", gone);
  }
  find(resolver, "a.test", waiter);
  queries.answer("a.test", "192.0.2.1");
  CHECK(waiter.told == 1);
  CHECK(find(resolver, "a.test", waiter) == "192.0.2.1");
}

TEST_CASE_FIXTURE(Fixture, "resolver: names that nobody waits for any more are not asked for") {
  Waiter waiters[3];
  for (int i = 0; i < 3; ++i) find(resolver, "busy" + std::to_string(i) + ".test", waiters[i]);
  auto gone = std::make_unique<Waiter>();
  find(resolver, "left.test", *gone);
  find(resolver, "wanted.test", waiter);
  gone.reset();
  queries.asked();
  queries.answer("busy0.test", "192.0.2.1");
  CHECK(queries.asked() == Names{"wanted.test"});
  // It is asked for when somebody comes back.
  queries.answer("busy1.test", "192.0.2.1");
  find(resolver, "left.test", waiters[0]);
  CHECK(queries.asked() == Names{"left.test"});
}

TEST_CASE_FIXTURE(Fixture, "resolver: who is told may look up further names") {
  Waiter next;
  std::string same;
  waiter.then = [&] {
    same = find(resolver, "a.test", next);
    find(resolver, "b.test", next);
  };
  find(resolver, "a.test", waiter);
  queries.answer("a.test", "192.0.2.1");
  CHECK(same == "192.0.2.1");
  queries.answer("b.test", "192.0.2.2");
  CHECK(next.text == "192.0.2.2");
}

TEST_CASE("resolver: may be destroyed with queries on the way, and by whom it tells") {
  Loop loop;
  Queries queries;
  auto resolver = std::make_unique<Resolver>(loop, ttl, failure_ttl, queries.query());
  Waiter waiter;
  Waiter never;
  waiter.then = [&] { resolver.reset(); };
  find(*resolver, "a.test", waiter);
  find(*resolver, "b.test", never);
  queries.answer("a.test", "192.0.2.1");
  CHECK(resolver == nullptr);
  queries.answer("b.test", "192.0.2.1");
  CHECK(never.told == 0);
}

TEST_CASE_FIXTURE(Fixture, "resolver: remembers so many names; the least recently used one goes") {
  const auto name = [](std::size_t number) { return "n" + std::to_string(number) + ".test"; };
  for (std::size_t i = 0; i < Resolver::max_names; ++i) {
    find(resolver, name(i), waiter);
    queries.answer(name(i), "192.0.2.1");
  }
  CHECK(find(resolver, name(0), waiter) == "192.0.2.1");  // now the most recently used
  queries.asked();
  find(resolver, "one.more.test", waiter);
  queries.answer("one.more.test", "192.0.2.1");
  CHECK(find(resolver, name(0), waiter) == "192.0.2.1");
  CHECK(find(resolver, name(2), waiter) == "192.0.2.1");
  CHECK(queries.asked() == Names{"one.more.test"});
  CHECK(find(resolver, name(1), waiter) == "later");
}

TEST_CASE_FIXTURE(Fixture,
                  "resolver: when all it may remember are being looked up, the next is refused") {
  std::vector<Waiter> waiters(Resolver::max_names);
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    find(resolver, "n" + std::to_string(i) + ".test", waiters[i]);
  }
  CHECK(find(resolver, "more.test", waiter) ==
        "busy: resolve 'more.test': too many names are being looked up");
  queries.answer("n0.test", "192.0.2.1");
  CHECK(find(resolver, "more.test", waiter) == "later");
}

TEST_CASE("resolver: the system knows localhost, and says what it does not know") {
  Loop loop;
  Resolver resolver(loop, ttl, failure_ttl);
  Waiter waiter;
  CHECK(find(resolver, "localhost", waiter) == "later");
  test::run_until(loop, [&] { return waiter.told == 1; });
  CHECK((waiter.text == "127.0.0.1" || waiter.text == "::1"));
  const std::string impossible(300, 'x');
  Waiter other;
  CHECK(find(resolver, impossible, other) == "later");
  test::run_until(loop, [&] { return other.told == 1; });
  CHECK(other.text.find("resolve '" + impossible + "': ") != std::string::npos);
}

TEST_CASE("resolver: a query of the system does not hold up the end of its loop") {
  for (int i = 0; i < 20; ++i) {
    Loop loop;
    Resolver resolver(loop, ttl, failure_ttl);
    Waiter waiter;
    CHECK(find(resolver, "localhost", waiter) == "later");
  }
}
