#include "server/ticket_feed.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <algorithm>
#include <utility>

namespace proxycore::server {

namespace {

constexpr std::string_view record_key = "proxycore_ticket_keys";
constexpr Millis look_pause{60'000};  // between two looks; changes are told before
constexpr Millis retry_pause{5'000};
constexpr Millis store_limit{5'000};
constexpr Millis first_limit{2'000};  // a start does not wait for a store that hangs
// A key seals tickets once it is that old, unless there is no other: everybody has it by then.
constexpr std::int64_t settle_ms = 90'000;
// Clocks of two machines may differ by that.
constexpr std::int64_t skew_ms = 3'600'000;

std::string spelled(const tls::TicketKey& key, std::int64_t made) {
  return std::to_string(made) + ' ' + base::hex(key.secret);
}

}  // namespace

TicketFeed::~TicketFeed() {
  watch_.reset();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  stop_.request_stop();
  if (thread_.joinable()) thread_.join();
}

// The newest first. What is no key is passed over.
std::vector<TicketFeed::Kept> TicketFeed::kept_in(const Record& record) {
  std::vector<Kept> keys;
  for (const auto& [name, value] : record) {
    Kept kept;
    const std::size_t blank = value.find(' ');
    if (blank == std::string::npos) continue;
    const auto made = base::parse_decimal(std::string_view{value}.substr(0, blank), INT64_MAX);
    if (!made || !base::parse_hex(name, kept.key.name) ||
        !base::parse_hex(std::string_view{value}.substr(blank + 1), kept.key.secret)) {
      continue;
    }
    kept.made = static_cast<std::int64_t>(*made);
    keys.push_back(kept);
  }
  std::stable_sort(keys.begin(), keys.end(),
                   [](const Kept& one, const Kept& other) { return one.made > other.made; });
  return keys;
}

bool TicketFeed::is_due(const std::vector<Kept>& keys, std::int64_t now) const {
  // One of the future comes from a clock that was wrong: it would serve for ever.
  return keys.empty() || now - keys.front().made >= lifetime_.count() / 2 ||
         keys.front().made - now > skew_ms;
}

// With a new key, if one is due, and without those whose tickets have all ended.
Result<Record> TicketFeed::renewed(const Record& before, std::int64_t now) const {
  std::vector<Kept> keys = kept_in(before);
  std::erase_if(keys, [&](const Kept& kept) {
    return now - kept.made > 2 * lifetime_.count() || kept.made - now > skew_ms;
  });
  if (is_due(keys, now)) {
    PX_TRY(const tls::TicketKey key, tls::TicketKey::generate());
    keys.insert(keys.begin(), {key, now});
  }
  Record record;
  for (const Kept& kept : keys) {
    record.emplace(base::hex(kept.key.name), spelled(kept.key, kept.made));
  }
  return record;
}

// What the store has, after adding what is due.
Result<Record> TicketFeed::current(std::int64_t now, const Deadline& by) {
  auto record = store_.get(record_key, by);
  if (!record && record.error().code != Errc::not_found) return std::move(record).error();
  if (record && !is_due(kept_in(*record), now)) return record;
  Record written;
  PX_CHECK(store_.update(
      record_key,
      [&](const Record& before) -> Result<Record> {
        PX_TRY(written, renewed(before, now));
        return written;
      },
      Life::for_ever, by));
  return written;
}

// The first seals.
std::vector<tls::TicketKey> TicketFeed::in_order(const Record& record, std::int64_t now) const {
  std::vector<Kept> kept = kept_in(record);
  const auto settled = std::find_if(kept.begin(), kept.end(), [&](const Kept& one) {
    return now - one.made >= settle_ms && now - one.made <= lifetime_.count();
  });
  if (settled != kept.end()) std::rotate(kept.begin(), settled, settled + 1);
  std::vector<tls::TicketKey> keys(kept.size());
  std::transform(kept.begin(), kept.end(), keys.begin(), [](const Kept& one) { return one.key; });
  return keys;
}

// The keys, if they are others than before; else null.
Result<TicketFeed::Keys> TicketFeed::look(std::int64_t now, const Deadline& by) {
  PX_TRY(const Record record, current(now, by));
  const std::vector<tls::TicketKey> keys = in_order(record, now);
  std::vector<std::string> names(keys.size());
  std::transform(keys.begin(), keys.end(), names.begin(),
                 [](const tls::TicketKey& key) { return base::hex(key.name); });
  if (names == published_) return Keys{};
  published_ = std::move(names);
  if (copy_ != nullptr) {
    if (const auto kept = copy_->put(record_key, record, {}, by); !kept) {
      base::log::warning("tickets.copy",
                         {{"copy", copy_->describe()}, {"why", kept.error().message()}});
    }
  }
  return tls::TicketKeys::create(keys);
}

Result<TicketFeed::Keys> TicketFeed::prepare() {
  // Before the first look, so that no change falls in between.
  auto watching = store_.watch(record_key, [this](std::string_view /*key*/) {
    const std::lock_guard lock(mutex_);
    changed_ = true;
    wake_.notify_one();
  });
  if (watching) watch_ = *std::move(watching);
  const std::int64_t now = base::now_ms();
  const Deadline by = Deadline::in(first_limit);
  auto keys = look(now, by);
  if (keys) return keys;
  base::log::warning("tickets.read", {{"store", store_.describe()},
                                      {"why", keys.error().message()},
                                      {"action", "the keys last known, or new ones, go on"}});
  Record record;
  if (copy_ != nullptr) {
    if (auto kept = copy_->get(record_key, by)) record = *std::move(kept);
  }
  PX_TRY(record, renewed(record, now));
  return tls::TicketKeys::create(in_order(record, now));
}

void TicketFeed::start(Publish publish) {
  publish_ = std::move(publish);
  thread_ = std::thread([this] { run(); });
}

void TicketFeed::run() {
  std::unique_lock lock(mutex_);
  Millis pause = published_.empty() ? retry_pause : look_pause;
  while (!ending_) {
    wake_.wait_for(lock, pause, [this] { return ending_ || changed_; });
    if (ending_) return;
    changed_ = false;
    lock.unlock();
    auto keys = look(base::now_ms(), Deadline::in(store_limit, stop_.get_token()));
    if (keys && *keys != nullptr) publish_(*keys);
    pause = keys ? look_pause : retry_pause;
    lock.lock();
  }
}

}  // namespace proxycore::server
