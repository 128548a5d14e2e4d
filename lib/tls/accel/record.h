// Records without copies: application data of an established connection, read and written in place.
//
// mbedtls_ssl_read() copies the plaintext out of the record buffer and wipes it, and
// mbedtls_ssl_write() builds the record in a buffer of its own, from where f_send copies it. Here
// the plaintext is seen where it was decrypted, and a record is built where it is to leave from.
// Both use members of the context that mbedTLS 3.6 calls private: they are the same in every
// release of it. Only after the handshake; everything else (alerts, post-handshake messages) goes
// the usual way through f_send and f_recv. Thread: the context's.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

struct mbedtls_ssl_context;

namespace proxycore::tls {

// The next record's plaintext, all of it; the record counts as read.
// `plain` stays valid until the context reads again, is parked, or is freed; writing is allowed.
// Returns the size (> 0), 0 after a record without any (call again), or what mbedtls_ssl_read()
// does: MBEDTLS_ERR_SSL_WANT_READ (also after a warning alert: call again while there is input),
// MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, ... f_recv never returns 0. Not while parked.
int read_record(mbedtls_ssl_context& ssl, std::string_view& plain);

// What a record may need beyond its plaintext, whatever the version and the suite.
inline constexpr std::size_t record_overhead = 64;

// One record with as much of `plain` as there is room for (at most 16 KiB), built at the start of
// `room`, which is larger than record_overhead. f_send is not called. Allowed while parked.
// Returns how much of `plain` the record holds (> 0) and its whole size in `written`, or an mbedTLS
// error, after which the connection cannot go on. `plain` is not empty and lies outside `room`.
int write_record(mbedtls_ssl_context& ssl, std::string_view plain, std::span<char> room,
                 std::size_t& written);

}  // namespace proxycore::tls
