#include "server/wishes.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"

#include <utility>

namespace proxycore::server {

namespace {

namespace keys = host::keys;
namespace log = base::log;

constexpr Seconds wish_life{60};
constexpr Millis store_limit{2'000};

std::int64_t number_in(const Record& record, std::string_view field) {
  const auto at = record.find(field);
  if (at == record.end()) return 0;
  return static_cast<std::int64_t>(base::parse_decimal(at->second, INT64_MAX).value_or(0));
}

// The record, or an empty one where there is none.
Result<Record> read(Store& store, std::string_view key, const Deadline& by) {
  auto record = store.get(key, by);
  if (!record && record.error().code == Errc::not_found) return Record();
  return record;
}

}  // namespace

Wishes::Wishes(Store& store, const Config::Acme& limits, HostOf host_of, Clock clock)
    : store_(store),
      most_pending_(limits.pending),
      most_of_pattern_(limits.names_per_pattern),
      host_of_(std::move(host_of)),
      clock_(clock ? std::move(clock) : Clock(base::now_ms)) {}

bool Wishes::wanted(const std::string& name) {
  if (name.find('.') == std::string::npos || base::is_address(name)) return false;
  const Deadline by = Deadline::in(store_limit, stop_.get_token());
  const auto wish = [&]() -> Result<bool> {
    auto pattern = host_of_(name, by);
    if (!pattern) {
      if (pattern.error().code == Errc::not_found) return false;
      return std::move(pattern).error();
    }
    PX_TRY(const bool may_be, allowed(name, *pattern, by));
    if (!may_be) {
      done(name);
      return false;
    }
    if (!take_place(name, *pattern)) return false;
    const Record record = {{"name", name}, {"since", std::to_string(clock_())}};
    auto made = store_.create(keys::wish(name), record, wish_life, by);
    if (made || made.error().code == Errc::conflict) return true;  // somebody wishes already
    done(name);
    return std::move(made).error();
  };
  const auto made = wish();
  if (made) return *made;
  static log::Throttle throttle;
  log::write(throttle, LogLevel::warning, "certificate.wish",
             {{"name", name}, {"why", made.error().message()}});
  return false;
}

// Whether the host wants certificates at all, and it is not too early to try again.
Result<bool> Wishes::allowed(const std::string& name, const std::string& pattern,
                             const Deadline& by) {
  PX_TRY(const Record story, read(store_, keys::story(name), by));
  // A certificate that is valid and not there was lost, and is missed.
  const auto state = story.find("state");
  const bool rests = state != story.end() && state->second != "valid" && state->second != "working";
  if (rests && number_in(story, "next_ms") > clock_()) return false;
  // A host of the configuration file has no record: the runner knows it.
  PX_TRY(const Record host, read(store_, keys::host(pattern), by));
  const auto type = host.find("challengeType");
  return type == host.end() || (type->second != "none" && type->second != "wildcardChild");
}

bool Wishes::take_place(const std::string& name, const std::string& pattern) {
  const std::int64_t now = clock_();
  const std::lock_guard lock(mutex_);
  const std::int64_t until = now + Millis{wish_life}.count();
  if (const auto at = pending_.find(name); at != pending_.end()) {
    at->second = until;
    return true;
  }
  std::erase_if(pending_, [now](const auto& one) { return one.second <= now; });
  if (pending_.size() >= most_pending_) return false;
  if (pattern != name) {
    if (const std::int64_t hour = now / 3'600'000; std::exchange(hour_, hour) != hour) {
      of_pattern_.clear();
    }
    std::set<std::string>& names = of_pattern_[pattern];
    if (names.size() >= most_of_pattern_ && !names.contains(name)) return false;
    names.insert(name);
  }
  pending_.emplace(name, until);
  return true;
}

bool Wishes::pending(std::string_view name) {
  const std::lock_guard lock(mutex_);
  return pending_.find(name) != pending_.end();
}

void Wishes::done(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto at = pending_.find(name); at != pending_.end()) pending_.erase(at);
}

}  // namespace proxycore::server
