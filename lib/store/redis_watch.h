// RedisWatch: learns from a Redis server which keys changed, and tells the watchers of a store.
//
// One thread with connections of its own, since the first watch. It takes the best that the server
// lets it have:
//   tracking  CLIENT TRACKING, broadcast to a redirect (Redis 6); flushes are told too
//   keyspace  keyspace events, where the server already sends those that are needed
//   channel   what other stores of ours publish; everything else is looked for every `poll`
//   poll      nothing at all: everything is looked for every `poll`
// What cannot be known is told as the prefix itself: after a lost connection, after a flush, and
// where it is looked for. Every second a ping on the connection that the events come on measures
// how far behind they are; a server that does not answer it is dead.
// Not here: telling callbacks (watchers.h), writing (redis_store). Thread: any; see above.
#pragma once

#include "redis/sync_client.h"
#include "redis/url.h"
#include "store/watchers.h"
#include <proxycore/store.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace proxycore::store {

class RedisWatch {
 public:
  // Every writing store publishes the key there.
  static constexpr std::string_view channel = "proxycore:changed";
  static constexpr Millis ping_interval{1'000};
  static constexpr Millis ping_patience{3'000};

  // The others must outlive this.
  RedisWatch(redis::Url url, redis::Backoff& backoff, Watchers& watchers, Seconds poll)
      : url_(std::move(url)), backoff_(backoff), watchers_(watchers), poll_(poll) {}
  ~RedisWatch();
  RedisWatch(const RedisWatch&) = delete;
  RedisWatch& operator=(const RedisWatch&) = delete;

  // To be called after a watch was added. Returns when the server tells its changes, or could not
  // be reached: then the prefix is told once it can be.
  void cover();
  // nullopt: nobody has watched yet.
  [[nodiscard]] std::optional<Store::Health> health() const;
  // Whether the server tells us what we write.
  [[nodiscard]] bool hears_us() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Reply = redis::Reply;
  enum class Mode : std::uint8_t { tracking, keyspace, channel, poll };
  static std::string_view events_of(Mode mode);

  void run();
  // Until the connection is lost or this ends; the error says which.
  Error serve();
  Result<void> begin();
  // false: the server does not let us.
  Result<bool> begin_tracking();
  Result<bool> begin_keyspace();
  Result<bool> track();
  Result<bool> subscribe(std::string_view command, std::string_view what);
  Result<void> follow_prefixes();
  Result<void> turn();
  Result<void> take(const Reply& message);
  Result<void> ponged();
  Result<void> look_for_flush();

  // These lock.
  std::uint64_t heed();
  void answer(std::uint64_t asked);
  void rest(const Error& why);
  void set_health(Store::Health health);
  Deadline until(Clock::time_point at) const;
  Deadline in(Millis span) const { return Deadline::in(span, end_.get_token()); }

  const redis::Url url_;
  redis::Backoff& backoff_;
  Watchers& watchers_;
  const Seconds poll_;

  // The thread's.
  std::unique_ptr<redis::SyncClient> events_;  // what the server says by itself comes here
  std::unique_ptr<redis::SyncClient> asker_;   // its CLIENT TRACKING holds while it is connected
  std::string events_id_;                      // the server's number of events_
  Mode mode_ = Mode::tracking;
  std::vector<std::string> covered_;  // prefixes
  Clock::time_point next_ping_ = {};
  Clock::time_point next_poll_ = {};
  std::optional<Clock::time_point> pinged_ = {};  // waits for its answer
  std::optional<std::string> flushes_ = {};       // of the server, when last asked
  bool missed_ = false;                           // something may have changed that was not told

  std::stop_source end_;
  mutable std::mutex mutex_;
  std::condition_variable answered_some_;
  std::stop_source wake_;       // stopped to end a wait of the thread; then replaced
  std::uint64_t asked_ = 0;     // calls of cover()
  std::uint64_t answered_ = 0;  // those that the thread has seen to; it alone writes this
  std::optional<Store::Health> health_ = {};
  std::thread thread_;
};

}  // namespace proxycore::store
