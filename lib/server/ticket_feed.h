// TicketFeed: the keys of session tickets: shared through the store, changed by themselves.
//
// Every process on a store has the same keys, so that a session is resumed wherever its client
// comes next. A new key is made when the newest has served half a ticket's lifetime, by whoever
// notices first; it seals once everybody has had the time to learn of it. Without the store the
// last keys known go on, from its copy on disk at a start; else keys of this process alone.
// Source: RFC 5077 §5.5, RFC 8446 §8. Owner: Server. Thread: its own; `publish` is called there.
#pragma once

#include "tls/tickets.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace proxycore::server {

class TicketFeed {
 public:
  using Keys = std::shared_ptr<const tls::TicketKeys>;
  using Publish = std::function<void(const Keys& keys)>;

  // `copy`: where the keys are kept too, if the store is on other machines, or null.
  TicketFeed(Store& store, Store* copy, Millis lifetime) noexcept
      : store_(store), copy_(copy), lifetime_(lifetime) {}
  TicketFeed(const TicketFeed&) = delete;
  TicketFeed& operator=(const TicketFeed&) = delete;
  ~TicketFeed();

  // The first keys. Errors: io (no random bytes).
  Result<Keys> prepare();
  // Tells whenever they change, from now on.
  void start(Publish publish);

 private:
  // As kept: in the record, the name in hex is the field and "<made> <secret in hex>" the value.
  struct Kept {
    tls::TicketKey key;
    std::int64_t made = 0;  // milliseconds since 1970
  };
  static std::vector<Kept> kept_in(const Record& record);

  void run();
  Result<Record> current(std::int64_t now, const Deadline& by);
  Result<Record> renewed(const Record& before, std::int64_t now) const;
  [[nodiscard]] bool is_due(const std::vector<Kept>& keys, std::int64_t now) const;
  [[nodiscard]] std::vector<tls::TicketKey> in_order(const Record& record, std::int64_t now) const;
  Result<Keys> look(std::int64_t now, const Deadline& by);

  Store& store_;
  Store* copy_;
  const Millis lifetime_;
  Publish publish_;
  std::vector<std::string> published_;  // names of the last keys told, to tell a change
  std::stop_source stop_;
  std::unique_ptr<Watch> watch_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool changed_ = false;
  bool ending_ = false;

  std::thread thread_;
};

}  // namespace proxycore::server
