#include "server/tiers.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using Tiers = std::vector<std::string>;

namespace {

constexpr const char* redis = "redis://127.0.0.1:6379/0";

Result<Tiers> tiers(Tiers configured, const std::string& store) {
  Config config;
  config.lookup = std::move(configured);
  return server::lookup_tiers(config, store);
}

std::string refusal(Tiers configured, const std::string& store) {
  const auto found = tiers(std::move(configured), store);
  REQUIRE_FALSE(found);
  CHECK(found.error().code == Errc::invalid);
  return found.error().detail;
}

}  // namespace

TEST_CASE("tiers: by default the table of hosts, by the store's kind") {
  CHECK(*tiers({}, "memory:") == Tiers{"trie"});
  CHECK(*tiers({}, "sqlite:x.db") == Tiers{"trie"});
  CHECK(*tiers({}, redis) == Tiers{"replica"});
}

TEST_CASE("tiers: any order that makes sense is taken") {
  CHECK(*tiers({"cache", "redis", "socket"}, redis) == Tiers{"cache", "redis", "socket"});
  CHECK(*tiers({"replica", "redis", "socket"}, redis) == Tiers{"replica", "redis", "socket"});
  CHECK(*tiers({"cache", "socket"}, "memory:") == Tiers{"cache", "socket"});
  CHECK(server::has_table({"replica", "socket"}));
  CHECK(server::has_table({"trie"}));
  CHECK_FALSE(server::has_table({"cache", "redis", "socket"}));
}

TEST_CASE("tiers: what cannot be is refused with the tier and why") {
  CHECK(refusal({"redis"}, "memory:") == "'redis' needs a store.url of redis://");
  CHECK(refusal({"replica"}, "sqlite:x.db") == "'replica' needs a store.url of redis://");
  CHECK(refusal({"socket", "socket"}, redis) ==
        "'socket' stands there twice, expected each tier once");
  CHECK(refusal({"trie", "replica"}, redis) ==
        "'trie' and 'replica' are the same table, expected one of them");
  CHECK(refusal({"redis", "cache"}, redis) ==
        "'cache' keeps answers of the tiers behind it, expected one there");
}
