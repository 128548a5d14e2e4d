// rewrite: what changes in a head on its way through the proxy. Pure functions.
//
// Hop-by-hop fields go (RFC 9110 §7.6.1); the forwarding fields are set: X-Forwarded-For, -Proto,
// -Host, X-Real-IP, Forwarded (RFC 7239), Via (§7.6.3), X-Request-Id. Incoming ones are believed
// only from trusted peers.
// Not here: Content-Length, Transfer-Encoding, Connection, which the codec writes from the framing.
// Thread: any.
#pragma once

#include "http/head.h"
#include "io/address.h"
#include <proxycore/host.h>

#include <string>
#include <string_view>
#include <vector>

namespace proxycore::proxy {

// Whose word we take for what they forward.
struct Trust {
  std::vector<io::Network> networks;
  bool unix_peers = false;

  [[nodiscard]] bool trusts(const io::Address& peer) const noexcept;
};

// What is known of the client's side of a connection.
struct ClientInfo {
  std::string peer;      // "192.0.2.1", "2001:db8::1"; "unix" for a Unix socket
  bool trusted = false;  // a proxy whose forwarding fields are believed
  bool tls = false;
};

namespace rewrite {

// The client as the exchange and the origin shall know it: the peer, or, behind trusted proxies,
// the last address of X-Forwarded-For that is not a trusted one. The view is into `head` or
// `client`.
std::string_view client_address(const http::Head& head, const ClientInfo& client,
                                const Trust& trust);

// Whether the client's own side is TLS, as far as we may know.
bool is_secure(const http::Head& head, const ClientInfo& client);

// Whether the request asks not to be passed on any further (RFC 9110 §7.6.2).
bool is_last_hop(const http::Head& head);

// `address` is that of client_address(); `via` our name; `id` the request's id. An upgrade to HTTP
// itself is taken out: what follows it would pass us unseen.
void request(http::Head& head, const ClientInfo& client, std::string_view address,
             std::string_view via, std::string_view id);
// The request's own view of Host, if the route does not pass it on.
void point_at(http::Head& head, const Route& route, const Target& target);
// 1xx but 101.
void interim(http::Head& head);
void response(http::Head& head, std::string_view id, std::string_view date);
// Tells browsers to come over TLS only from now on (RFC 6797 §6.1), unless the origin does.
void strict_transport(http::Head& head);

}  // namespace rewrite
}  // namespace proxycore::proxy
