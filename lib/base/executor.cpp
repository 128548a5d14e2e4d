#include "base/executor.h"

#include "base/priority.h"

#include <string>
#include <utility>

namespace proxycore::base {

Executor::Executor(std::size_t threads, std::size_t max_waiting, int steps_back)
    : max_waiting_(max_waiting) {
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, steps_back] {
      step_back(steps_back);
      work();
    });
  }
}

Result<void> Executor::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return Error{Errc::cancelled, "the program is being stopped"};
    if (waiting_.size() >= max_waiting_) {
      return Error{Errc::busy, std::to_string(max_waiting_) + " tasks wait already", 1};
    }
    waiting_.push_back(std::move(task));
  }
  wake_.notify_one();
  return {};
}

void Executor::stop() {
  std::deque<Task> never_run;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    never_run.swap(waiting_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Executor::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    {
      Task task = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      task();
    }
    lock.lock();
  }
}

}  // namespace proxycore::base
