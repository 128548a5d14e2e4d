// AsyncClient: commands to one Redis server from a loop, pipelined on one connection.
//
// For look-ups of the data plane: commands must only read, as one may be sent twice. Time-outs and
// reconnecting are the Conversation's. Not here: blocking callers (sync_client).
// Thread: its loop's.
#pragma once

#include "io/conversation.h"
#include "redis/protocol.h"
#include "redis/url.h"
#include <proxycore/result.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace proxycore::redis {

class AsyncClient final : io::Conversation::Language {
 public:
  // Who waits for a reply. Destroying it cancels.
  class Call : io::Conversation::Call {
   public:
    virtual ~Call() = default;
    // A reply may be an error of the server's. Errors: timeout, closed, limit (a reply too large),
    // protocol; they name the server.
    virtual void on_result(Result<Reply> result) = 0;
    // After a time-out: whether the command was sent, so that what became of it is told as well.
    [[nodiscard]] bool pending() const noexcept { return linked(); }

   private:
    friend AsyncClient;
    void on_reply() override { on_result(std::move(client_->reply_)); }
    void on_failure(const Error& why) override { on_result(why); }
    AsyncClient* client_ = nullptr;
  };

  AsyncClient(io::Loop& loop, const Url& url, const io::Conversation::Limits& limits,
              io::Resolver::Query query = io::Resolver::system_query());
  virtual ~AsyncClient() = default;

  // `later` is told, unless this fails. Errors: closed, busy (io::Conversation::ask).
  Result<void> ask(Args command, Call& later);
  [[nodiscard]] bool healthy() const noexcept { return conversation_.healthy(); }
  // For messages; without the password.
  [[nodiscard]] const std::string& server() const noexcept { return conversation_.server(); }

 private:
  std::size_t greet(base::Chain& out) override;
  Result<void> greeted(std::size_t part) override;
  void feed(std::string_view bytes) override { replies_.feed(bytes); }
  Result<bool> next() override;
  void clear() override { replies_.clear(); }

  const Greeting greeting_;
  Replies replies_;
  Reply reply_;  // the present one
  io::Conversation conversation_;
};

}  // namespace proxycore::redis
