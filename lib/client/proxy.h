// Proxy: an HTTP proxy that requests are sent through: "http://user:password@proxy.example:3128".
//
// Targets of https are reached through a tunnel, within which TLS is verified as it is without one;
// those of http are asked for by their whole url. The password is in no error and no log.
// Not here: what is said within a tunnel (http_client). Source: RFC 9110 §9.3.6, §11.7; RFC 7617.
// Thread: a value; open_tunnel blocks.
#pragma once

#include "client/url.h"
#include "io/blocking.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <string>
#include <string_view>

namespace proxycore::client {

struct Proxy {
  std::string url;               // as it was given; a secret
  Url at;                        // where it is
  std::string credentials = {};  // of Proxy-Authorization: "Basic ..."; empty: none

  // Errors: invalid (which part, and what was expected there; the text itself is not repeated).
  static Result<Proxy> parse(std::string_view text);
};

// From then on `socket`, which leads to the proxy, leads to `target`. Errors: denied (it wants
// other credentials, or does not let us there), refused (it does not reach the target), closed,
// protocol, limit, timeout, cancelled, io.
Result<void> open_tunnel(const io::Fd& socket, io::Poll& poll, const Proxy& proxy,
                         const Url& target, const Deadline& by);

}  // namespace proxycore::client
