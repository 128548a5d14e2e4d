// Config: everything a Server can be told, one struct per table of the configuration file.
//
// Each field documents its key, default, unit and range; the key table in lib/server/config_keys
// drives the parser, the checks and the printed reference, so that they cannot drift apart.
// Sizes are bytes, times milliseconds. Thread: a value.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/host.h>
#include <proxycore/result.h>
#include <proxycore/tls.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore {

// Where to listen: "127.0.0.1:8080", "[::1]:8080", "*:80" (every address, both families),
// "unix:/run/x.sock". Port 0 lets the system choose.
struct ListenAddress {
  std::string address;     // IP address, or the path of a Unix socket
  std::uint16_t port = 0;  // 0..65535; unused for a Unix socket
  bool is_unix = false;

  // Errors: invalid (says what was expected).
  static Result<ListenAddress> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
};

enum class LogFormat : std::uint8_t { json, combined };
enum class LogLevel : std::uint8_t { debug, info, warning, error };

struct Config {
  struct Store {
    std::string url = "memory:";  // store.url: "sqlite:PATH", "memory:", "redis://..."
  } store = {};

  // lookup: who is asked for the host of a request, in this order: "trie" (the store's hosts in
  // memory), "replica" (the same of a Redis, kept on disk too), "cache", "redis", "socket". Empty:
  // "replica" if the store is a Redis, else "trie".
  std::vector<std::string> lookup = {};

  struct Cache {
    std::uint32_t entries = 10'000;  // cache.entries: names per worker, 1..10000000
    Millis ttl{60'000};              // cache.ttl: how long an answer is used unasked
    Millis negative_ttl{1'000};      // cache.negative_ttl: the same of "no such host"
  } cache = {};

  struct Redis {
    Millis timeout{250};  // redis.timeout: what a request waits for one answer
  } redis = {};

  struct Replica {
    std::string path = "proxycore-replica.db";  // replica.path: the copy on disk; empty: none
  } replica = {};

  struct LookupService {
    std::string listen = {};  // lookup_service.listen: path of the socket to serve; empty: none
    std::string group = {};  // lookup_service.group: whom the socket belongs to; empty: as it comes
    std::string connect =
        "/var/run/proxy_lookup.socket";  // lookup_service.connect: the service that "socket" asks
    Millis timeout{250};                 // lookup_service.timeout: what a request waits for it
    Millis cache_ttl{3'600'000};  // lookup_service.cache_ttl: of wildcard hits written to the store
    std::uint32_t cache_names =
        1'000;  // lookup_service.cache_names: so written at most, per wildcard; 0: none
  } lookup_service = {};

  struct Listen {
    std::vector<std::string> http = {};   // listen.http: plain HTTP for clients
    std::vector<std::string> https = {};  // listen.https: TLS for clients
    std::vector<std::string> admin =
        {};                          // listen.admin: /metrics, /livez, /readyz; loopback advised
    std::uint32_t backlog = 4096;    // listen.backlog: connections the kernel queues, 1..65535
    std::uint32_t unix_mode = 0660;  // listen.unix_mode: of Unix sockets, an octal string
  } listen = {};

  TlsConfig tls = {};  // tls.*

  // Certificates by ACME (RFC 8555), for names of hosts that have none of their own.
  struct Acme {
    bool enabled = false;  // acme.enabled: get them, and renew them
    // acme.directory: the CA's directory
    std::string directory = "https://acme-v02.api.letsencrypt.org/directory";
    std::string ca = {};     // acme.ca: PEM file of a root that the CA's own API is trusted by, too
    std::string email = {};  // acme.email: where the CA may write to; empty: nowhere
    bool agree_tos = false;  // acme.agree_tos: its terms of service are agreed to; needed
    std::string eab_kid = {};  // acme.eab_kid: external account (RFC 8555 §7.3.4); empty: none
    std::string eab_key_file = {};  // acme.eab_key_file: its MAC key, base64url
    // acme.challenge: what names are proved by, the preferred first: "http-01", "dns-01". Wildcards
    // are always by dns-01.
    std::vector<std::string> challenge = {"http-01"};
    std::string profile = {};          // acme.profile: the CA's, by name; empty: its default
    std::string preferred_chain = {};  // acme.preferred_chain: common name of a root; empty: any
    std::string key_type = "ecdsa";    // acme.key_type: "ecdsa" (P-256) or "rsa" (2048 bits)
    // acme.renew: "ari": when the CA proposes (RFC 9773), else by lifetime; "lifetime": after two
    // thirds of it, half of one under ten days.
    std::string renew = "ari";
    // acme.resolvers: recursive DNS servers, "address:port"; empty: the system's
    std::vector<std::string> resolvers = {};
    // acme.authoritative: asked whether TXT records are there, in place of a zone's own servers
    std::vector<std::string> authoritative = {};
    bool on_demand = true;        // acme.on_demand: also when a visitor asks for a name first
    std::uint32_t pending = 100;  // acme.pending: names that visitors wait for at once, 1..100000
    std::uint32_t names_per_pattern =
        100;  // acme.names_per_pattern: names of one pattern that visitors may ask for, per hour
    // acme.staging: directory where a name that has failed twice is tried first; empty: the CA's
    // own, where it is known to have one
    std::string staging = {};
    bool rsa_companion = false;  // acme.rsa_companion: a second certificate, with an RSA key
    // acme.rate_limits: those kept to before the CA refuses: "letsencrypt", "none"; "auto": those
    // of the directory, where they are known
    std::string rate_limits = "auto";
  } acme = {};

  // [[issuer]]: further CAs, asked in this order where those before give no certificate.
  struct Issuer {
    std::string directory;          // url
    std::string ca = {};            // PEM file, as acme.ca
    std::string eab_kid = {};       // as acme.eab_kid
    std::string eab_key_file = {};  // as acme.eab_key_file
    std::string profile = {};       // as acme.profile
    std::string origin;             // "proxycore.toml:12", for messages
  };
  std::vector<Issuer> issuers = {};

  // Who gets and renews certificates.
  struct Renew {
    // renew.in_process: proxyd does. Absent: it does if the store is on this machine alone.
    std::optional<bool> in_process = {};
    // renew.key_file: seals account keys and DNS credentials at rest; made if it is not there
    std::string key_file = "proxycore.key";
    std::string webhook = {};    // renew.webhook: told of failures and of certificates; empty: none
    std::uint32_t parallel = 4;  // renew.parallel: certificates at a time, 1..64
    // renew.plugins: directory of DNS providers (*.so); empty: none
    std::string plugins = {};
    // renew.proxy: the HTTP proxy that CAs, DNS vendors and the webhook are reached by; empty: none
    std::string proxy = {};
  } renew = {};

  // The manager: REST API and pages for hosts, users, DNS providers and certificates.
  struct Admin {
    std::vector<std::string> listen = {};  // admin.listen: plain HTTP; loopback or a Unix socket
    std::vector<std::string> https = {};   // admin.https: TLS, with the store's certificates
    // admin.in_process: proxyd is the manager, too. Absent: it is if the store is on this machine
    // alone.
    std::optional<bool> in_process = {};
    // admin.initial_password_file: of the first user, "admin"; empty: a random one, told once
    std::string initial_password_file = {};
    Millis token_ttl{43'200'000};    // admin.token_ttl: how long a log-in lasts
    std::uint32_t bcrypt_cost = 12;  // admin.bcrypt_cost: log2 of the rounds, 4..16
    bool legacy_tokens = true;       // admin.legacy_tokens: those of older software are accepted
    // admin.allowed_targets: ranges that hosts may point at though they are usually refused
    std::vector<std::string> allowed_targets = {};
    // admin.denied_targets: ranges that they may not, besides
    std::vector<std::string> denied_targets = {};
  } admin = {};

  struct Workers {
    std::uint32_t count = 0;  // workers.count: threads, 1..1024; 0: one per core
  } workers = {};

  struct Timeouts {
    Millis tls_handshake{10'000};  // timeouts.tls_handshake: until it is done, closed after
    Millis client_header{10'000};  // timeouts.client_header: whole head, 408 after
    Millis client_body{30'000};    // timeouts.client_body: between two parts of a body, 408 after
    Millis client_idle{75'000};    // timeouts.client_idle: kept-alive connection without request
    Millis client_write{60'000};   // timeouts.client_write: a client that takes no bytes
    Millis origin_connect{5'000};  // timeouts.origin_connect: per attempt, then 502 or retry
    Millis origin_first_byte{60'000};  // timeouts.origin_first_byte: request sent to response, 504
    Millis origin_idle{60'000};        // timeouts.origin_idle: between two parts of a response
    Millis origin_keepalive{55'000};   // timeouts.origin_keepalive: unused pooled connection
    Millis tunnel_idle{3'600'000};     // timeouts.tunnel_idle: upgraded connection without bytes
    Millis drain{30'000};              // timeouts.drain: from SIGTERM to the end of all connections
  } timeouts = {};

  struct Limits {
    std::uint32_t connections = 0;  // limits.connections: clients in all; 0: from RLIMIT_NOFILE
    std::uint32_t connections_per_address =
        0;  // limits.connections_per_address; 0: no bound but the above
    std::uint32_t requests_per_connection = 0;  // limits.requests_per_connection; 0: no bound
    std::uint32_t header_count = 100;           // limits.header_count: fields of one message, 431
    std::uint32_t header_size = 32 * 1024;      // limits.header_size: bytes of one head, 431
    std::uint32_t target_size = 8 * 1024;  // limits.target_size: bytes of a request target, 414
    std::uint64_t body_size = 4ULL << 30;  // limits.body_size: bytes of a request body, 413
    std::uint32_t origin_connections =
        1024;  // limits.origin_connections: per target and worker, 503
    std::uint32_t http2_streams =
        128;  // limits.http2_streams: requests at once on one HTTP/2 connection, 1..1000
  } limits = {};

  struct Origins {
    std::uint32_t idle_connections = 512;  // origins.idle_connections: kept per target and worker
    std::uint32_t failures = 3;            // origins.failures: consecutive, then cool-down
    Millis cool_down{10'000};              // origins.cool_down: how long a failed target rests
    Millis resolve_ttl{30'000};            // origins.resolve_ttl: how long a resolved name is used
    Millis resolve_failure_ttl{5'000};     // origins.resolve_failure_ttl: how long a failure is
  } origins = {};

  struct Forwarding {
    // forwarding.trusted: addresses or CIDR ranges whose X-Forwarded-*, Forwarded, X-Real-IP and
    // X-Request-Id are believed. Unix-socket peers are named "unix".
    std::vector<std::string> trusted = {};
    std::string via = "proxycore";  // forwarding.via: our name in Via (RFC 9110 §7.6.3)
  } forwarding = {};

  struct Log {
    LogLevel level = LogLevel::info;            // log.level: debug, info, warning, error
    std::string access = "stdout";              // log.access: "stdout", "off" or a file
    LogFormat access_format = LogFormat::json;  // log.access_format: json, combined
  } log = {};

  struct Metrics {
    std::uint32_t hosts =
        1000;  // metrics.hosts: hosts with counters of their own; the rest are "other"
  } metrics = {};

  struct Process {
    std::string user = {};      // process.user: to become after binding, when started as root
    std::string group = {};     // process.group: default: the user's
    std::string pid_file = {};  // process.pid_file: written after binding; empty: none
  } process = {};

  // [[certificate]]: certificates in files, before those of the store. Read again by a reload.
  struct CertificateFiles {
    std::string chain;   // PEM: the certificate, then what signed it
    std::string key;     // PEM: its private key
    std::string origin;  // "proxycore.toml:12", for messages
  };
  std::vector<CertificateFiles> certificates = {};

  // [[host]]: hosts declared in the file; read-only, live beside those of the store.
  struct DeclaredHost {
    Host host;
    std::string origin;  // "proxycore.toml:12", for messages
  };
  std::vector<DeclaredHost> hosts = {};
};

// Reads and checks a configuration file (TOML 1.0, at most 64 MiB). Relative paths in it stay
// relative to the working directory. Errors: invalid, limit
// ("proxycore.toml:7: listen.http: expected an array of addresses, found 8080"), conflict (a host
// twice; names both lines), not_found, denied and io (the path and what the system said).
Result<Config> load_config(const std::string& path);
// The same from memory; `name` stands for the file in messages.
Result<Config> parse_config(std::string_view text, std::string_view name);
// The keys (outside of [[host]]) whose values differ.
std::vector<std::string> changed_keys(const Config& one, const Config& other);
// The reference of every key as Markdown: name, type, default, range, meaning.
std::string config_reference();

}  // namespace proxycore
