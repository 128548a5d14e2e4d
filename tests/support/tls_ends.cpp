#include "support/tls_ends.h"

#include "tls/accel/park.h"
#include "tls/accel/private_key.h"
#include "tls/accel/random.h"
#include "tls/accel/record.h"
#include "tls/accel/start.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace proxycore::test {

struct TlsSession {
  SSL_SESSION* openssl = nullptr;
  mbedtls_ssl_session* mbedtls = nullptr;

  TlsSession() = default;
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession() {
    SSL_SESSION_free(openssl);
    if (mbedtls == nullptr) return;
    mbedtls_ssl_session_free(mbedtls);
    delete mbedtls;
  }
};

namespace {

// These ends are made for tests: what cannot happen there ends the program.
void must(bool fine, const char* what) {
  if (fine) return;
  std::fprintf(stderr, "tls_ends: %s\n", what);
  std::abort();
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

Identity make_identity(KeyKind kind) {
  EVP_PKEY* const key = kind == KeyKind::rsa    ? EVP_RSA_gen(2048)
                        : kind == KeyKind::p256 ? EVP_EC_gen("P-256")
                                                : EVP_EC_gen("P-384");
  X509* const leaf = X509_new();
  must(key != nullptr && leaf != nullptr, "no key");
  X509_set_version(leaf, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(leaf), 1);
  X509_gmtime_adj(X509_getm_notBefore(leaf), -3600);
  X509_gmtime_adj(X509_getm_notAfter(leaf), 86400);
  X509_set_pubkey(leaf, key);
  X509_NAME* const name = X509_get_subject_name(leaf);
  const auto* const common_name = reinterpret_cast<const unsigned char*>("example.test");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
  X509_set_issuer_name(leaf, name);
  X509_EXTENSION* const names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:example.test");
  X509_add_ext(leaf, names, -1);
  X509_EXTENSION_free(names);
  must(X509_sign(leaf, key, EVP_sha256()) > 0, "no certificate");
  BIO* const chain = BIO_new(BIO_s_mem());
  BIO* const secret = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(chain, leaf);
  PEM_write_bio_PrivateKey(secret, key, nullptr, nullptr, 0, nullptr, nullptr);
  X509_free(leaf);
  EVP_PKEY_free(key);
  return {text_of(chain), text_of(secret)};
}

class OpensslEnd final : public TlsEnd {
 public:
  OpensslEnd(SSL_CTX* context, bool client, const std::shared_ptr<TlsSession>& resume)
      : ssl_(SSL_new(context)) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_, in_, out_);
    client ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
    if (resume == nullptr) return;
    // A copy: OpenSSL marks a session bad when its connection ends without close_notify.
    SSL_SESSION* const session = SSL_SESSION_dup(resume->openssl);
    SSL_set_session(ssl_, session);
    SSL_SESSION_free(session);
  }
  OpensslEnd(const OpensslEnd&) = delete;
  OpensslEnd& operator=(const OpensslEnd&) = delete;
  ~OpensslEnd() override { SSL_free(ssl_); }

  bool handshake() override {
    take();
    const int result = SSL_do_handshake(ssl_);
    give();
    if (result == 1) return true;
    note(result);
    return false;
  }
  void write(std::string_view plain) override {
    must(SSL_write(ssl_, plain.data(), static_cast<int>(plain.size())) ==
             static_cast<int>(plain.size()),
         "OpenSSL does not write");
    give();
  }
  std::string_view read() override {
    thread_local std::array<char, 16 << 10> plain;
    take();
    const int got = SSL_read(ssl_, plain.data(), static_cast<int>(plain.size()));
    give();
    if (got > 0) return {plain.data(), static_cast<std::size_t>(got)};
    note(got);
    return {};
  }
  void close() override {
    SSL_shutdown(ssl_);
    give();
  }
  [[nodiscard]] bool resumed() const override { return SSL_session_reused(ssl_) == 1; }
  [[nodiscard]] std::string version() const override { return SSL_get_version(ssl_); }
  std::shared_ptr<TlsSession> session() override {
    SSL_SESSION* const session = SSL_get1_session(ssl_);
    if (session == nullptr) return nullptr;
    if (SSL_SESSION_is_resumable(session) == 0) {
      SSL_SESSION_free(session);
      return nullptr;
    }
    auto kept = std::make_shared<TlsSession>();
    kept->openssl = SSL_SESSION_dup(session);
    SSL_SESSION_free(session);
    return kept;
  }

 private:
  void take() {
    if (in.empty()) return;
    BIO_write(in_, in.data(), static_cast<int>(in.size()));
    in.clear();
  }
  void give() {
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    if (size <= 0) return;
    out.append(data, static_cast<std::size_t>(size));
    (void)BIO_reset(out_);
  }
  void note(int result) {
    const int why = SSL_get_error(ssl_, result);
    if (why == SSL_ERROR_ZERO_RETURN) ended = true;
    if (why == SSL_ERROR_SSL || why == SSL_ERROR_SYSCALL) {
      std::array<char, 256> text{};
      ERR_error_string_n(ERR_get_error(), text.data(), text.size());
      error = text.data();
    }
    ERR_clear_error();
  }

  SSL* ssl_;
  BIO* in_;
  BIO* out_;
};

class Openssl final : public TlsMaker {
 public:
  explicit Openssl(const TlsOptions& options)
      : context_(SSL_CTX_new(options.client ? TLS_client_method() : TLS_server_method())),
        client_(options.client) {
    SSL_CTX_set_min_proto_version(context_, options.version);
    SSL_CTX_set_max_proto_version(context_, options.version);
    SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
    if (!options.group.empty())
      must(SSL_CTX_set1_groups_list(context_, options.group.c_str()) == 1, "no such group");
    if (!options.suite.empty()) {
      const bool set = options.version == TLS1_3_VERSION
                           ? SSL_CTX_set_ciphersuites(context_, options.suite.c_str()) == 1
                           : SSL_CTX_set_cipher_list(context_, options.suite.c_str()) == 1;
      must(set, "no such suite");
    }
    // Tickets, not sessions kept here.
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    if (options.identity == nullptr) return;
    BIO* const chain = BIO_new_mem_buf(options.identity->chain_pem.data(), -1);
    X509* const leaf = PEM_read_bio_X509(chain, nullptr, nullptr, nullptr);
    BIO* const secret = BIO_new_mem_buf(options.identity->key_pem.data(), -1);
    EVP_PKEY* const key = PEM_read_bio_PrivateKey(secret, nullptr, nullptr, nullptr);
    must(SSL_CTX_use_certificate(context_, leaf) == 1 && SSL_CTX_use_PrivateKey(context_, key) == 1,
         "OpenSSL does not take the certificate");
    X509_free(leaf);
    EVP_PKEY_free(key);
    BIO_free(chain);
    BIO_free(secret);
  }
  Openssl(const Openssl&) = delete;
  Openssl& operator=(const Openssl&) = delete;
  ~Openssl() override { SSL_CTX_free(context_); }

  std::unique_ptr<TlsEnd> make(const std::shared_ptr<TlsSession>& resume) override {
    return std::make_unique<OpensslEnd>(context_, client_, resume);
  }

 private:
  SSL_CTX* context_;
  bool client_;
};

class MbedtlsEnd final : public TlsEnd {
 public:
  MbedtlsEnd(const mbedtls_ssl_config& config, bool client,
             const std::shared_ptr<TlsSession>& resume)
      : client_(client) {
    mbedtls_ssl_init(&ssl_);
    must(mbedtls_ssl_setup(&ssl_, &config) == 0, "no context");
    mbedtls_ssl_set_bio(&ssl_, this, send, receive, nullptr);
    if (client) must(mbedtls_ssl_set_hostname(&ssl_, "example.test") == 0, "no name");
    if (resume != nullptr)
      must(mbedtls_ssl_set_session(&ssl_, resume->mbedtls) == 0, "the session is not taken");
  }
  MbedtlsEnd(const MbedtlsEnd&) = delete;
  MbedtlsEnd& operator=(const MbedtlsEnd&) = delete;
  ~MbedtlsEnd() override { mbedtls_ssl_free(&ssl_); }

  bool handshake() override {
    tls::unpark(ssl_);
    const int result = mbedtls_ssl_handshake(&ssl_);
    tidy();
    if (result == 0) return true;
    note(result);
    return false;
  }
  void write(std::string_view plain) override {
    while (!plain.empty()) {
      const std::size_t before = out.size();
      const std::size_t taken = std::min<std::size_t>(plain.size(), 16 << 10);
      out.resize(before + taken + tls::record_overhead);
      std::size_t size = 0;
      const int result = tls::write_record(ssl_, plain.substr(0, taken),
                                           {out.data() + before, out.size() - before}, size);
      must(result > 0, "mbedTLS does not write");
      out.resize(before + size);
      plain.remove_prefix(static_cast<std::size_t>(result));
    }
  }
  std::string_view read() override {
    tls::unpark(ssl_);
    for (;;) {
      std::string_view plain;
      const int result = tls::read_record(ssl_, plain);
      tidy();
      if (result > 0) return plain;
      if (result == 0 || (result == MBEDTLS_ERR_SSL_WANT_READ && !in.empty())) continue;
      if (result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
        keep_session();
        continue;
      }
      note(result);
      return {};
    }
  }
  void idle() override { tls::park(ssl_); }
  void close() override {
    tls::unpark(ssl_);
    mbedtls_ssl_close_notify(&ssl_);
  }
  // mbedTLS does not say; the tests ask the other end.
  [[nodiscard]] bool resumed() const override { return false; }
  [[nodiscard]] std::string version() const override { return mbedtls_ssl_get_version(&ssl_); }
  std::shared_ptr<TlsSession> session() override {
    if (session_ == nullptr && client_) keep_session();
    return session_;
  }
  mbedtls_ssl_context& context() { return ssl_; }

 private:
  static int send(void* end, const unsigned char* data, std::size_t size) {
    static_cast<MbedtlsEnd*>(end)->out.append(reinterpret_cast<const char*>(data), size);
    return static_cast<int>(size);
  }
  static int receive(void* of, unsigned char* data, std::size_t size) {
    auto* const end = static_cast<MbedtlsEnd*>(of);
    const std::size_t got = std::min(size, end->in.size() - end->taken_);
    if (got == 0) return MBEDTLS_ERR_SSL_WANT_READ;
    std::memcpy(data, end->in.data() + end->taken_, got);
    end->taken_ += got;
    return static_cast<int>(got);
  }
  // Input is dropped at once when all is taken, and not piece by piece.
  void tidy() {
    if (taken_ < in.size()) return;
    in.clear();
    taken_ = 0;
  }
  void note(int result) {
    if (result == MBEDTLS_ERR_SSL_WANT_READ) return;
    if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
      ended = true;
      return;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "mbedTLS: -0x%04x", static_cast<unsigned>(-result));
    error = text.data();
  }
  void keep_session() {
    auto kept = std::make_shared<TlsSession>();
    kept->mbedtls = new mbedtls_ssl_session;
    mbedtls_ssl_session_init(kept->mbedtls);
    if (mbedtls_ssl_get_session(&ssl_, kept->mbedtls) == 0) session_ = std::move(kept);
  }

  mbedtls_ssl_context ssl_;
  bool client_;
  std::size_t taken_ = 0;
  std::shared_ptr<TlsSession> session_;
};

class Mbedtls final : public TlsMaker {
 public:
  explicit Mbedtls(const TlsOptions& options) : client_(options.client) {
    tls::start_crypto();
    mbedtls_ssl_config_init(&config_);
    mbedtls_x509_crt_init(&chain_);
    mbedtls_pk_init(&key_);
    mbedtls_ssl_ticket_init(&tickets_);
    must(mbedtls_ssl_config_defaults(&config_,
                                     client_ ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
                                     MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) == 0,
         "no configuration");
    mbedtls_ssl_conf_rng(&config_, tls::random_bytes, nullptr);
    const auto version = static_cast<mbedtls_ssl_protocol_version>(options.version);
    mbedtls_ssl_conf_min_tls_version(&config_, version);
    mbedtls_ssl_conf_max_tls_version(&config_, version);
    if (client_) {
      mbedtls_ssl_conf_authmode(&config_, MBEDTLS_SSL_VERIFY_NONE);
      mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
          &config_, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
      return;
    }
    must(mbedtls_ssl_ticket_setup(&tickets_, tls::random_bytes, nullptr, MBEDTLS_CIPHER_AES_256_GCM,
                                  86400) == 0,
         "no tickets");
    mbedtls_ssl_conf_session_tickets_cb(&config_, mbedtls_ssl_ticket_write,
                                        mbedtls_ssl_ticket_parse, &tickets_);
    const std::string& pem = options.identity->chain_pem;
    must(mbedtls_x509_crt_parse(&chain_, reinterpret_cast<const unsigned char*>(pem.c_str()),
                                pem.size() + 1) == 0,
         "the chain is not taken");
    must(bool(tls::import_private_key(options.identity->key_pem, key_)), "the key is not taken");
    must(mbedtls_ssl_conf_own_cert(&config_, &chain_, &key_) == 0, "no certificate");
  }
  Mbedtls(const Mbedtls&) = delete;
  Mbedtls& operator=(const Mbedtls&) = delete;
  ~Mbedtls() override {
    mbedtls_ssl_config_free(&config_);
    mbedtls_x509_crt_free(&chain_);
    tls::free_private_key(key_);
    mbedtls_ssl_ticket_free(&tickets_);
  }

  std::unique_ptr<TlsEnd> make(const std::shared_ptr<TlsSession>& resume) override {
    return std::make_unique<MbedtlsEnd>(config_, client_, resume);
  }

 private:
  mbedtls_ssl_config config_;
  mbedtls_x509_crt chain_;
  mbedtls_pk_context key_;
  mbedtls_ssl_ticket_context tickets_;
  bool client_;
};

}  // namespace

const Identity& identity(KeyKind kind) {
  static const Identity p256 = make_identity(KeyKind::p256);
  static const Identity p384 = make_identity(KeyKind::p384);
  static const Identity rsa = make_identity(KeyKind::rsa);
  return kind == KeyKind::p256 ? p256 : kind == KeyKind::p384 ? p384 : rsa;
}

std::unique_ptr<TlsMaker> openssl(const TlsOptions& options) {
  return std::make_unique<Openssl>(options);
}

std::unique_ptr<TlsMaker> mbedtls(const TlsOptions& options) {
  return std::make_unique<Mbedtls>(options);
}

mbedtls_ssl_context& context_of(TlsEnd& end) {
  return dynamic_cast<MbedtlsEnd&>(end).context();
}

void exchange(TlsEnd& one, TlsEnd& other) {
  other.in.append(one.out);
  one.out.clear();
  one.in.append(other.out);
  other.out.clear();
}

bool shake_hands(TlsEnd& client, TlsEnd& server) {
  bool opened = false;
  bool accepted = false;
  for (int flight = 0; flight < 8 && !(opened && accepted); ++flight) {
    if (!opened) opened = client.handshake();
    exchange(client, server);
    if (!accepted) accepted = server.handshake();
    exchange(client, server);
    if (!client.error.empty() || !server.error.empty()) return false;
  }
  return opened && accepted;
}

std::string deliver(TlsEnd& from, TlsEnd& to) {
  to.in.append(from.out);
  from.out.clear();
  std::string all;
  for (std::string_view part = to.read(); !part.empty(); part = to.read()) all.append(part);
  return all;
}

}  // namespace proxycore::test
