// Answered: what a handler answered to a request that was made up: whole, or a stream so far.
//
// Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/handler.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

namespace proxycore::test {

class Answered {
 public:
  [[nodiscard]] Responder responder() const { return Responder(std::make_unique<Sink>(state_)); }

  // nullopt: nothing yet. Of a stream: its head.
  [[nodiscard]] std::optional<Response> now() const {
    const std::lock_guard lock(state_->mutex);
    return state_->response;
  }
  // Waits for it.
  [[nodiscard]] Response response() const {
    std::unique_lock lock(state_->mutex);
    REQUIRE(
        state_->changed.wait_for(lock, Seconds{20}, [&] { return state_->response.has_value(); }));
    return *state_->response;
  }
  // Waits until a stream has sent `part`; all it has sent.
  [[nodiscard]] std::string streamed(const std::string& part) const {
    std::unique_lock lock(state_->mutex);
    const bool came = state_->changed.wait_for(
        lock, Seconds{20}, [&] { return state_->body.find(part) != std::string::npos; });
    INFO(state_->body);
    CHECK(came);
    return state_->body;
  }
  // Waits until a stream has ended.
  [[nodiscard]] bool ends() const {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, Seconds{20}, [&] { return state_->ended; });
  }
  // The client goes.
  void leave() {
    const std::lock_guard lock(state_->mutex);
    state_->here = false;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Response> response;
    std::string body;
    bool here = true;
    bool ended = false;
  };
  class Stream final : public ResponseStream {
   public:
    explicit Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() override {
      const std::lock_guard lock(state_->mutex);
      state_->ended = true;
      state_->changed.notify_all();
    }
    bool write(std::string part) override {
      const std::lock_guard lock(state_->mutex);
      if (state_->here) state_->body += part;
      state_->changed.notify_all();
      return state_->here;
    }

   private:
    std::shared_ptr<State> state_;
  };
  class Sink final : public Responder::Sink {
   public:
    explicit Sink(std::shared_ptr<State> state) : state_(std::move(state)) {}
    void respond(Response response) override {
      const std::lock_guard lock(state_->mutex);
      state_->response = std::move(response);
      state_->changed.notify_all();
    }
    std::unique_ptr<ResponseStream> begin(Response head) override {
      respond(std::move(head));
      return std::make_unique<Stream>(state_);
    }

   private:
    std::shared_ptr<State> state_;
  };

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace proxycore::test
