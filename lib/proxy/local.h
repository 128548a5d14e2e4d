// LocalCall: a request that a Handler answers: its collected body, and the way of the answer back.
//
// The handler may answer from any thread and after the exchange has gone; the ticket both share
// says whether somebody still waits. It is read and cleared on the worker's thread only. Thread:
// its worker's, but for the sink's respond().
#pragma once

#include "io/loop.h"
#include <proxycore/handler.h>

#include <memory>

namespace proxycore::proxy {

class Exchange;

struct Ticket {
  Exchange* exchange = nullptr;  // null: nobody waits any more
};

struct LocalCall {
  explicit LocalCall(Handler& to) : handler(to), ticket(std::make_shared<Ticket>()) {}
  ~LocalCall() { ticket->exchange = nullptr; }
  LocalCall(const LocalCall&) = delete;
  LocalCall& operator=(const LocalCall&) = delete;

  Handler& handler;
  Request request;
  std::shared_ptr<Ticket> ticket;
};

// Hands the response to the exchange of `ticket`, on the loop's thread.
std::unique_ptr<Responder::Sink> sink_for(std::shared_ptr<io::Inbox> inbox,
                                          std::shared_ptr<Ticket> ticket);

}  // namespace proxycore::proxy
