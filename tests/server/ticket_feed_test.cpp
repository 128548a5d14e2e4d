#include "server/ticket_feed.h"

#include "base/clock.h"
#include "base/text.h"
#include "support/away_store.h"
#include "support/eventually.h"

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using server::TicketFeed;

namespace {

constexpr std::string_view record_key = "proxycore_ticket_keys";
constexpr Millis lifetime{86'400'000};

Deadline soon() {
  return Deadline::in(Seconds{5});
}

// A ticket of the first keys can be opened with the second.
bool resumes(const TicketFeed::Keys& first, const TicketFeed::Keys& second) {
  std::array<unsigned char, 200> ticket{};
  const std::string_view session = "session";
  const auto size =
      first->seal({reinterpret_cast<const unsigned char*>(session.data()), session.size()},
                  "a.test", base::now_ms(), ticket);
  REQUIRE(size);
  return second->open(std::span(ticket).first(*size), "a.test").has_value();
}

std::size_t count(Store& store) {
  return store.get(record_key, soon())->size();
}

// A record with one key of that age, which is told by its name.
void put_key(Store& store, unsigned char name, std::int64_t age_ms) {
  const std::array<unsigned char, 16> name_bytes = {name};
  const std::array<unsigned char, 32> secret = {name};
  Record record;
  if (auto before = store.get(record_key, soon())) record = *before;
  record.insert_or_assign(base::hex(name_bytes),
                          std::to_string(base::now_ms() - age_ms) + " " + base::hex(secret));
  REQUIRE(store.put(record_key, record, {}, soon()));
}

bool has_key(Store& store, unsigned char name) {
  const std::array<unsigned char, 16> name_bytes = {name};
  return store.get(record_key, soon())->contains(base::hex(name_bytes));
}

}  // namespace

TEST_CASE("ticket keys: everybody on a store has the same") {
  const auto store = open_memory();
  TicketFeed one(*store, nullptr, lifetime);
  TicketFeed other(*store, nullptr, lifetime);
  const auto first = one.prepare();
  const auto second = other.prepare();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(count(*store) == 1);
  CHECK(resumes(*first, *second));
  CHECK(resumes(*second, *first));
}

TEST_CASE("ticket keys: a new one is made in time; those whose tickets have ended go") {
  const auto store = open_memory();
  put_key(*store, 1, 2 * lifetime.count() + 60'000);
  put_key(*store, 2, lifetime.count() / 2 + 60'000);
  TicketFeed feed(*store, nullptr, lifetime);
  REQUIRE(feed.prepare());
  CHECK(count(*store) == 2);
  CHECK_FALSE(has_key(*store, 1));
  CHECK(has_key(*store, 2));
}

TEST_CASE("ticket keys: a new one seals only once everybody knows it") {
  const auto store = open_memory();
  put_key(*store, 1, lifetime.count() / 2 - 60'000);
  TicketFeed feed(*store, nullptr, lifetime);
  const auto before = feed.prepare();  // nothing is due yet
  put_key(*store, 2, 1'000);
  TicketFeed next(*store, nullptr, lifetime);
  const auto after = next.prepare();
  CHECK(resumes(*after, *before));  // sealed with the old key
  put_key(*store, 2, 120'000);
  TicketFeed settled(*store, nullptr, lifetime);
  CHECK_FALSE(resumes(*settled.prepare(), *before));
}

TEST_CASE("ticket keys: one of a clock that was wrong does not stay for ever") {
  const auto store = open_memory();
  put_key(*store, 1, -30LL * 86'400'000);
  TicketFeed feed(*store, nullptr, lifetime);
  REQUIRE(feed.prepare());
  CHECK_FALSE(has_key(*store, 1));
  CHECK(count(*store) == 1);
}

TEST_CASE("ticket keys: what is no key is passed over") {
  const auto store = open_memory();
  REQUIRE(store->put(record_key, {{"x", "y"}, {"00", "1 00"}, {std::string(32, 'a'), "1"}}, {},
                     soon()));
  TicketFeed feed(*store, nullptr, lifetime);
  REQUIRE(feed.prepare());
  CHECK(count(*store) == 1);
}

TEST_CASE("ticket keys: others' changes are told") {
  const auto store = open_memory();
  TicketFeed feed(*store, nullptr, lifetime);
  REQUIRE(feed.prepare());
  std::atomic<int> told = 0;
  feed.start([&told](const TicketFeed::Keys& /*keys*/) { ++told; });
  put_key(*store, 9, 120'000);
  CHECK(eventually([&] { return told.load() == 1; }));
}

TEST_CASE("ticket keys: without the store its copy serves, or keys of our own") {
  AwayStore store;
  const auto copy = open_memory();
  TicketFeed feed(store, copy.get(), lifetime);
  const auto first = feed.prepare();
  REQUIRE(first);
  store.away = true;
  TicketFeed again(store, copy.get(), lifetime);
  const auto second = again.prepare();
  REQUIRE(second);
  CHECK(resumes(*first, *second));
  const auto empty = open_memory();
  TicketFeed alone(store, empty.get(), lifetime);
  const auto own = alone.prepare();
  REQUIRE(own);
  CHECK_FALSE(resumes(*first, *own));
  CHECK(resumes(*own, *own));
}
