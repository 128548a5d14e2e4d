// Watchers: the watches of one store, and the thread that calls them.
//
// The store says which keys changed; each watch is told on the thread here, one call at a time.
// What waits to be told is bounded: behind a slow callback many changes become one. A store that
// other processes write to as well gives a function that looks for their changes; it is called in
// short intervals while anybody watches.
// Not here: finding out what changed. Thread: any; the callbacks run on the thread in here.
#pragma once

#include <proxycore/store.h>

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace proxycore::store {

class Watchers {
 public:
  static constexpr std::size_t max_pending = 1024;  // keys per watch; beyond: its prefix
  static constexpr Millis poll_interval{25};        // between two calls of `poll`

  // `poll`, if any, is called on the thread here and may call changed().
  explicit Watchers(std::function<void()> poll = {}) : poll_(std::move(poll)) {}
  ~Watchers();
  Watchers(const Watchers&) = delete;
  Watchers& operator=(const Watchers&) = delete;

  std::unique_ptr<Watch> add(std::string_view prefix,
                             std::function<void(std::string_view key)> changed);
  void changed(std::string_view key);
  // Something changed, and nobody knows what.
  void all_changed();
  // What is watched, sorted; of two where one contains the other, the wider.
  std::vector<std::string> prefixes();

 private:
  struct Subscription {
    std::string prefix;
    std::function<void(std::string_view key)> changed;
    std::set<std::string, std::less<>> pending = {};
    bool any = false;      // tell the prefix in place of the pending keys
    bool removed = false;  // by its own callback, which is still running

    void note(std::string_view key);
    [[nodiscard]] bool waiting() const noexcept { return any || !pending.empty(); }
  };
  class Handle;

  void remove(Subscription& subscription);
  void run();
  void tell_all(std::unique_lock<std::mutex>& lock);
  void tell(Subscription& subscription, std::unique_lock<std::mutex>& lock);

  const std::function<void()> poll_;
  std::mutex mutex_;
  std::condition_variable wake_;  // the thread waits
  std::condition_variable told_;  // a callback has returned
  std::list<Subscription> subscriptions_;
  const Subscription* running_ = nullptr;  // its callback is being called
  bool stopping_ = false;
  std::thread thread_;  // begins with the first watch
};

}  // namespace proxycore::store
