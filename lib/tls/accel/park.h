// Parking: an established connection that waits for its peer gives its record buffers back.
//
// mbedTLS keeps 2 x 16 KiB of them for a connection's whole life, and for TLS 1.3 what was needed
// during the handshake too (4 KiB). park() moves the buffers, wiped, into a pool of the thread, and
// frees the leftovers (the certificate a client verified among them: mbedtls_ssl_get_peer_cert()
// has none then); what stays of a connection is below 2 KiB. unpark() takes buffers again. It is up
// to the engine when: a good moment is the end of a loop's turn in which nothing came. Does nothing
// with a packaged mbedTLS: it relies on the sources in subprojects/. Thread: the context's; buffers
// go to the pool of the thread that parks, and come from the one that unparks.
#pragma once

struct mbedtls_ssl_context;

namespace proxycore::tls {

// Also during the handshake, which keeps what it needs. Does nothing within a record or message, or
// while ciphertext is to be sent.
// Returns whether it is parked now. Views from read_record() end here.
bool park(mbedtls_ssl_context& ssl);

// Before any call on the context but write_record() and mbedtls_ssl_free(). Nothing if not parked.
void unpark(mbedtls_ssl_context& ssl);

}  // namespace proxycore::tls
