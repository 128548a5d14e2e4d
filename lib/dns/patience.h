// Sending a request to a vendor that may ask for patience (429, 503): a short wait is waited, a
// long one is told.
//
// Not here: what an answer means (vendor_api, plugin). Source: RFC 6585 §4, RFC 9110 §10.2.3.
// Thread: as HttpClient; blocks.
#pragma once

#include "client/http_client.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace proxycore::dns {

inline constexpr Millis longest_wait{30'000};  // inside a call
inline constexpr Millis one_answer{30'000};    // one that does not come must not take all the time
inline constexpr int tries = 4;                // of a request that is asked to come back

struct Sent {
  client::Response response;
  bool busy = false;                          // it is 429 or 503 still
  std::optional<std::uint32_t> asked_s = {};  // how long it asks to wait
};

// Waits as the vendor asks, or 1, 2 and 4 seconds where it does not say. `reset_header` is a field
// that with 429 tells when it is over, in seconds since 1970; empty: there is none.
// Errors: those of HttpClient.
Result<Sent> send_patiently(client::HttpClient& http, const client::Request& request,
                            std::string_view reset_header, const Deadline& by);

}  // namespace proxycore::dns
