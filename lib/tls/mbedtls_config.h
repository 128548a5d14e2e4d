// What mbedTLS is built with, on top of its default configuration (MBEDTLS_USER_CONFIG_FILE).
//
// TLS 1.2 and 1.3 need what the defaults leave out for small devices: threads, growing buffers, and
// PSA as the one provider of primitives, which accel/ replaces underneath. No sockets and no timing
// module: bytes and clocks are the callers' (io/). Not here: what is decided per connection.
#pragma once

// Says that this is the library whose sources we know (accel/park.h), not a packaged one.
#define PROXYCORE_BUNDLED_MBEDTLS

#define MBEDTLS_THREADING_C
#define MBEDTLS_THREADING_PTHREAD
#define MBEDTLS_USE_PSA_CRYPTO
#define MBEDTLS_SSL_PROTO_TLS1_3
#define MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH

// Its counters of the tests in it are shared by threads, and not guarded.
#undef MBEDTLS_SELF_TEST

#undef MBEDTLS_NET_C
#undef MBEDTLS_TIMING_C
#undef MBEDTLS_SSL_PROTO_DTLS
#undef MBEDTLS_SSL_DTLS_ANTI_REPLAY
#undef MBEDTLS_SSL_DTLS_HELLO_VERIFY
#undef MBEDTLS_SSL_DTLS_CLIENT_PORT_REUSE
#undef MBEDTLS_SSL_DTLS_CONNECTION_ID
#undef MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT
