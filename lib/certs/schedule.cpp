#include "certs/schedule.h"

namespace proxycore::certs {

void Schedule::set(std::string_view name, std::int64_t at_ms) {
  erase(name);
  times_.emplace(name, at_ms);
  order_.emplace(at_ms, name);
}

void Schedule::erase(std::string_view name) {
  const auto at = times_.find(name);
  if (at == times_.end()) return;
  order_.erase({at->second, at->first});
  times_.erase(at);
}

std::optional<std::string> Schedule::take(std::int64_t now_ms) {
  if (order_.empty() || order_.begin()->first > now_ms) return std::nullopt;
  std::string name = order_.begin()->second;
  erase(name);
  return name;
}

std::optional<std::int64_t> Schedule::next_ms() const {
  if (order_.empty()) return std::nullopt;
  return order_.begin()->first;
}

}  // namespace proxycore::certs
