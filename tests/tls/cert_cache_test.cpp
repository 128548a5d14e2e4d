#include "tls/cert_cache.h"

#include "support/turns.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using tls::CertAnswer;
using tls::CertCache;
using tls::Credentials;

namespace {

using Shared = std::shared_ptr<const Credentials>;

Shared some() {
  return std::make_shared<const Credentials>();
}

struct Waiter final : tls::CredentialsWaiter {
  virtual ~Waiter() = default;
  void on_credentials(Shared got) override {
    found = std::move(got);
    ++told;
  }
  Shared found;
  int told = 0;
};

// A cache whose questions the test answers.
struct Rig {
  explicit Rig(CertCache::Limits limits = {100, Millis{60'000}})
      : cache(
            loop, limits,
            [this](const std::string& name, CertCache::Answered answered) {
              asked.push_back(name);
              open.insert_or_assign(name, std::move(answered));
            },
            fallback, counters) {}

  void answer(const std::string& name, Shared credentials, Millis ttl = Millis{60'000}) {
    open.at(name)(CertAnswer{std::move(credentials), ttl});
    run_turns(loop);
  }

  io::Loop loop;
  Shared fallback = std::make_shared<const Credentials>(Credentials{nullptr, nullptr, true});
  tls::CertCacheCounters counters;
  std::vector<std::string> asked;
  std::map<std::string, CertCache::Answered> open;
  CertCache cache;
};

}  // namespace

TEST_CASE("cert cache: a name is asked for once, however many wait, and then known") {
  Rig rig;
  Waiter one;
  Waiter two;
  CHECK(rig.cache.find("a.test", one) == nullptr);
  CHECK(rig.cache.find("a.test", two) == nullptr);
  CHECK(rig.asked == std::vector<std::string>{"a.test"});
  const Shared certificate = some();
  rig.answer("a.test", certificate);
  CHECK(one.found == certificate);
  CHECK(two.found == certificate);
  CHECK(rig.cache.find("a.test", one) == certificate);
  CHECK(rig.asked.size() == 1);
}

TEST_CASE("cert cache: who names nobody gets the fallback at once") {
  Rig rig;
  Waiter waiter;
  CHECK(rig.cache.find("", waiter) == rig.fallback);
  CHECK(rig.asked.empty());
}

TEST_CASE("cert cache: another fallback is that of whoever comes next") {
  Rig rig;
  Waiter waiter;
  CHECK(rig.cache.find("a.test", waiter) == nullptr);
  const Shared other = std::make_shared<const Credentials>(Credentials{nullptr, nullptr, true});
  rig.cache.set_fallback(other);
  rig.answer("a.test", nullptr);
  CHECK(waiter.found == other);
  CHECK(rig.cache.find("", waiter) == other);
}

TEST_CASE("cert cache: who went away is not told") {
  Rig rig;
  {
    Waiter gone;
    CHECK(rig.cache.find("a.test", gone) == nullptr);
  }
  const Shared certificate = some();
  rig.answer("a.test", certificate);
  Waiter next;
  CHECK(rig.cache.find("a.test", next) == certificate);
}

TEST_CASE("cert cache: a handshake waits so long, then gets what the name had, or the fallback") {
  Rig rig({100, Millis{5}});
  Waiter waiter;
  CHECK(rig.cache.find("a.test", waiter) == nullptr);
  run_until(rig.loop, [&] { return waiter.told == 1; });
  CHECK(waiter.found == rig.fallback);
  CHECK(rig.counters.timeouts.value() == 1);
  // The answer is still awaited, by whoever comes next too.
  Waiter next;
  CHECK(rig.cache.find("a.test", next) == nullptr);
  CHECK(rig.asked.size() == 1);
  const Shared certificate = some();
  rig.answer("a.test", certificate, Millis{0});
  CHECK(next.found == certificate);
  Waiter later;
  CHECK(rig.cache.find("a.test", later) == nullptr);  // its time was over at once
  run_until(rig.loop, [&] { return later.told == 1; });
  CHECK(later.found == certificate);
}

TEST_CASE("cert cache: what could not be found out leaves what was known") {
  Rig rig;
  Waiter waiter;
  CHECK(rig.cache.find("a.test", waiter) == nullptr);
  const Shared certificate = some();
  rig.answer("a.test", certificate);
  rig.cache.forget({});
  CHECK(rig.cache.find("a.test", waiter) == nullptr);
  rig.answer("a.test", nullptr);
  CHECK(waiter.told == 2);
  CHECK(waiter.found == certificate);
  CHECK(rig.counters.failures.value() == 1);
  CHECK(rig.cache.find("b.test", waiter) == nullptr);
  rig.answer("b.test", nullptr);
  CHECK(waiter.found == rig.fallback);
  CHECK(rig.cache.find("b.test", waiter) == rig.fallback);  // for as long as was said
}

TEST_CASE("cert cache: what has changed is asked for anew, and older answers do not count") {
  Rig rig;
  Waiter waiter;
  CHECK(rig.cache.find("a.test", waiter) == nullptr);
  CertCache::Answered old = std::move(rig.open.at("a.test"));
  const std::vector<std::string> changed = {"a.test"};
  rig.cache.forget(changed);
  CHECK(rig.asked.size() == 2);
  old(CertAnswer{some(), Millis{60'000}});
  run_turns(rig.loop);
  CHECK(waiter.told == 0);
  const Shared next = some();
  rig.answer("a.test", next);
  CHECK(waiter.found == next);

  rig.cache.forget(std::vector<std::string>{"other.test"});
  CHECK(rig.cache.find("a.test", waiter) == next);
}

TEST_CASE("cert cache: a wildcard's change is that of the names it may serve") {
  CHECK(tls::may_serve("a.test", "a.test"));
  CHECK_FALSE(tls::may_serve("a.test", "b.a.test"));
  CHECK(tls::may_serve("*.a.test", "b.a.test"));
  CHECK(tls::may_serve("*.a.test", "a.test"));
  CHECK_FALSE(tls::may_serve("*.a.test", "c.b.a.test"));
  CHECK_FALSE(tls::may_serve("*.a.test", "test"));
  CHECK_FALSE(tls::may_serve("*.", "test"));
}

TEST_CASE("cert cache: it holds so many names; those used longest ago go") {
  Rig rig({3, Millis{60'000}});
  Waiter waiter;
  for (const char* name : {"a.test", "b.test", "c.test"}) {
    CHECK(rig.cache.find(name, waiter) == nullptr);
    rig.answer(name, some());
  }
  CHECK(rig.cache.find("a.test", waiter) != nullptr);
  CHECK(rig.cache.find("d.test", waiter) == nullptr);
  rig.answer("d.test", some());
  CHECK(rig.cache.size() == 3);
  CHECK(rig.cache.find("a.test", waiter) != nullptr);
  CHECK(rig.cache.find("b.test", waiter) == nullptr);
}

TEST_CASE("cert cache: so many are asked for at a time; more get what there is") {
  Rig rig({CertCache::max_flights * 2, Millis{60'000}});
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (std::size_t i = 0; i < CertCache::max_flights; ++i) {
    waiters.push_back(std::make_unique<Waiter>());
    CHECK(rig.cache.find("n" + std::to_string(i) + ".test", *waiters.back()) == nullptr);
  }
  Waiter more;
  CHECK(rig.cache.find("more.test", more) == rig.fallback);
  rig.answer("n0.test", some());
  CHECK(rig.cache.find("more.test", more) == nullptr);
}

TEST_CASE("cert cache: an answer may come when the loop is gone") {
  CertCache::Answered late;
  {
    Rig rig;
    Waiter waiter;
    CHECK(rig.cache.find("a.test", waiter) == nullptr);
    late = std::move(rig.open.at("a.test"));
  }
  late(CertAnswer{some(), Millis{1}});
}
