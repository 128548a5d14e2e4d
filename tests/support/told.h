// What a watch of a store is told, gathered from the thread that tells. Thread: any.
#pragma once

#include <proxycore/deadline.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace proxycore::test {

class Told {
 public:
  static constexpr Millis patience{20'000};  // nothing takes it unless it is broken

  std::function<void(std::string_view)> callback() {
    return [this](std::string_view key) {
      const std::lock_guard lock(mutex_);
      keys_.insert(std::string{key});
      came_.notify_all();
    };
  }
  bool wait_for(const std::string& key) {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, patience, [&] { return keys_.contains(key); });
  }
  // Until the prefix was told, or `count` keys were.
  bool wait_for_all(const std::string& prefix, std::size_t count) {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, patience,
                          [&] { return keys_.contains(prefix) || keys_.size() == count; });
  }
  bool has(const std::string& key) {
    const std::lock_guard lock(mutex_);
    return keys_.contains(key);
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    keys_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::set<std::string> keys_;
};

}  // namespace proxycore::test
