// Exchange: one question to one DNS server, and its answer: over UDP, then TCP where that is too
// small, and again where a datagram got lost.
//
// An answer counts if it comes from that server's address, to our random port, with our random id
// and our question. Not here: which server (resolver), what is in messages (message).
// Source: RFC 1035 §4.2, RFC 7766, RFC 5452. Thread: one call at a time; blocks.
#pragma once

#include "dns/message.h"
#include "io/address.h"
#include "io/blocking.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::dns {

class Exchange {
 public:
  static constexpr Millis first_patience{1'000};  // for a datagram; doubled with each
  static constexpr int datagrams = 3;             // per question

  // Over UDP, and over TCP if the answer is truncated. Any rcode is an answer.
  // Errors: invalid (the name), timeout, cancelled, refused, closed, protocol (an answer that is
  // malformed), io.
  Result<Message> ask(const io::Address& server, const Question& question, bool recurse,
                      const Deadline& by);

  // Over TCP: sends `wire` as it is; the answer's bytes, unread. Errors: as above.
  Result<std::string> send(const io::Address& server, std::string_view wire, const Deadline& by);

  // For messages: nobody can guess it.
  static std::uint16_t random_id();

 private:
  Result<Message> ask_by_datagram(const io::Address& server, std::string_view query,
                                  const Deadline& by);

  io::Poll poll_;
};

}  // namespace proxycore::dns
