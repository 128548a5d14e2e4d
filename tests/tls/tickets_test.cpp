#include "tls/tickets.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using tls::TicketKey;
using tls::TicketKeys;

namespace {

using Bytes = std::vector<unsigned char>;

std::shared_ptr<const TicketKeys> keys_of(const std::vector<TicketKey>& keys) {
  return TicketKeys::create(keys).value();
}

Bytes sealed(const TicketKeys& keys, const Bytes& session, std::string_view name,
             std::int64_t now) {
  Bytes out(session.size() + TicketKeys::overhead);
  const auto size = keys.seal(session, name, now, out);
  REQUIRE(size.has_value());
  CHECK(*size == out.size());
  return out;
}

}  // namespace

TEST_CASE("tickets: what was sealed opens, with the time of its making") {
  const auto keys = keys_of({TicketKey::generate().value()});
  for (const std::size_t size : {0U, 1U, 200U, 5000U}) {
    const Bytes session(size, 7);
    Bytes ticket = sealed(*keys, session, "a.test", 1'700'000'000'123);
    const auto opened = keys->open(ticket, "a.test");
    REQUIRE(opened.has_value());
    CHECK(Bytes(opened->session.begin(), opened->session.end()) == session);
    CHECK(opened->made == 1'700'000'000'123);
  }
}

TEST_CASE("tickets: the newest key seals, all of them open, a dropped one no more") {
  const TicketKey old = TicketKey::generate().value();
  const TicketKey fresh = TicketKey::generate().value();
  const Bytes session(10, 1);
  const Bytes before = sealed(*keys_of({old}), session, "", 0);
  const auto both = keys_of({fresh, old});
  const Bytes after = sealed(*both, session, "", 0);
  CHECK(std::equal(fresh.name.begin(), fresh.name.end(), after.begin()));
  for (Bytes ticket : {before, after}) CHECK(both->open(ticket, "").has_value());
  Bytes one = before;
  CHECK_FALSE(keys_of({fresh})->open(one, "").has_value());
  one = after;
  CHECK(keys_of({fresh})->open(one, "").has_value());
  CHECK_FALSE(keys_of({})->open(one, "").has_value());
  CHECK_FALSE(keys_of({})->seal(session, "", 0, one).has_value());
}

TEST_CASE("tickets: for another name, changed or cut they do not open") {
  const auto keys = keys_of({TicketKey::generate().value()});
  const Bytes good = sealed(*keys, Bytes(40, 3), "a.test", 5);
  Bytes ticket = good;
  CHECK_FALSE(keys->open(ticket, "b.test").has_value());
  for (std::size_t i = 0; i < good.size(); ++i) {
    ticket = good;
    ticket[i] ^= 1;
    CHECK_FALSE(keys->open(ticket, "a.test").has_value());
    ticket.assign(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK_FALSE(keys->open(ticket, "a.test").has_value());
  }
  ticket = good;
  CHECK(keys->open(ticket, "a.test").has_value());
}

TEST_CASE("tickets: no two are the same, and nothing of the session shows") {
  const auto keys = keys_of({TicketKey::generate().value()});
  const Bytes session(64, 'S');
  const Bytes one = sealed(*keys, session, "", 5);
  const Bytes two = sealed(*keys, session, "", 5);
  CHECK(one != two);
  CHECK(std::string(one.begin(), one.end()).find("SSSS") == std::string::npos);
}

TEST_CASE("tickets: without room there is none") {
  const auto keys = keys_of({TicketKey::generate().value()});
  Bytes out(TicketKeys::overhead + 9);
  CHECK_FALSE(keys->seal(Bytes(10, 1), "", 0, out).has_value());
  CHECK_FALSE(keys->seal(Bytes(0), "", 0, std::span(out).first(10)).has_value());
}

TEST_CASE("tickets: more keys than are of use are left out") {
  std::vector<TicketKey> keys;
  for (std::size_t i = 0; i <= TicketKeys::max_keys; ++i) {
    keys.push_back(TicketKey::generate().value());
  }
  Bytes last = sealed(*keys_of({keys.back()}), Bytes(1, 1), "", 0);
  CHECK_FALSE(keys_of(keys)->open(last, "").has_value());
}
