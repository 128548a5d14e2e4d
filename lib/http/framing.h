// framing: where a message begins and ends and whom it is for; once, for reading and for writing.
//
// Pure functions. llhttp splits a message into fields and chunks and refuses bare CR and LF,
// control characters, obs-fold and blanks before colons; what else could make two recipients
// disagree about a message is decided here: start lines, request-target forms, Host,
// Content-Length against Transfer-Encoding, which statuses have content, persistence, trailers.
// Everything ambiguous is refused, never repaired.
// Source: RFC 9112 §2-§7, §9.3; RFC 9110 §6.4-§6.5, §7.2, §7.8. Thread: any.
#pragma once

#include "http/codec.h"
#include "http/head.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace proxycore::http::framing {

// What is wrong with a message, with the status to answer (502 for responses); nullopt: nothing.
using Fault = std::optional<Reset>;

// Take `line` apart (without its CRLF) into head.method, target as received and version, or
// head.status, reason and version (RFC 9112 §3, §4). HTTP/1.2 and later minors count as 1.1.
Fault read_request_line(std::string_view line, const Limits& limits, Head& head);
Fault read_status_line(std::string_view line, Head& head);

// Of either version: what may be a method, and the characters and the size of a target.
Fault check_method(std::string_view method);
Fault check_target(std::string_view target, const Limits& limits);

// Once all fields are there: sets target, authority, framing, content_length and upgrade of a
// request (RFC 9112 §3.2, §3.3, §6.3), or framing, content_length and upgrade of a response.
// `to_head`: it answers a HEAD request.
Fault settle_request(Head& head, const Limits& limits);
Fault settle_response(Head& head, bool to_head);

// Whether the sender of `head` leaves the connection open after the message (RFC 9112 §9.3).
bool persistent(const Head& head) noexcept;

// A response that never has content (RFC 9112 §6.3).
constexpr bool bodiless(std::uint16_t status, bool to_head) noexcept {
  return status < 200 || status == 204 || status == 304 || to_head;
}

// How a message is delimited when it is written to a peer of that version. Content of unknown
// length is chunked, or ends with the connection for an HTTP/1.0 client.
Framing on_wire(const Head& head, Version peer, bool to_head) noexcept;

// Removes the trailer fields that would be taken for something else when merged into a head
// (RFC 9110 §6.5.1): framing, routing, authentication, content and connection fields.
void drop_forbidden_trailers(Fields& trailers);

// uri-host [ ":" port ] (RFC 9110 §7.2), without userinfo; the host is not empty.
bool is_authority(std::string_view text) noexcept;

}  // namespace proxycore::http::framing
