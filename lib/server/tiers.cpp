#include "server/tiers.h"

#include "redis/url.h"

#include <algorithm>

namespace proxycore::server {

Result<std::vector<std::string>> lookup_tiers(const Config& config, std::string_view store) {
  const bool redis = redis::Url::has_scheme(store);
  if (config.lookup.empty()) return std::vector<std::string>{redis ? "replica" : "trie"};
  const auto refuse = [](const std::string& tier, const char* why) {
    return Error{Errc::invalid, "'" + tier + "' " + why};
  };
  const auto& tiers = config.lookup;
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    if (std::count(tiers.begin(), tiers.end(), tiers[i]) > 1) {
      return refuse(tiers[i], "stands there twice, expected each tier once");
    }
    const bool needs_redis = tiers[i] == "replica" || tiers[i] == "redis";
    if (needs_redis && !redis) return refuse(tiers[i], "needs a store.url of redis://");
    if (tiers[i] == "trie" && std::count(tiers.begin(), tiers.end(), "replica") > 0) {
      return refuse(tiers[i], "and 'replica' are the same table, expected one of them");
    }
    if (tiers[i] == "cache" && i + 1 == tiers.size()) {
      return refuse(tiers[i], "keeps answers of the tiers behind it, expected one there");
    }
  }
  return tiers;
}

bool has_table(const std::vector<std::string>& tiers) {
  return std::any_of(tiers.begin(), tiers.end(),
                     [](const auto& tier) { return tier == "trie" || tier == "replica"; });
}

}  // namespace proxycore::server
