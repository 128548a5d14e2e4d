#include "store/watchers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace proxycore::store {

class Watchers::Handle final : public Watch {
 public:
  Handle(Watchers& watchers, Subscription& subscription)
      : watchers_(watchers), subscription_(subscription) {}
  ~Handle() override { watchers_.remove(subscription_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

 private:
  Watchers& watchers_;
  Subscription& subscription_;
};

void Watchers::Subscription::note(std::string_view key) {
  if (any || !key.starts_with(prefix)) return;
  pending.emplace(key);
  if (pending.size() > max_pending) {
    pending.clear();
    any = true;
  }
}

Watchers::~Watchers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::unique_ptr<Watch> Watchers::add(std::string_view prefix,
                                     std::function<void(std::string_view key)> changed) {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  subscriptions_.push_back({.prefix = std::string{prefix}, .changed = std::move(changed)});
  wake_.notify_one();  // to poll from now on
  return std::make_unique<Handle>(*this, subscriptions_.back());
}

void Watchers::changed(std::string_view key) {
  const std::lock_guard lock(mutex_);
  for (Subscription& subscription : subscriptions_) subscription.note(key);
  wake_.notify_one();
}

void Watchers::all_changed() {
  const std::lock_guard lock(mutex_);
  for (Subscription& subscription : subscriptions_) {
    subscription.pending.clear();
    subscription.any = true;
  }
  wake_.notify_one();
}

std::vector<std::string> Watchers::prefixes() {
  std::vector<std::string> all;
  {
    const std::lock_guard lock(mutex_);
    for (const Subscription& subscription : subscriptions_) all.push_back(subscription.prefix);
  }
  std::sort(all.begin(), all.end());
  std::vector<std::string> widest;  // a prefix sorts before what it contains
  for (std::string& prefix : all) {
    if (widest.empty() || !prefix.starts_with(widest.back())) widest.push_back(std::move(prefix));
  }
  return widest;
}

void Watchers::remove(Subscription& subscription) {
  std::unique_lock lock(mutex_);
  if (running_ == &subscription && std::this_thread::get_id() == thread_.get_id()) {
    subscription.removed = true;  // tell_all() erases it when the callback has returned
    return;
  }
  told_.wait(lock, [&] { return running_ != &subscription; });
  subscriptions_.remove_if([&](const Subscription& one) { return &one == &subscription; });
}

void Watchers::run() {
  std::unique_lock lock(mutex_);
  const auto due = [this] {
    if (stopping_) return true;
    for (const Subscription& subscription : subscriptions_) {
      if (subscription.waiting()) return true;
    }
    return false;
  };
  while (!stopping_) {
    if (poll_ && !subscriptions_.empty()) {
      wake_.wait_for(lock, poll_interval, due);
      if (stopping_) return;
      lock.unlock();
      poll_();
      lock.lock();
    } else {
      wake_.wait(lock, [&] { return due() || (poll_ && !subscriptions_.empty()); });
    }
    tell_all(lock);
  }
}

// Callbacks may add and remove watches; the list's other elements stay where they are.
void Watchers::tell_all(std::unique_lock<std::mutex>& lock) {
  for (auto at = subscriptions_.begin(); at != subscriptions_.end() && !stopping_;) {
    if (at->waiting()) tell(*at, lock);
    at = at->removed ? subscriptions_.erase(at) : std::next(at);
  }
}

void Watchers::tell(Subscription& subscription, std::unique_lock<std::mutex>& lock) {
  std::set<std::string, std::less<>> keys = std::move(subscription.pending);
  subscription.pending.clear();
  if (std::exchange(subscription.any, false)) keys.insert(subscription.prefix);
  running_ = &subscription;
  for (const std::string& key : keys) {
    if (subscription.removed || stopping_) break;
    lock.unlock();
    subscription.changed(key);
    lock.lock();
  }
  running_ = nullptr;
  told_.notify_all();
}

}  // namespace proxycore::store
