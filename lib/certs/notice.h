// Webhook: tells an operator's service what became of certificates, one POST with JSON for each.
//
// Nobody waits for it: tell() only queues, and a thread of its own delivers, trying again for a
// while what the other side did not take. A queue that is full loses its oldest. The url is a
// secret more often than not, so that logs have its host alone.
// Not here: what is worth telling (the runner). Owner: the runner. Thread: any.
#pragma once

#include "client/http_client.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace proxycore::certs {

struct Notice {
  enum class Event : std::uint8_t { failed, issued, revoked };

  Event event;
  std::string name;            // of the certificate
  std::string words = {};      // what the CA, or whoever failed, said
  std::uint32_t failures = 0;  // since the last success
  std::int64_t next_ms = 0;    // when it is tried again, milliseconds since 1970; 0: not
  std::int64_t not_after = 0;  // of the certificate there is, seconds since 1970; 0: none
  std::int64_t at_ms = 0;      // when it happened
};

// {"event":"certificate.failed","name":"a.example.com",...}; what is 0 or empty is left out, times
// are as RFC 3339 has them.
std::string json_of(const Notice& notice);

class Webhook {
 public:
  struct Options {
    std::string url;  // http or https
    client::HttpClient::Options http = {};
    std::size_t most_queued = 1000;
    Millis one_try{30'000};
    // Before it is tried again; after the last of them it is given up.
    std::vector<Millis> pauses = {Millis{1'000}, Millis{10'000}, Millis{60'000}};
  };

  // Errors: invalid (url).
  static Result<std::unique_ptr<Webhook>> create(Options options);
  Webhook(const Webhook&) = delete;
  Webhook& operator=(const Webhook&) = delete;
  // What is not delivered by then is lost.
  ~Webhook();

  // Never waits.
  void tell(Notice notice);
  // Waits until everything told is delivered or given up; false: it is not, at the deadline.
  bool drain(const Deadline& by);

  struct Counts {
    std::uint64_t delivered = 0;
    std::uint64_t failed = 0;   // given up
    std::uint64_t dropped = 0;  // for want of room
  };
  [[nodiscard]] Counts counts() const;

 private:
  Webhook(Options options, std::string host);
  void run(const std::stop_token& stop);
  bool deliver(const Notice& notice, const std::stop_token& stop);

  const Options options_;
  const std::string host_;     // of the url
  client::HttpClient client_;  // the thread's own

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::deque<Notice> queue_;
  bool delivering_ = false;
  Counts counts_;

  std::jthread thread_;
};

}  // namespace proxycore::certs
