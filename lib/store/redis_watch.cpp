#include "store/redis_watch.h"

#include "base/log.h"
#include "base/pause.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace proxycore::store {

namespace {

constexpr std::string_view invalidations = "__redis__:invalidate";
constexpr Millis begin_patience{5'000};

// Whether a call failed because the server said no, not because it is gone.
template <class T>
bool refused(const Result<T>& result, const redis::SyncClient& client) {
  return !result && client.connected() && result.error().code != Errc::busy;
}

std::string keyspace_channel(const redis::Url& url, std::string_view key) {
  return fmt::format("__keyspace@{}__:{}", url.db, key);
}

// Of `notify-keyspace-events`: deletions and expiry of time (g), texts ($) and hashes (h).
bool tells_enough(std::string_view flags) {
  const auto has = [flags](char c) { return flags.find(c) != std::string_view::npos; };
  return has('K') && (has('A') || (has('g') && has('$') && has('h')));
}

// How often which command that empties a database was called, of `INFO commandstats`.
std::string flushes_in(std::string_view info) {
  std::string found;
  while (!info.empty()) {
    const std::string_view line = info.substr(0, info.find('\n'));
    info.remove_prefix(std::min(info.size(), line.size() + 1));
    for (const std::string_view name : {"flushall", "flushdb", "swapdb"}) {
      const std::string begin = fmt::format("cmdstat_{}:", name);
      if (line.starts_with(begin)) found += line.substr(0, line.find(','));
    }
  }
  return found;
}

}  // namespace

std::string_view RedisWatch::events_of(Mode mode) {
  switch (mode) {
    case Mode::tracking:
      return "tracking";
    case Mode::keyspace:
      return "keyspace";
    case Mode::channel:
      return "channel";
    case Mode::poll:
      return "poll";
  }
  return "";
}

RedisWatch::~RedisWatch() {
  end_.request_stop();
  {
    const std::lock_guard lock(mutex_);
    wake_.request_stop();
  }
  if (thread_.joinable()) thread_.join();
}

void RedisWatch::cover() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++asked_;
  if (!thread_.joinable()) {
    health_ = Store::Health{.reachable = false};
    thread_ = std::thread([this] { run(); });
  }
  wake_.request_stop();
  answered_some_.wait_for(lock, begin_patience + ping_patience, [&] { return answered_ >= mine; });
}

std::optional<Store::Health> RedisWatch::health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

bool RedisWatch::hears_us() const {
  const std::lock_guard lock(mutex_);
  return health_ && health_->reachable && health_->events != events_of(Mode::poll);
}

void RedisWatch::run() {
  while (!end_.stop_requested()) {
    const Error why = serve();
    events_.reset();
    asker_.reset();
    if (!end_.stop_requested()) rest(why);
  }
}

// Those who ask meanwhile are told at once that it cannot be.
void RedisWatch::rest(const Error& why) {
  missed_ = true;
  if (const auto before = health(); !before || before->reachable || before->why.empty()) {
    base::log::warning("store.watch", {{"store", url_.describe()}, {"why", why.message()}});
  }
  set_health({.reachable = false, .why = why.message()});
  const auto due = Clock::now() + std::max(backoff_.left(), redis::Backoff::first);
  while (!end_.stop_requested() && Clock::now() < due) {
    answer(heed());
    static_cast<void>(base::pause(Millis::max(), until(due)));
  }
}

Error RedisWatch::serve() {
  Result<void> goes_on = begin();
  while (goes_on) goes_on = turn();
  return std::move(goes_on).error();
}

Result<void> RedisWatch::begin() {
  const std::uint64_t asked = heed();
  events_ = std::make_unique<redis::SyncClient>(url_, backoff_);
  asker_ = std::make_unique<redis::SyncClient>(url_, backoff_);
  covered_.clear();
  pinged_.reset();
  flushes_.reset();
  PX_CHECK(events_->connect(in(begin_patience)));
  PX_CHECK(asker_->connect(in(begin_patience)));
  mode_ = Mode::tracking;
  PX_TRY(bool agreed, begin_tracking());
  if (!agreed) {
    mode_ = Mode::keyspace;
    PX_TRY(agreed, begin_keyspace());
  }
  if (!agreed) {
    mode_ = Mode::channel;
    PX_TRY(agreed, subscribe("SUBSCRIBE", channel));
  }
  if (!agreed) mode_ = Mode::poll;
  if (std::exchange(missed_, false)) watchers_.all_changed();
  next_ping_ = Clock::now();
  next_poll_ = next_ping_ + poll_;
  set_health({.reachable = true, .events = std::string{events_of(mode_)}});
  base::log::info("store.watch",
                  {{"store", url_.describe()}, {"events", std::string{events_of(mode_)}}});
  answer(asked);
  return {};
}

Result<bool> RedisWatch::begin_tracking() {
  const auto id = events_->call({"CLIENT", "ID"}, in(begin_patience));
  if (refused(id, *events_)) return false;
  if (!id) return id.error();
  events_id_ = std::to_string(id->integer);
  PX_TRY(const bool subscribed, subscribe("SUBSCRIBE", invalidations));
  if (!subscribed) return false;
  return track();
}

// What is tracked cannot be changed without a gap: another connection takes over.
Result<bool> RedisWatch::track() {
  std::vector<std::string> prefixes = watchers_.prefixes();
  auto next = std::make_unique<redis::SyncClient>(url_, backoff_);
  PX_CHECK(next->connect(in(begin_patience)));
  std::vector<std::string_view> command = {"CLIENT",   "TRACKING", "ON",
                                           "REDIRECT", events_id_, "BCAST"};
  for (const std::string& prefix : prefixes) {
    if (prefix.empty()) continue;  // everything, which is what no prefix means
    command.insert(command.end(), {"PREFIX", prefix});
  }
  const auto tracked = next->call(command, in(begin_patience));
  if (refused(tracked, *next)) return false;
  if (!tracked) return tracked.error();
  asker_ = std::move(next);
  covered_ = std::move(prefixes);
  return true;
}

Result<bool> RedisWatch::begin_keyspace() {
  const auto flags = asker_->call({"CONFIG", "GET", "notify-keyspace-events"}, in(begin_patience));
  if (refused(flags, *asker_)) return false;
  if (!flags) return flags.error();
  if (flags->items.size() != 2 || !tells_enough(flags->items[1].text)) return false;
  const auto counted = look_for_flush();
  if (refused(counted, *asker_)) return false;
  if (!counted) return counted.error();
  PX_TRY(const bool subscribed, subscribe("SUBSCRIBE", channel));
  if (!subscribed) return false;
  const auto followed = follow_prefixes();
  if (refused(followed, *events_)) return false;
  if (!followed) return followed.error();
  return true;
}

Result<bool> RedisWatch::subscribe(std::string_view command, std::string_view what) {
  events_->send({command, what});
  for (const Deadline by = in(begin_patience);;) {
    PX_TRY(const auto message, events_->wait(by));
    if (!message) return Error{Errc::timeout, fmt::format("{}: no answer in time", command)};
    if (message->is(Reply::Type::error)) return false;
    const auto& items = message->items;
    if (items.size() == 3 && items[0].text.ends_with("subscribe") && items[1].text == what) {
      return true;
    }
    PX_CHECK(take(*message));
  }
}

Result<void> RedisWatch::follow_prefixes() {
  std::vector<std::string> prefixes = watchers_.prefixes();
  if (prefixes == covered_) return {};
  if (mode_ == Mode::tracking) {
    PX_TRY(const bool tracked, track());
    if (!tracked) return Error{Errc::protocol, "CLIENT TRACKING: refused"};
  }
  if (mode_ == Mode::keyspace) {
    for (const std::string& prefix : prefixes) {
      const std::string pattern = keyspace_channel(url_, redis::glob_escaped(prefix)) + "*";
      PX_TRY(const bool subscribed, subscribe("PSUBSCRIBE", pattern));
      if (!subscribed) return Error{Errc::denied, "PSUBSCRIBE: refused"};
    }
    covered_ = std::move(prefixes);
  }
  return {};
}

Result<void> RedisWatch::turn() {
  const std::uint64_t asked = heed();
  if (end_.stop_requested()) return Error{Errc::cancelled};
  if (asked != answered_) {
    PX_CHECK(follow_prefixes());
    answer(asked);
  }

  const auto now = Clock::now();
  if (pinged_ && now - *pinged_ >= ping_patience) {
    return Error{Errc::timeout, fmt::format("{}: PING: no answer in {} ms", url_.describe(),
                                            ping_patience.count())};
  }
  if (!pinged_ && now >= next_ping_) {
    events_->send({"PING"});
    pinged_ = now;
    next_ping_ = now + ping_interval;
  }
  auto due = pinged_ ? *pinged_ + ping_patience : next_ping_;
  if (mode_ == Mode::channel || mode_ == Mode::poll) {
    if (now >= next_poll_) {
      watchers_.all_changed();
      next_poll_ = now + poll_;
    }
    due = std::min(due, next_poll_);
  }
  auto message = events_->wait(until(due));
  if (message && *message) return take(**message);
  if (message || message.error().code == Errc::cancelled) return {};
  return std::move(message).error();
}

Result<void> RedisWatch::take(const Reply& message) {
  if (message.is(Reply::Type::error)) {
    return redis::error_of("SUBSCRIBE", {}, message).within(url_.describe());
  }
  if (message.text == "PONG") return ponged();  // where nothing is subscribed to
  const auto& items = message.items;
  const std::string_view kind = items.empty() ? std::string_view{} : items.front().text;
  if (kind == "pong") return ponged();
  if (kind == "pmessage" && items.size() == 4) {
    const std::size_t prefix = keyspace_channel(url_, {}).size();
    if (items[2].text.size() > prefix) watchers_.changed(items[2].text.substr(prefix));
  }
  if (kind != "message" || items.size() != 3) return {};
  if (items[1].text == channel) watchers_.changed(items[2].text);
  if (items[1].text != invalidations) return {};
  if (items[2].is(Reply::Type::nil)) watchers_.all_changed();  // FLUSHALL, FLUSHDB
  for (const Reply& key : items[2].items) watchers_.changed(key.text);
  return {};
}

// The other connection is asked too: with it the tracking would end.
Result<void> RedisWatch::ponged() {
  if (!pinged_) return {};
  const auto lag = std::chrono::ceil<Millis>(Clock::now() - *std::exchange(pinged_, std::nullopt));
  if (mode_ == Mode::keyspace) {
    PX_CHECK(look_for_flush());
  } else {
    asker_->send({"PING"});
    PX_CHECK(asker_->receive(in(ping_patience)));
  }
  set_health({.reachable = true, .events = std::string{events_of(mode_)}, .lag = lag});
  return {};
}

// Keyspace events do not tell of a flush.
Result<void> RedisWatch::look_for_flush() {
  PX_TRY(const Reply reply, asker_->call({"INFO", "commandstats"}, in(ping_patience)));
  std::string now = flushes_in(reply.text);
  if (flushes_ && *flushes_ != now) watchers_.all_changed();
  flushes_ = std::move(now);
  return {};
}

// What was asked so far; the thread's next wait is ended by what is asked from now on.
std::uint64_t RedisWatch::heed() {
  const std::lock_guard lock(mutex_);
  if (wake_.stop_requested() && !end_.stop_requested()) wake_ = std::stop_source{};
  return asked_;
}

void RedisWatch::answer(std::uint64_t asked) {
  const std::lock_guard lock(mutex_);
  answered_ = asked;
  answered_some_.notify_all();
}

void RedisWatch::set_health(Store::Health health) {
  const std::lock_guard lock(mutex_);
  health_ = std::move(health);
}

Deadline RedisWatch::until(Clock::time_point at) const {
  const std::lock_guard lock(mutex_);
  return {at, wake_.get_token()};
}

}  // namespace proxycore::store
