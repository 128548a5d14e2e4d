// The part of parking that needs mbedTLS's internal header, which is C and no C++.
//
// TLS 1.3 connections keep the handshake's state for ever: the client's code for tickets that come
// later wants one to be there, nothing else of an established connection does. And whoever verified
// a certificate keeps a copy of it.
// Not here: when to park (park.h). Thread: the context's.
#pragma once

#include <stddef.h>

struct mbedtls_ssl_context;

#ifdef __cplusplus
extern "C" {
#endif

extern const size_t proxycore_record_buffer_size;

// The handshake's state and the peer's certificate. Precondition: the handshake is over.
void proxycore_free_leftovers(struct mbedtls_ssl_context* ssl);
// An empty one where mbedTLS is going to look into it.
void proxycore_stand_in_handshake(struct mbedtls_ssl_context* ssl);

#ifdef __cplusplus
}
#endif
