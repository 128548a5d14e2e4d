#include "tls/accel/leftovers.h"

#include <stdlib.h>

#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <mbedtls/platform.h>
#include <ssl_misc.h>

const size_t proxycore_record_buffer_size = MBEDTLS_SSL_IN_BUFFER_LEN;
_Static_assert(MBEDTLS_SSL_IN_BUFFER_LEN == MBEDTLS_SSL_OUT_BUFFER_LEN, "one pool for both");

void proxycore_free_leftovers(struct mbedtls_ssl_context* ssl) {
  if (ssl->session != NULL && ssl->session->peer_cert != NULL) {
    mbedtls_x509_crt_free(ssl->session->peer_cert);
    mbedtls_free(ssl->session->peer_cert);
    ssl->session->peer_cert = NULL;
  }
  if (ssl->handshake == NULL) return;
  mbedtls_ssl_handshake_free(ssl);
  mbedtls_free(ssl->handshake);
  ssl->handshake = NULL;
  // mbedtls_ssl_free() looks after this one only where it finds a handshake.
  mbedtls_ssl_transform_free(ssl->transform_negotiate);
  mbedtls_free(ssl->transform_negotiate);
  ssl->transform_negotiate = NULL;
}

void proxycore_stand_in_handshake(struct mbedtls_ssl_context* ssl) {
  if (ssl->tls_version != MBEDTLS_SSL_VERSION_TLS1_3 || ssl->handshake != NULL ||
      ssl->conf->endpoint != MBEDTLS_SSL_IS_CLIENT)
    return;
  ssl->handshake = mbedtls_calloc(1, sizeof *ssl->handshake);
  if (ssl->handshake == NULL) abort();
}
