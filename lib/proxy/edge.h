// edge: the replies made here instead of by an origin. Small pages, or JSON by Accept.
//
// They name the request's id and never an address of ours or of a target.
// Source: RFC 9110 §15, RFC 9457. Thread: any.
#pragma once

#include "http/head.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::proxy::edge {

// The standard phrase of a status: "Not Found"; "" if it has none.
std::string_view reason(std::uint16_t status) noexcept;

// Fills `head` and `body` with the error reply to `request`; the body is left empty for HEAD, and
// the head tells the length it would have had.
void error(const http::Head& request, std::uint16_t status, std::string_view id,
           std::string_view date, http::Head& head, std::string& body);

// The reply to an OPTIONS request that is not to be passed on (RFC 9110 §7.6.2, §9.3.7).
void options(std::string_view id, std::string_view date, http::Head& head);

// What the targets of HTTP-01 challenges begin with (RFC 8555 §8.3); a token follows.
inline constexpr std::string_view challenge_path = "/.well-known/acme-challenge/";

// The redirect to the same place over TLS, at `port`: 301, or 308 where the method has to stay
// (RFC 9110 §15.4.9). `host` is the canonical name; query and escapes stay as they are.
void to_tls(const http::Head& request, std::string_view host, std::uint16_t port,
            std::string_view id, std::string_view date, http::Head& head);

}  // namespace proxycore::proxy::edge
