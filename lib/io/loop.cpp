#include "io/loop.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include <uv.h>

namespace proxycore::io {

namespace {
constexpr std::size_t read_size = 64 << 10;
constexpr std::size_t large_read_size = 256 << 10;

// libuv reads its clock when it wakes up, before any callback.
std::int64_t time_of(const void* loop) {
  return static_cast<std::int64_t>(uv_now(static_cast<const uv_loop_t*>(loop)));
}
}  // namespace

bool Inbox::post(base::UniqueFunction<void()> task) {
  const std::lock_guard lock(mutex_);
  if (wake_ == nullptr) return false;
  tasks_.push_back(std::move(task));
  // Under the lock: the handle is closed only after close().
  if (tasks_.size() == 1) uv_async_send(wake_);
  return true;
}

void Inbox::open(uv_async_s& wake) {
  const std::lock_guard lock(mutex_);
  wake_ = &wake;
}

Inbox::Tasks Inbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(tasks_, {});
}

void Inbox::close() {
  Tasks dropped;  // destroyed without the lock: what a task holds may post in its destructor
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
  dropped.swap(tasks_);
}

// In one block, so that it lives until libuv has closed all of them.
struct Loop::Handles {
  Loop* loop;
  uv_prepare_t prepare;
  uv_timer_t timer;
  uv_async_t async;
  int open = 3;

  static void on_close(uv_handle_t* handle) {
    auto* self = static_cast<Handles*>(handle->data);
    if (--self->open == 0) delete self;
  }
};

Loop::Loop() : own_(std::make_unique<uv_loop_s>()), uv_(own_.get()), timers_(&time_of, uv_) {
  if (uv_loop_init(uv_) != 0) {
    // Only for want of memory or descriptors at start: nothing could run without a loop.
    std::fputs("proxycore: cannot create an event loop\n", stderr);
    std::abort();
  }
  open();
}

Loop::Loop(uv_loop_s& host) : uv_(&host), timers_(&time_of, uv_) {
  open();
}

void Loop::open() {
  handles_ = new Handles;
  handles_->loop = this;
  uv_prepare_init(uv_, &handles_->prepare);
  uv_timer_init(uv_, &handles_->timer);
  uv_async_init(uv_, &handles_->async, [](uv_async_t* handle) {
    auto* self = static_cast<Handles*>(handle->data)->loop;
    if (self == nullptr) return;
    for (auto& task : self->inbox_->take()) task();
  });
  handles_->prepare.data = handles_->timer.data = handles_->async.data = handles_;
  inbox_->open(handles_->async);
  timers_.advance();
  // The last thing before waiting: whatever the turn's callbacks left to do.
  uv_prepare_start(&handles_->prepare, [](uv_prepare_t* handle) {
    if (auto* self = static_cast<Handles*>(handle->data)->loop) self->end_turn();
  });
  // An application's loop ends when its own work does; ours by stop().
  uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->prepare));
  if (!own_) {
    uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->timer));
    uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->async));
  }
}

Loop::~Loop() {
  inbox_->close();
  sweep();
  handles_->loop = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->prepare), &Handles::on_close);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->timer), &Handles::on_close);
  uv_close(reinterpret_cast<uv_handle_t*>(&handles_->async), &Handles::on_close);
  if (own_) {
    // Runs the close callbacks; everything else was closed by its owner.
    uv_run(uv_, UV_RUN_DEFAULT);
    uv_loop_close(uv_);
  }
}

void Loop::run() {
  uv_run(uv_, UV_RUN_DEFAULT);
  end_turn();  // libuv stops in the middle of one
}

void Loop::stop() {
  post([this] {
    if (own_) uv_stop(uv_);
  });
}

void Loop::sweep() {
  while (!retired_.empty()) {
    // Out of our hands first: a destructor may retire others, or sweep.
    auto dying = std::exchange(retired_, std::exchange(spare_, {}));
    dying.clear();
    spare_ = std::move(dying);
  }
}

void Loop::end_turn() {
  while (!later_.empty() || !retired_.empty()) {
    while (!later_.empty()) later_.pop_front().on_later();
    sweep();
  }
  nanos_ = wall_ = 0;
  plan_wake_up();
}

void Loop::plan_wake_up() {
  if (timers_.earliest_added() >= planned_) return;
  planned_ = timers_.earliest_added();
  timers_.forget_added();
  const std::int64_t from = now();
  const auto span = static_cast<std::uint64_t>(planned_ > from ? planned_ - from : 0);
  uv_timer_start(
      &handles_->timer,
      [](uv_timer_t* handle) {
        Loop* self = static_cast<Handles*>(handle->data)->loop;
        if (self == nullptr) return;
        self->planned_ = INT64_MAX;
        self->timers_.forget_added();
        self->timers_.advance();
        // What is still linked, wherever it was put; plan_wake_up() takes the earlier of both.
        if (const auto next = self->timers_.next()) {
          self->timers_.forget_added();
          self->timers_.note_added(*next);
        }
      },
      span, 0);
}

std::int64_t Loop::nanos() noexcept {
  if (nanos_ == 0) nanos_ = static_cast<std::int64_t>(uv_hrtime());
  return nanos_;
}

std::int64_t Loop::wall() noexcept {
  if (wall_ == 0) {
    std::timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time);
    wall_ = static_cast<std::int64_t>(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
  }
  return wall_;
}

base::Slab& Loop::read_slab(bool large) {
  base::SlabRef& slab = read_slabs_[large ? 1 : 0];
  if (!slab.sole()) slab = slabs_.take(large ? large_read_size : read_size);
  return *slab.get();
}

}  // namespace proxycore::io
