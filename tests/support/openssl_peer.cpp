#include "support/openssl_peer.h"

#include <utility>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

namespace proxycore::test {

struct OpensslSession {
  SSL_SESSION* session = nullptr;
  ~OpensslSession() { SSL_SESSION_free(session); }
};

struct OpensslPeer::Parts {
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  BIO* to_ssl = nullptr;
  BIO* from_ssl = nullptr;
  std::string alpn;  // as on the wire
  std::shared_ptr<OpensslSession> session;

  ~Parts() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  static int on_session(SSL* ssl, SSL_SESSION* session) {
    auto* parts = static_cast<Parts*>(SSL_get_app_data(ssl));
    parts->session = std::make_shared<OpensslSession>();
    parts->session->session = session;
    return 1;  // it is ours
  }
  static int choose_protocol(SSL*, const unsigned char** out, unsigned char* size,
                             const unsigned char* in, unsigned in_size, void* self) {
    auto* parts = static_cast<Parts*>(self);
    unsigned char* chosen = nullptr;
    const int found = SSL_select_next_proto(
        &chosen, size, reinterpret_cast<const unsigned char*>(parts->alpn.data()),
        static_cast<unsigned>(parts->alpn.size()), in, in_size);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
  }
};

namespace {
X509* read_certificate(BIO* from) {
  return PEM_read_bio_X509(from, nullptr, nullptr, nullptr);
}

void present(SSL_CTX* context, const CertBundle& bundle) {
  BIO* chain = BIO_new_mem_buf(bundle.chain_pem.data(), static_cast<int>(bundle.chain_pem.size()));
  X509* first = read_certificate(chain);
  REQUIRE(SSL_CTX_use_certificate(context, first) == 1);
  X509_free(first);
  while (X509* next = read_certificate(chain)) SSL_CTX_add_extra_chain_cert(context, next);
  ERR_clear_error();
  BIO_free(chain);
  BIO* bio = BIO_new_mem_buf(bundle.key_pem.data(), static_cast<int>(bundle.key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  REQUIRE(SSL_CTX_use_PrivateKey(context, key) == 1);
  EVP_PKEY_free(key);
}

void trust(SSL_CTX* context, const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* authority = read_certificate(bio);
  BIO_free(bio);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority);
  X509_free(authority);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}
}  // namespace

OpensslPeer::OpensslPeer(const OpensslOptions& options) : parts_(std::make_unique<Parts>()) {
  SSL_CTX* context = SSL_CTX_new(options.server ? TLS_server_method() : TLS_client_method());
  parts_->context = context;
  SSL_CTX_set_security_level(context, 0);  // it may offer what we refuse
  SSL_CTX_set_min_proto_version(context, options.min_version);
  SSL_CTX_set_max_proto_version(context, options.max_version);
  SSL_CTX_set_max_send_fragment(context, static_cast<long>(options.record_size));
  SSL_CTX_clear_options(context, SSL_OP_NO_RENEGOTIATION);
  if (!options.groups.empty()) {
    REQUIRE(SSL_CTX_set1_groups_list(context, options.groups.c_str()) == 1);
  }
  if (!options.signatures.empty()) {
    REQUIRE(SSL_CTX_set1_sigalgs_list(context, options.signatures.c_str()) == 1);
  }
  if (!options.suites.empty()) {
    REQUIRE(SSL_CTX_set_ciphersuites(context, options.suites.c_str()) == 1);
  }
  if (!options.old_suites.empty()) {
    REQUIRE(SSL_CTX_set_cipher_list(context, options.old_suites.c_str()) == 1);
  }
  if (!options.tickets) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  for (const std::string& name : options.alpn) {
    parts_->alpn += static_cast<char>(name.size()) + name;
  }
  if (options.server) {
    present(context, options.certificate);
    SSL_CTX_set_alpn_select_cb(context, &Parts::choose_protocol, parts_.get());
  } else {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &Parts::on_session);
    if (!options.authority.empty()) trust(context, options.authority);
  }
  SSL* ssl = SSL_new(context);
  parts_->ssl = ssl;
  SSL_set_app_data(ssl, parts_.get());
  parts_->to_ssl = BIO_new(BIO_s_mem());
  parts_->from_ssl = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(parts_->to_ssl, -1);
  SSL_set_bio(ssl, parts_->to_ssl, parts_->from_ssl);
  if (options.server) {
    SSL_set_accept_state(ssl);
    return;
  }
  SSL_set_connect_state(ssl);
  if (!parts_->alpn.empty()) {
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(parts_->alpn.data()),
                        static_cast<unsigned>(parts_->alpn.size()));
  }
  if (!options.server_name.empty()) {
    std::string name =
        options.server_name;  // what SSL_set_tlsext_host_name() does, without its cast
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
  }
  if (options.resume) SSL_set_session(ssl, options.resume->session);
}

OpensslPeer::~OpensslPeer() {
  // As after a proper end, or OpenSSL takes the session for a broken one.
  SSL_set_shutdown(parts_->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

void OpensslPeer::step() {
  BIO_write(parts_->to_ssl, in.data(), static_cast<int>(in.size()));
  in.clear();
  ERR_clear_error();
  int status = 1;
  if (!open()) status = SSL_do_handshake(parts_->ssl);
  char room[16384];
  while (status > 0 && open()) {
    status = SSL_read(parts_->ssl, room, sizeof room);
    if (status > 0) received.append(room, static_cast<std::size_t>(status));
  }
  if (status <= 0) {
    const int why = SSL_get_error(parts_->ssl, status);
    if (why == SSL_ERROR_SSL && error_.empty()) {
      error_ = ERR_reason_error_string(ERR_peek_last_error());
    }
  }
  collect();
}

void OpensslPeer::collect() {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(parts_->from_ssl, &bytes);
  out.append(bytes, static_cast<std::size_t>(size));
  static_cast<void>(BIO_reset(parts_->from_ssl));
}

void OpensslPeer::write(std::string_view plain) {
  REQUIRE(SSL_write(parts_->ssl, plain.data(), static_cast<int>(plain.size())) ==
          static_cast<int>(plain.size()));
  collect();
}

void OpensslPeer::close() {
  SSL_shutdown(parts_->ssl);
  collect();
}

bool OpensslPeer::renegotiate() {
  if (SSL_renegotiate(parts_->ssl) != 1) return false;
  SSL_do_handshake(parts_->ssl);
  collect();
  return true;
}

void OpensslPeer::update_key() {
  SSL_key_update(parts_->ssl, SSL_KEY_UPDATE_REQUESTED);
  SSL_do_handshake(parts_->ssl);
  collect();
}

bool OpensslPeer::open() const {
  return SSL_is_init_finished(parts_->ssl) == 1;
}

bool OpensslPeer::ended() const {
  return (SSL_get_shutdown(parts_->ssl) & SSL_RECEIVED_SHUTDOWN) != 0 && error_.empty();
}

std::string OpensslPeer::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(parts_->ssl, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string OpensslPeer::version() const {
  return SSL_get_version(parts_->ssl);
}

std::string OpensslPeer::suite() const {
  return SSL_get_cipher_name(parts_->ssl);
}

std::string OpensslPeer::group() const {
  const char* name =
      SSL_group_to_name(parts_->ssl, static_cast<int>(SSL_get_negotiated_group(parts_->ssl)));
  return name != nullptr ? name : "";
}

std::string OpensslPeer::peer_key() const {
  X509* certificate = SSL_get0_peer_certificate(parts_->ssl);
  if (certificate == nullptr) return {};
  return EVP_PKEY_get0_type_name(X509_get0_pubkey(certificate));
}

bool OpensslPeer::resumed() const {
  return SSL_session_reused(parts_->ssl) == 1;
}

std::shared_ptr<OpensslSession> OpensslPeer::session() const {
  return parts_->session;
}

}  // namespace proxycore::test
