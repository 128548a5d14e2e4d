// Challenges: answers HTTP-01 challenges, for any host, from the store.
//
// Whoever is getting a certificate, on whatever machine, puts the key authorization there; any
// proxyd answers with it. The store is asked on a thread of its own, when the request comes.
// Not here: which requests these are (proxy/edge), who puts it there (certs).
// Source: RFC 8555 §8.3. Owner: Server. Thread: handle() and counters() any.
#pragma once

#include "base/metrics.h"
#include <proxycore/deadline.h>
#include <proxycore/handler.h>
#include <proxycore/store.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace proxycore::server {

class Challenges final : public Handler {
 public:
  static constexpr std::size_t most_waiting = 64;  // questions to the store; beyond, 503

  struct Counters {
    base::Counter answered;
    base::Counter unknown;  // no such token
    base::Counter failed;   // the store could not be asked
  };

  // `store` outlives this. `limit`: what a request waits for the store.
  explicit Challenges(Store& store, Millis limit = Millis{2'000});
  ~Challenges() override;
  Challenges(const Challenges&) = delete;
  Challenges& operator=(const Challenges&) = delete;

  void handle(Request request, Responder responder) override;
  [[nodiscard]] std::size_t max_body() const noexcept override { return 4'096; }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  struct Question {
    std::string key;
    Deadline by;
    Responder responder;
  };
  struct Answer {
    Response response;
    base::Counter& outcome;
  };
  void run();
  Answer answer(const Question& question);

  Store& store_;
  const Millis limit_;
  std::stop_source stop_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<Question> questions_;
  bool ending_ = false;
  Counters counters_;  // changed under the mutex, read without

  std::thread thread_;
};

}  // namespace proxycore::server
