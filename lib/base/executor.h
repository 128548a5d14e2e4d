// Executor: a few threads that work off a bounded queue.
//
// For work that blocks, away from the loops. What does not fit is refused at once, so that nobody
// waits behind more than the queue. Not here: tasks that wait for each other.
// Owner: a service. Thread: post() any; the tasks run on the threads in here.
#pragma once

#include "base/unique_function.h"
#include <proxycore/result.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace proxycore::base {

class Executor {
 public:
  using Task = UniqueFunction<void()>;

  // `steps_back`: of the threads (priority.h).
  Executor(std::size_t threads, std::size_t max_waiting, int steps_back = 0);
  ~Executor() { stop(); }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Errors: busy (so many wait already), cancelled (it was stopped); the task is destroyed.
  Result<void> post(Task task);
  // Waits for the tasks that run; those that wait are destroyed. Not from a task.
  void stop();

 private:
  void work();

  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace proxycore::base
