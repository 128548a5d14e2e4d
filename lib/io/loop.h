// Loop: the event loop of one thread. What a worker owns is touched on its loop's thread only.
// Inbox: the door into a loop for other threads, which may outlive it.
//
// Owns a uv_loop_t, or borrows the one of an application. A turn is: wait for events, run their
// callbacks, then the end-of-turn work (flush what was written, destroy what was retired).
// Thread: construct and run on one thread; post() and stop() on any, inbox() on the loop's.
#pragma once

#include "base/chain.h"
#include "base/list.h"
#include "base/unique_function.h"
#include "io/timers.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

struct uv_async_s;
struct uv_loop_s;

namespace proxycore::io {

// Something that dies at the end of the turn: Loop::retire().
class Retired {
 public:
  virtual ~Retired() = default;
};

// Something to do at the end of the turn: Loop::later(). Unlinks itself when destroyed.
struct LaterTag;
class Later : public base::ListNode<LaterTag> {
 public:
  virtual void on_later() = 0;

 protected:
  ~Later() = default;
};

// Tasks for a loop. Shared, so that whoever holds it may post when the loop is gone.
// Thread: any.
class Inbox {
 public:
  // Runs `task` on the loop's thread, in order. false: the loop has ended, `task` was dropped.
  bool post(base::UniqueFunction<void()> task);

 private:
  friend class Loop;
  using Tasks = std::vector<base::UniqueFunction<void()>>;
  void open(uv_async_s& wake);
  Tasks take();
  void close();

  std::mutex mutex_;
  Tasks tasks_;
  uv_async_s* wake_ = nullptr;  // null before the loop's begin and after its end
};

class Loop {
 public:
  Loop();
  explicit Loop(uv_loop_s& host);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  // Returns after stop(). Only for a loop of our own.
  void run();
  void stop();
  // Inbox::post(), for who knows that the loop lives.
  void post(base::UniqueFunction<void()> task) { inbox_->post(std::move(task)); }
  // For threads that may outlive the loop.
  [[nodiscard]] const std::shared_ptr<Inbox>& inbox() const noexcept { return inbox_; }
  // Destroyed after the current callback has unwound, before the loop waits again.
  void retire(std::unique_ptr<Retired> dead) { retired_.push_back(std::move(dead)); }
  // Destroys what was retired now: for the destructors of those whom retired objects refer to.
  void sweep();
  // Runs once at the end of this turn, before retired objects die.
  void later(Later& work) noexcept { later_.push_back(work); }

  // Milliseconds of a steady clock, read when the loop wakes.
  [[nodiscard]] std::int64_t now() const noexcept { return timers_.now(); }
  // Nanoseconds of the same clock, read at most once per turn.
  [[nodiscard]] std::int64_t nanos() noexcept;
  // Milliseconds since 1970, read at most once per turn.
  [[nodiscard]] std::int64_t wall() noexcept;
  [[nodiscard]] Timers& timers() noexcept { return timers_; }
  [[nodiscard]] base::Slabs& slabs() noexcept { return slabs_; }
  [[nodiscard]] uv_loop_s& uv() noexcept { return *uv_; }

  // The buffer that reads land in; a new one once somebody took a share of the last.
  base::Slab& read_slab(bool large);

 private:
  struct Handles;
  void open();
  void end_turn();
  void plan_wake_up();

  std::unique_ptr<uv_loop_s> own_;
  uv_loop_s* uv_;
  base::Slabs slabs_;
  base::SlabRef read_slabs_[2];
  Timers timers_;
  Handles* handles_ = nullptr;  // freed by their close callbacks
  base::List<Later, LaterTag> later_;
  std::vector<std::unique_ptr<Retired>> retired_;
  std::vector<std::unique_ptr<Retired>> spare_;  // empty; keeps its memory for retired_
  std::int64_t nanos_ = 0;
  std::int64_t wall_ = 0;
  std::int64_t planned_ = INT64_MAX;  // when the uv_timer wakes us
  std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
};

}  // namespace proxycore::io
