// h1_write: messages as HTTP/1.1 puts them on the wire: heads, chunks, trailers.
//
// The codec decides how a message is delimited; here it becomes bytes at the end of a Chain. The
// fields that frame a message or belong to the connection are written from what the codec says,
// whatever the head's fields contain. Values are written as they are: who makes them keeps line
// ends out of them.
// Source: RFC 9112 §3, §4, §7.1; RFC 9110 §7.6.1. Thread: any, one at a time per Chain.
#pragma once

#include "base/chain.h"
#include "http/head.h"

#include <cstdint>
#include <string_view>

namespace proxycore::http {

// What a head does not say itself.
struct Wire {
  Framing framing = Framing::none;  // none: the message has no content here
  bool persistent = true;           // false: Connection: close
  bool http10 = false;              // the client speaks HTTP/1.0, where persistence is asked for
};

// Field names keep their case; Host comes first in a request, from head.authority. Without a
// reason, the standard one is written.
void append_head(base::Chain& out, const Head& head, const Wire& wire);
// One chunk; nothing when `part` is empty, as that would be the last one.
void append_chunk(base::Chain& out, const base::Bytes& part);
// The last chunk and what follows it.
void append_last_chunk(base::Chain& out, const Fields& trailers = {});

// The length that a written Content-Length states: none counts as 0.
constexpr std::uint64_t length_of(const Head& head) noexcept {
  return head.framing == Framing::length ? head.content_length : 0;
}

// "Not Found"; empty when the status is not a usual one.
std::string_view reason_of(std::uint16_t status) noexcept;

}  // namespace proxycore::http
