// Conversation: requests to one server and its replies, in order, on a connection that is opened
// anew when it breaks.
//
// For servers that a worker asks while clients wait (Redis, the lookup service). Nobody waits for
// one that hangs longer than the time-out, and who comes after the first that waited so long is
// refused at once, until the server answers again; so is everybody while it cannot be reached.
// Requests must change nothing: one whose connection broke is sent once more on the next.
// Not here: what the bytes mean (Language). Thread: its loop's.
#pragma once

#include "base/chain.h"
#include "base/list.h"
#include "io/address.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/socket.h"
#include "io/timers.h"
#include "io/transport.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::io {

class Conversation final : Transport::Owner, Resolver::Waiter, Later {
 public:
  struct Server {
    std::string name;       // for messages: "redis://10.0.0.1:6379/0"
    std::string path = {};  // of a Unix socket, or
    std::string host = {};  // an IP address or a name, and
    std::uint16_t port = 0;
  };

  struct Limits {
    Millis timeout{250};           // for a reply
    Millis connect{2'000};         // for the connection and what is said first
    Millis patience{10'000};       // for a server that is late, until the connection is given up
    Millis back_off{100};          // after the first failed connection, doubling
    Millis back_off_most{5'000};   //
    std::size_t unanswered = 512;  // requests sent ahead of their replies
    std::size_t most = 4'096;      // requests, sent or not
  };

  // What is spoken: makes replies of bytes.
  class Language {
   public:
    // Appends what is said first on a connection; returns how many replies that has.
    virtual std::size_t greet(Chain& out) = 0;
    // The present reply is that to the greeting's `part`. Errors: the server does not want us.
    virtual Result<void> greeted(std::size_t part) = 0;
    virtual void feed(std::string_view bytes) = 0;
    // Whether there is a whole reply, which stays until the next call. Errors: the connection is of
    // no use any more, and the request whose reply was expected has failed for that reason.
    virtual Result<bool> next() = 0;
    // As new, for the next connection.
    virtual void clear() = 0;

   protected:
    ~Language() = default;
  };

  // Who waits for a reply. Destroying it cancels.
  class Call : public base::ListNode<> {
   public:
    virtual void on_reply() = 0;  // it is the Language's present one
    // Errors: timeout, closed, and those of Language::next. If it is linked() still after a
    // time-out, the request was sent, and what became of it is told as well; unlink() declines.
    virtual void on_failure(const Error& why) = 0;

   protected:
    ~Call() = default;
  };

  // Connects at once. `language` must live as long.
  Conversation(Loop& loop, Server server, Language& language, const Limits& limits,
               Resolver::Query query = Resolver::system_query());
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  virtual ~Conversation() = default;

  // `later` is told, unless this fails. Errors: closed (the server cannot be reached now), busy (it
  // is late, or too many wait already).
  Result<void> ask(std::string request, Call& later);
  // Whether the server can be reached and answers.
  [[nodiscard]] bool healthy() const noexcept { return state_ == State::open && !late_; }
  [[nodiscard]] const std::string& server() const noexcept { return server_.name; }

 private:
  enum class State : std::uint8_t { resting, connecting, greeting, open };

  struct Request {
    std::string bytes;
    std::int64_t deadline;  // milliseconds of the loop's clock
    std::uint8_t sent = 0;  // how often
    bool late = false;      // its time is over, which was told
    base::List<Call> call;  // empty: nobody waits
  };
  using Requests = std::list<Request>;

  void on_open() override;
  void on_bytes(Bytes in) override;
  void on_end() override;
  void on_writable() override;
  void on_closed(const Error& why) override;
  void on_resolved(const Addresses& answer) override;
  void on_later() override;

  void connect();
  void connect_next();
  void open(Result<std::unique_ptr<Socket>> made);
  void begin();
  Result<void> take_reply();
  void send_more();
  void check_time();
  void on_phase_over();
  void refused(const Error& why);
  void lost(const Error& why);
  void rest(const Error& why, base::List<Call>& failing);
  [[nodiscard]] Error told(const Error& why, Errc code) const;

  Loop& loop_;
  const Server server_;
  Language& language_;
  const Limits limits_;
  Resolver resolver_;
  std::vector<Address> addresses_;  // of the server, not tried yet
  Requests waiting_;                // not sent; older before younger, as in asked_
  Requests asked_;                  // sent; the replies come in this order
  Chain out_;                       // outlives socket_
  std::unique_ptr<Socket> socket_;
  Timer call_timer_;   // for the oldest request
  Timer phase_timer_;  // for what the state waits for
  State state_ = State::connecting;
  bool read_on_ = false;           // time is up, but for what has come and was not read
  bool late_ = false;              // a reply did not come in time, and none has come since
  bool answered_ = false;          // this connection has been of use
  bool down_ = false;              // it was told that the server cannot be reached
  std::int64_t since_ = 0;         // open, milliseconds
  std::size_t greetings_ = 0;      // replies to come to what is said first
  std::size_t greetings_had_ = 0;  // of these
  Millis back_off_;                // next
  Error failure_;                  // the last
};

}  // namespace proxycore::io
