// LocalCall: a request that a Handler answers: its collected body, and the way of the answer back.
//
// The handler may answer from any thread and after the exchange has gone; the ticket both share
// says whether somebody still waits. Thread: its worker's, but for the sink and what it gives.
#pragma once

#include "io/loop.h"
#include <proxycore/handler.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

namespace proxycore::proxy {

class Exchange;

struct Ticket {
  Exchange* exchange = nullptr;  // null: nobody waits any more; the worker's thread only
  std::atomic<bool> gone = false;
  std::atomic<std::size_t> waiting = 0;  // bytes of a stream that the client's codec has not got
};

struct LocalCall {
  explicit LocalCall(Handler& to) : handler(to), ticket(std::make_shared<Ticket>()) {}
  ~LocalCall() {
    ticket->exchange = nullptr;
    ticket->gone = true;
  }
  LocalCall(const LocalCall&) = delete;
  LocalCall& operator=(const LocalCall&) = delete;

  Handler& handler;
  Request request;
  std::shared_ptr<Ticket> ticket;
  std::string held = {};  // of a stream, until the client takes bytes again
};

// Hands the response, or its parts, to the exchange of `ticket`, on the loop's thread.
std::unique_ptr<Responder::Sink> sink_for(std::shared_ptr<io::Inbox> inbox,
                                          std::shared_ptr<Ticket> ticket);

}  // namespace proxycore::proxy
