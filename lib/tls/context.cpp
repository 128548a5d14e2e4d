#include "tls/context.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/file.h"
#include "tls/accel/random.h"
#include "tls/accel/start.h"

#include <algorithm>
#include <span>
#include <utility>

#include <mbedtls/error.h>
#include <mbedtls/platform_time.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/x509_crt.h>

namespace proxycore::tls {

namespace {
// The preferred first: of TLS 1.2 the server chooses, of TLS 1.3 mbedTLS leaves it to the client.
constexpr int suites[] = {
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    0,
};
constexpr std::uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};
// The preferred first: PKCS #1 v1.5, which TLS 1.3 has only for certificates, comes before PSS, as
// mbedTLS does not understand an origin that signs with PSS in TLS 1.2. (A server goes by the
// client's order.)
constexpr std::uint16_t signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
    MBEDTLS_TLS1_3_SIG_NONE,
};
constexpr Millis longest_ticket{7LL * 86'400'000};  // RFC 8446 §4.6.1
constexpr std::int64_t clock_skew = 5'000;          // milliseconds between our machines
constexpr std::size_t most_authorities = 16 << 20;  // bytes of their file

Error failed(std::string_view operation, int status) {
  char why[160] = {};
  mbedtls_strerror(status, why, sizeof why);
  return Error{Errc::io, why}.within(operation);
}

// mbedTLS keeps a pointer to the list, which ends in a null.
struct Protocols {
  std::vector<std::string> names;
  std::vector<const char*> list;

  Result<void> set(const std::vector<std::string>& wanted, mbedtls_ssl_config& config) {
    names = wanted;
    for (const std::string& name : names) list.push_back(name.c_str());
    list.push_back(nullptr);
    if (names.empty()) return {};
    const bool fine = std::all_of(names.begin(), names.end(), [](const std::string& name) {
      return !name.empty() && name.size() <= 255 && name.find('\0') == std::string::npos;
    });
    if (!fine || mbedtls_ssl_conf_alpn_protocols(&config, list.data()) != 0) {
      return Error{Errc::invalid, "alpn: expected names of 1 to 255 bytes"};
    }
    return {};
  }
};

// What both roles have in common.
Result<void> set_up(mbedtls_ssl_config& config, int endpoint, TlsVersion min_version) {
  start_crypto();
  const int status = mbedtls_ssl_config_defaults(&config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT);
  if (status != 0) return failed("tls configuration", status);
  mbedtls_ssl_conf_rng(&config, random_bytes, nullptr);
  mbedtls_ssl_conf_min_tls_version(&config, min_version == TlsVersion::tls_1_3
                                                ? MBEDTLS_SSL_VERSION_TLS1_3
                                                : MBEDTLS_SSL_VERSION_TLS1_2);
  mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_3);
  mbedtls_ssl_conf_ciphersuites(&config, suites);
  mbedtls_ssl_conf_groups(&config, groups);
  mbedtls_ssl_conf_sig_algs(&config, signatures);
  // Forward secrecy also for what is resumed.
  mbedtls_ssl_conf_tls13_key_exchange_modes(&config,
                                            MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL |
                                                MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
  return {};
}

struct Config {
  Config() { mbedtls_ssl_config_init(&ssl); }
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;
  ~Config() { mbedtls_ssl_config_free(&ssl); }
  mbedtls_ssl_config ssl;
};
}  // namespace

struct ServerContext::Parts {
  Config config;
  Protocols protocols;
  std::shared_ptr<const TicketKeys> keys;
  std::string_view name;  // of the handshake that goes on
  Millis lifetime{0};     // zero: no tickets

  static int write_ticket(void* self, const mbedtls_ssl_session* session, unsigned char* start,
                          const unsigned char* end, std::size_t* size, std::uint32_t* lifetime_s);
  static int parse_ticket(void* self, mbedtls_ssl_session* session, unsigned char* ticket,
                          std::size_t size);
};

int ServerContext::Parts::write_ticket(void* self, const mbedtls_ssl_session* session,
                                       unsigned char* start, const unsigned char* end,
                                       std::size_t* size, std::uint32_t* lifetime_s) {
  const auto* parts = static_cast<const Parts*>(self);
  const std::span<unsigned char> room(start, static_cast<std::size_t>(end - start));
  if (room.size() <= TicketKeys::overhead) return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
  // Where seal() wants to have it, so that it need not move.
  const std::span<unsigned char> place = room.subspan(TicketKeys::overhead - 16);
  std::size_t session_size = 0;
  const int status = mbedtls_ssl_session_save(session, place.data(), place.size(), &session_size);
  if (status != 0) return status;
  const auto sealed =
      parts->keys->seal(place.first(session_size), parts->name, base::now_ms(), room);
  if (!sealed) return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
  *size = *sealed;
  *lifetime_s = static_cast<std::uint32_t>(parts->lifetime.count() / 1000);
  return 0;
}

int ServerContext::Parts::parse_ticket(void* self, mbedtls_ssl_session* session,
                                       unsigned char* ticket, std::size_t size) {
  const auto* parts = static_cast<const Parts*>(self);
  const auto opened = parts->keys->open({ticket, size}, parts->name);
  if (!opened) return MBEDTLS_ERR_SSL_INVALID_MAC;
  const std::int64_t age = base::now_ms() - opened->made;
  if (age < -clock_skew || age > parts->lifetime.count()) {
    return MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
  }
  const int status =
      mbedtls_ssl_session_load(session, opened->session.data(), opened->session.size());
  if (status != 0) return status;
  // mbedTLS reckons with time since this machine's start; the ticket may be another machine's.
  session->MBEDTLS_PRIVATE(ticket_creation_time) =
      mbedtls_ms_time() - std::max<std::int64_t>(age, 0);
  return 0;
}

ServerContext::ServerContext(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ServerContext::~ServerContext() = default;

Result<std::unique_ptr<ServerContext>> ServerContext::create(const TlsConfig& config) {
  auto parts = std::make_unique<Parts>();
  mbedtls_ssl_config& ssl = parts->config.ssl;
  PX_CHECK(set_up(ssl, MBEDTLS_SSL_IS_SERVER, config.min_version));
  std::vector<std::string> alpn = config.alpn;
  // The same to us, and clients that want nothing newer offer it alone.
  if (std::find(alpn.begin(), alpn.end(), "http/1.1") != alpn.end()) alpn.push_back("http/1.0");
  PX_CHECK(parts->protocols.set(alpn, ssl));
  if (config.tickets) {
    if (config.ticket_lifetime < Millis{1000} || config.ticket_lifetime > longest_ticket) {
      return Error{Errc::invalid, "ticket_lifetime: expected a second to a week"};
    }
    parts->lifetime = config.ticket_lifetime;
  }
  return std::unique_ptr<ServerContext>(new ServerContext(std::move(parts)));
}

void ServerContext::set_ticket_keys(std::shared_ptr<const TicketKeys> keys) noexcept {
  PX_ASSERT(keys != nullptr);
  if (parts_->lifetime == Millis{0}) return;
  parts_->keys = std::move(keys);
  mbedtls_ssl_conf_session_tickets_cb(&parts_->config.ssl, &Parts::write_ticket,
                                      &Parts::parse_ticket, parts_.get());
}

void ServerContext::set_name(std::string_view name) noexcept {
  parts_->name = name;
}

mbedtls_ssl_config& ServerContext::config() noexcept {
  return parts_->config.ssl;
}

// Debian and its like, Fedora and its like, Alpine and the BSDs.
constexpr const char* system_bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                          "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

Authorities::Authorities() : chain_(std::make_unique<mbedtls_x509_crt>()) {
  mbedtls_x509_crt_init(chain_.get());
}

Authorities::~Authorities() {
  mbedtls_x509_crt_free(chain_.get());
}

Result<std::shared_ptr<const Authorities>> Authorities::load(const std::string& pem) {
  start_crypto();
  std::shared_ptr<Authorities> all(new Authorities);
  // Those that cannot be read, say of an algorithm that is not known, are passed over.
  const int status = mbedtls_x509_crt_parse(
      all->chain_.get(), reinterpret_cast<const unsigned char*>(pem.c_str()), pem.size() + 1);
  if (status < 0 || all->chain_->raw.p == nullptr) {
    return Error{Errc::invalid, "authorities: no certificate that can be read"};
  }
  for (const mbedtls_x509_crt* at = all->chain_.get(); at != nullptr; at = at->next) ++all->count_;
  return std::shared_ptr<const Authorities>(std::move(all));
}

Result<std::shared_ptr<const Authorities>> Authorities::load_file(const std::string& path) {
  PX_TRY(const std::string pem, base::read_file(path, most_authorities));
  auto loaded = load(pem);
  if (!loaded) return std::move(loaded).error().within(path);
  return loaded;
}

Result<std::shared_ptr<const Authorities>> Authorities::system() {
  for (const char* path : system_bundles) {
    auto found = load_file(path);
    if (found || found.error().code != Errc::not_found) return found;
  }
  return Error{Errc::not_found, "authorities: the system has none"};
}

Result<std::shared_ptr<const Authorities>> Authorities::system_and(const std::string& pem) {
  PX_TRY(auto alone, load(pem));
  for (const char* path : system_bundles) {
    auto found = base::read_file(path, most_authorities);
    if (found) return load(*found + "\n" + pem);
  }
  return alone;
}

struct ClientContext::Parts {
  Config verifying;
  Config trusting;
  Protocols protocols;
  Protocols trusting_protocols;
  std::shared_ptr<const Authorities> authorities;
};

ClientContext::ClientContext(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ClientContext::~ClientContext() = default;

Result<std::unique_ptr<ClientContext>> ClientContext::create(const Settings& settings) {
  auto parts = std::make_unique<Parts>();
  for (mbedtls_ssl_config* ssl : {&parts->verifying.ssl, &parts->trusting.ssl}) {
    PX_CHECK(set_up(*ssl, MBEDTLS_SSL_IS_CLIENT, settings.min_version));
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        ssl, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
  }
  PX_CHECK(parts->protocols.set(settings.alpn, parts->verifying.ssl));
  PX_CHECK(parts->trusting_protocols.set(settings.alpn, parts->trusting.ssl));
  mbedtls_ssl_conf_authmode(&parts->trusting.ssl, MBEDTLS_SSL_VERIFY_NONE);
  mbedtls_ssl_conf_authmode(&parts->verifying.ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
  parts->authorities = settings.authorities;
  if (parts->authorities) {
    mbedtls_ssl_conf_ca_chain(&parts->verifying.ssl, parts->authorities->chain_.get(), nullptr);
  }
  return std::unique_ptr<ClientContext>(new ClientContext(std::move(parts)));
}

mbedtls_ssl_config& ClientContext::config(Verify verify) noexcept {
  return verify == Verify::yes ? parts_->verifying.ssl : parts_->trusting.ssl;
}

bool ClientContext::has_authorities() const noexcept {
  return parts_->authorities != nullptr;
}

}  // namespace proxycore::tls
