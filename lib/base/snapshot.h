// Snapshot<T> and View<T>: how the control plane hands immutable tables down to the workers.
//
// The control plane publishes a shared_ptr<const T>; each worker gets it *delivered* (posted to its
// loop) into its View, so a table never changes in the middle of a request. A View wraps the table
// in a control block of its own, so that the reference counts taken per request never bounce
// between cores. The Snapshot keeps tables of before until nobody uses them any more, so that their
// end, which takes long for large ones, is the control plane's work and no worker's: sweep().
// Thread: Snapshot any; View its worker's.
#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace proxycore::base {

template <class T>
class View {
 public:
  void set(std::shared_ptr<const T> next) {
    // Our own control block: its deleter merely drops the shared reference.
    const T* table = next.get();
    held_ = std::shared_ptr<const T>(table, [keep = std::move(next)](const T*) {});
  }
  explicit operator bool() const noexcept { return held_ != nullptr; }
  [[nodiscard]] const T* get() const noexcept { return held_.get(); }
  // A part of the table that keeps the whole table alive.
  template <class Part>
  [[nodiscard]] std::shared_ptr<const Part> share(const Part& part) const {
    return std::shared_ptr<const Part>(held_, &part);
  }

 private:
  std::shared_ptr<const T> held_;
};

template <class T>
class Snapshot {
 public:
  using Deliver = std::function<void(std::shared_ptr<const T>)>;

  // `deliver` is called with the current table, if any, and with every later one, on the
  // publishing thread; it posts to a loop.
  void subscribe(Deliver deliver) {
    const std::lock_guard lock(mutex_);
    if (current_) deliver(current_);
    subscribers_.push_back(std::move(deliver));
  }
  void publish(std::shared_ptr<const T> next) {
    const std::lock_guard lock(mutex_);
    if (current_) before_.push_back(std::move(current_));
    current_ = std::move(next);
    for (const Deliver& deliver : subscribers_) deliver(current_);
  }
  // Destroys the tables of before that nobody uses. true: some are still used.
  bool sweep() {
    std::vector<std::shared_ptr<const T>> unused;  // they die without the lock
    const std::lock_guard lock(mutex_);
    const auto first = std::partition(before_.begin(), before_.end(),
                                      [](const auto& table) { return table.use_count() > 1; });
    unused.assign(std::make_move_iterator(first), std::make_move_iterator(before_.end()));
    before_.erase(first, before_.end());
    return !before_.empty();
  }
  [[nodiscard]] std::shared_ptr<const T> current() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> current_;
  std::vector<std::shared_ptr<const T>> before_;
  std::vector<Deliver> subscribers_;
};

}  // namespace proxycore::base
