// SyncClient: one connection to a Redis server for blocking code, under deadlines; Backoff: when a
// server that failed is tried again.
//
// connect() opens the connection, or sees that it is still good; password, database and name are
// told first. Commands may be sent ahead of the replies (pipelining). What fails drops the
// connection, and nothing opens another one behind the caller's back: it may have been in the
// middle of a transaction. Every error names the server, never a value or the password.
// Not here: what is stored (store/redis_store), the data plane's client (async_client).
// Thread: SyncClient, one at a time; Backoff, any.
#pragma once

#include "io/blocking.h"
#include "redis/protocol.h"
#include "redis/url.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace proxycore::redis {

// Shared by the connections to one server.
class Backoff {
 public:
  static constexpr Millis first{100};  // after the first failure; doubled after each further one
  static constexpr Millis most{5'000};

  // Errors: closed (the server rests; says for how long, and why).
  Result<void> admit();
  void failed(const Error& why);
  void succeeded();
  // Until admit() lets somebody in.
  [[nodiscard]] Millis left() const;
  // Why the last connection could not be made; nullopt: it could.
  [[nodiscard]] std::optional<std::string> failure() const;

 private:
  using Clock = std::chrono::steady_clock;

  mutable std::mutex mutex_;
  Clock::time_point until_ = {};
  Millis span_{0};
  std::string why_;
};

class SyncClient {
 public:
  static constexpr Millis connect_patience{5'000};  // for all of connecting
  static constexpr Millis answer_patience{10'000};  // for one reply

  SyncClient(Url url, Backoff& backoff);
  ~SyncClient();
  SyncClient(const SyncClient&) = delete;
  SyncClient& operator=(const SyncClient&) = delete;

  // Does nothing while there is a good connection. Errors: closed (the server rests), refused,
  // timeout, cancelled, denied (password), busy (loading), not_found (no such name), io, protocol.
  Result<void> connect(const Deadline& by);
  // One command and its reply. `args` begins with the command, then its key if it has one.
  // Errors: those of receive(), and for an error reply those of error_of(). Precondition: owed() is
  // 0.
  Result<Reply> call(Args args, const Deadline& by);
  Result<Reply> call(std::initializer_list<std::string_view> args, const Deadline& by) {
    return call(Args{args.begin(), args.size()}, by);
  }

  // Goes out with the next receive() or wait().
  void send(Args args);
  void send(std::initializer_list<std::string_view> args) { send(Args{args.begin(), args.size()}); }
  // The reply to the first command that has none yet; an error reply is a reply. An Error means
  // that the connection is gone: closed, timeout, cancelled, limit and protocol (Replies), io.
  Result<Reply> receive(const Deadline& by);
  // What comes next, whether it was asked for or not; nullopt: nothing did until the deadline.
  // An Error means that the connection is gone, cancelled excepted.
  Result<std::optional<Reply>> wait(const Deadline& by);
  void drop();

  [[nodiscard]] bool connected() const noexcept { return static_cast<bool>(socket_); }
  // Commands without reply yet.
  [[nodiscard]] std::size_t owed() const noexcept { return owed_; }
  // Bytes that wait for the next receive().
  [[nodiscard]] std::size_t unsent() const noexcept { return out_.size() - sent_; }
  [[nodiscard]] const Url& url() const noexcept { return url_; }

 private:
  // These do not name the server.
  Result<void> dial(const Deadline& by);
  Result<void> greet(const Deadline& by);
  Result<Reply> next_reply(const Deadline& by);
  Result<std::optional<Reply>> next(const Deadline& by);
  Result<void> read_some();
  Result<void> write_some();
  [[nodiscard]] bool still_good() const;

  const Url url_;
  Backoff& backoff_;
  io::Fd socket_;
  io::Poll poll_;
  Replies replies_;
  std::string out_;
  std::size_t sent_ = 0;  // of out_
  std::size_t owed_ = 0;
};

}  // namespace proxycore::redis
