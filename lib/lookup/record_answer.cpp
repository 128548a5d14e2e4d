#include "lookup/record_answer.h"

#include "host/host_record.h"

#include <memory>
#include <utility>

namespace proxycore::lookup {

namespace {
constexpr std::size_t most_told = 1'000;
constexpr std::int64_t told_for = 60'000;  // milliseconds
}  // namespace

Answer answer_of(std::string_view host, Record record, host::StatsIds& ids) {
  if (record.find("ip") == record.end()) return unknown();
  record.try_emplace("host", host);
  PX_TRY(const Host held, host::host_from(record));
  PX_TRY(Route route, host::route_of(held));
  if (held.is_cache && !held.wildcard_parent.empty()) route.pattern = held.wildcard_parent;
  route.stats_id = ids.id_of(route.pattern);
  return std::make_shared<const Route>(std::move(route));
}

bool Complaints::admit(std::string_view key, std::int64_t now) {
  if (told_.size() >= most_told) {
    std::erase_if(told_, [now](const auto& one) { return now - one.second >= told_for; });
    if (told_.size() >= most_told) return false;
  }
  const auto [at, is_new] = told_.try_emplace(std::string(key), now);
  if (is_new) return true;
  if (now - at->second < told_for) return false;
  at->second = now;
  return true;
}

}  // namespace proxycore::lookup
