#include "server/config_keys.h"

#include "base/text.h"
#include "io/address.h"
#include "redis/url.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace proxycore::server {

namespace {

constexpr std::uint64_t day = 24ULL * 60 * 60 * 1000;
constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = kib * kib;
constexpr std::uint64_t pib = mib * mib * kib;
constexpr std::uint64_t any_u32 = std::numeric_limits<std::uint32_t>::max();

Error expected(std::string_view what, std::string_view text) {
  return {Errc::invalid, fmt::format("expected {}, found {}", what, base::shown(text))};
}

Result<void> store_url(std::string_view text) {
  constexpr std::string_view forms = "'sqlite:PATH', 'memory:' or 'redis://host:port/db'";
  if (text == "memory:") return {};
  if (text == "sqlite:") return expected("a path behind 'sqlite:'", text);
  if (text.starts_with("sqlite:")) return {};
  if (redis::Url::has_scheme(text)) {
    PX_TRY([[maybe_unused]] const redis::Url url, redis::Url::parse(text));
    return {};
  }
  // The rest of a url that is not ours may hold a password.
  return expected(forms, text.substr(0, text.find(':')));
}

Result<void> tier(std::string_view text) {
  for (const std::string_view known : {"trie", "replica", "cache", "redis", "socket"}) {
    if (text == known) return {};
  }
  return expected("'trie', 'replica', 'cache', 'redis' or 'socket'", text);
}

Result<void> address(std::string_view text) {
  PX_TRY([[maybe_unused]] const ListenAddress address, ListenAddress::parse(text));
  return {};
}

Result<void> target(std::string_view text) {
  PX_TRY([[maybe_unused]] const Target target, Target::parse(text));
  return {};
}

Result<void> alpn(std::string_view text) {
  if (text == "h2" || text == "http/1.1") return {};
  return expected("'h2' or 'http/1.1'", text);
}

Result<void> challenge(std::string_view text) {
  if (text == "http-01" || text == "dns-01") return {};
  return expected("'http-01' or 'dns-01'", text);
}

Result<void> key_type(std::string_view text) {
  if (text == "ecdsa" || text == "rsa") return {};
  return expected("'ecdsa' or 'rsa'", text);
}

Result<void> renewal(std::string_view text) {
  if (text == "ari" || text == "lifetime") return {};
  return expected("'ari' or 'lifetime'", text);
}

Result<void> https_url(std::string_view text) {
  constexpr std::string_view scheme = "https://";
  if (text.starts_with(scheme) && text.size() > scheme.size()) return {};
  return expected("a url that begins with 'https://'", text);
}

Result<void> url_or_nothing(std::string_view text) {
  if (text.empty() || text.starts_with("http://") || text.starts_with("https://")) return {};
  // Webhooks carry secrets in their paths.
  return expected("a url that begins with 'https://' or 'http://'", text.substr(0, text.find(':')));
}

Result<void> https_url_or_nothing(std::string_view text) {
  return text.empty() ? Result<void>() : https_url(text);
}

Result<void> http_url_or_nothing(std::string_view text) {
  if (text.empty() || text.starts_with("http://")) return {};
  // It may carry a password.
  return expected("a url that begins with 'http://'", text.substr(0, text.find(':')));
}

Result<void> rate_limits(std::string_view text) {
  if (text == "auto" || text == "letsencrypt" || text == "none") return {};
  return expected("'auto', 'letsencrypt' or 'none'", text);
}

Result<void> network(std::string_view text) {
  if (io::Network::parse(text)) return {};
  return expected("an address or a range like 10.0.0.0/8", text);
}

Result<void> trusted(std::string_view text) {
  if (text == "unix") return {};
  if (io::Network::parse(text)) return {};
  return expected("an address, a range like 10.0.0.0/8 or 'unix'", text);
}

Result<void> token(std::string_view text) {
  if (base::is_token(text)) return {};
  return expected("a name without blanks and separators (an RFC 9110 token)", text);
}

Result<void> not_empty(std::string_view text) {
  if (!text.empty()) return {};
  return expected("a text that is not empty", text);
}

template <class Owner, class T>
T field_type(T Owner::*);
template <class Owner, class T>
Owner owner_type(T Owner::*);

template <auto Table, auto Field>
constexpr Key<Config> key(Rule rule) {
  using Type = Value<decltype(field_type(Field))>;
  return {rule,
          [](const Rule& by, const Given& given, Config& to) {
            return Type::read(by, given, to.*Table.*Field);
          },
          [](const Rule& by, const Config& from) { return Type::shown(by, from.*Table.*Field); },
          Type::type, Type::range};
}

// A key outside of tables.
template <auto Field>
constexpr Key<Config> top(Rule rule) {
  using Type = Value<decltype(field_type(Field))>;
  return {rule,
          [](const Rule& by, const Given& given, Config& to) {
            return Type::read(by, given, to.*Field);
          },
          [](const Rule& by, const Config& from) { return Type::shown(by, from.*Field); },
          Type::type, Type::range};
}

// A key of one of many tables of the same name.
template <auto Field>
constexpr auto field(Rule rule) {
  using Of = decltype(owner_type(Field));
  using Type = Value<decltype(field_type(Field))>;
  return Key<Of>{
      rule,
      [](const Rule& by, const Given& given, Of& to) { return Type::read(by, given, to.*Field); },
      [](const Rule& by, const Of& from) { return Type::shown(by, from.*Field); }, Type::type,
      Type::range};
}

using C = Config;

constexpr std::array all_config_keys{
    top<&C::lookup>(
        {.name = "lookup",
         .what = "tiers",
         .check = tier,
         .standard = "`[\"replica\"]` with Redis, else `[\"trie\"]`",
         .meaning =
             "Who is asked for the host of a request, in this order. `trie`: all hosts of the "
             "store, in memory. `replica`: the same of a Redis, with a copy on disk. `cache`: "
             "answers of those behind it. `redis`: the store, for each name. `socket`: the "
             "lookup service."}),

    key<&C::store, &C::Store::url>(
        {.name = "store.url",
         .what = "store",
         .check = store_url,
         .meaning = "Where hosts are kept that are added while the proxy runs: `sqlite:PATH`, a "
                    "file that the processes of one machine may share; "
                    "`redis://[user:password@]host:port/db` or "
                    "`redis+unix://[user:password@]/path?db=N`, a Redis server that any number of "
                    "machines share; or `memory:`, forgotten at the end."}),

    key<&C::cache, &C::Cache::entries>(
        {.name = "cache.entries",
         .least = 1,
         .most = 10'000'000,
         .meaning = "Names kept, per worker; those used longest ago go first."}),
    key<&C::cache, &C::Cache::ttl>(
        {.name = "cache.ttl",
         .least = 1,
         .most = day,
         .meaning =
             "How long an answer is used before it is asked for again. Changes that the store "
             "tells take effect at once."}),
    key<&C::cache, &C::Cache::negative_ttl>(
        {.name = "cache.negative_ttl",
         .least = 1,
         .most = day,
         .meaning = "The same of the answer that there is no such host."}),
    key<&C::redis, &C::Redis::timeout>(
        {.name = "redis.timeout",
         .least = 1,
         .most = 60'000,
         .meaning = "How long a request waits for an answer of Redis (tier `redis`)."}),
    key<&C::replica, &C::Replica::path>(
        {.name = "replica.path",
         .what = "file",
         .meaning = "Where the hosts of Redis are kept for a start without it. Empty: nowhere."}),
    key<&C::lookup_service, &C::LookupService::listen>(
        {.name = "lookup_service.listen",
         .what = "path",
         .meaning = "The Unix socket to answer look-ups on. Empty: none. Its mode is "
                    "`listen.unix_mode`."}),
    key<&C::lookup_service, &C::LookupService::group>(
        {.name = "lookup_service.group",
         .what = "group",
         .meaning = "The group that may use it. Empty: the process's own."}),
    key<&C::lookup_service, &C::LookupService::connect>(
        {.name = "lookup_service.connect",
         .what = "path",
         .check = not_empty,
         .meaning = "The lookup service that the tier `socket` asks."}),
    key<&C::lookup_service, &C::LookupService::timeout>(
        {.name = "lookup_service.timeout",
         .least = 1,
         .most = 60'000,
         .meaning = "How long a request waits for its answer."}),
    key<&C::lookup_service, &C::LookupService::cache_ttl>(
        {.name = "lookup_service.cache_ttl",
         .least = 1'000,
         .most = 30 * day,
         .meaning = "How long a name that a wildcard answered stays in the store as a host."}),
    key<&C::lookup_service, &C::LookupService::cache_names>(
        {.name = "lookup_service.cache_names",
         .most = 1'000'000,
         .meaning = "How many names of one wildcard are written to the store at most. 0: none."}),

    key<&C::listen, &C::Listen::http>({.name = "listen.http",
                                       .what = "addresses",
                                       .check = address,
                                       .meaning = "Where clients are served over plain HTTP."}),
    key<&C::listen, &C::Listen::https>(
        {.name = "listen.https",
         .what = "addresses",
         .check = address,
         .meaning = "Where clients are served over TLS: HTTP/2 and HTTP/1.1."}),
    key<&C::listen, &C::Listen::admin>(
        {.name = "listen.admin",
         .what = "addresses",
         .check = address,
         .meaning = "Where `/metrics`, `/livez` and `/readyz` are served. They need no password: "
                    "stay on loopback or a private network."}),
    key<&C::listen, &C::Listen::backlog>(
        {.name = "listen.backlog",
         .least = 1,
         .most = 65535,
         .meaning = "How many connections the kernel queues before they are accepted."}),
    key<&C::listen, &C::Listen::unix_mode>(
        {.name = "listen.unix_mode",
         .form = Form::octal,
         .most = 0777,
         .meaning = "File mode of Unix sockets that are listened on."}),

    key<&C::tls, &TlsConfig::min_version>(
        {.name = "tls.min_version",
         .meaning = "The oldest version of TLS that clients may speak. What is older than 1.2 is "
                    "never spoken, with targets neither."}),
    key<&C::tls, &TlsConfig::alpn>(
        {.name = "tls.alpn",
         .what = "protocols",
         .check = alpn,
         .meaning = "What clients are offered, the preferred first (ALPN, RFC 7301)."}),
    key<&C::tls, &TlsConfig::tickets>(
        {.name = "tls.tickets",
         .meaning = "Clients may resume their sessions, which saves most of a handshake. The keys "
                    "are shared through the store and change by themselves."}),
    key<&C::tls, &TlsConfig::ticket_lifetime>({.name = "tls.ticket_lifetime",
                                               .least = 60'000,
                                               .most = 7 * day,
                                               .meaning = "How long a session may be resumed."}),
    key<&C::tls, &TlsConfig::fallback_chain>(
        {.name = "tls.fallback_chain",
         .what = "file",
         .meaning = "The certificate (PEM) for names that have none. Empty: one is made at the "
                    "first start and kept in the store."}),
    key<&C::tls, &TlsConfig::fallback_key>(
        {.name = "tls.fallback_key", .what = "file", .meaning = "Its private key (PEM)."}),
    key<&C::tls, &TlsConfig::public_port>(
        {.name = "tls.public_port",
         .most = 65535,
         .meaning = "The port that redirects to https name. 0: that of the first https listener. "
                    "For when something in front maps 443 to another port."}),
    key<&C::tls, &TlsConfig::certificates>(
        {.name = "tls.certificates",
         .least = 1,
         .most = 10'000'000,
         .meaning = "How many names each worker keeps the certificates of; those used longest ago "
                    "go first, and are read again when they are asked for."}),
    key<&C::tls, &TlsConfig::certificate_wait>(
        {.name = "tls.certificate_wait",
         .least = 1,
         .most = 120'000,
         .meaning = "How long a handshake waits for its certificate; then the last known one of "
                    "the name, or the fallback, is served."}),
    key<&C::tls, &TlsConfig::origin_ca>(
        {.name = "tls.origin_ca",
         .what = "file",
         .meaning = "The authorities (PEM) that certificates of TLS targets are verified by. "
                    "Empty: the system's."}),

    key<&C::acme, &C::Acme::enabled>(
        {.name = "acme.enabled",
         .meaning = "Get certificates for hosts that have none, and renew them."}),
    key<&C::acme, &C::Acme::directory>({.name = "acme.directory",
                                        .what = "url",
                                        .check = https_url,
                                        .meaning = "The directory of the CA."}),
    key<&C::acme, &C::Acme::ca>(
        {.name = "acme.ca",
         .what = "file",
         .meaning = "A root (PEM) that the CA's own API is trusted by, besides the system's: for a "
                    "CA of one's own."}),
    key<&C::acme, &C::Acme::email>({.name = "acme.email",
                                    .what = "address",
                                    .meaning = "Where the CA may write to. Empty: nowhere."}),
    key<&C::acme, &C::Acme::agree_tos>(
        {.name = "acme.agree_tos",
         .meaning = "The CA's terms of service are agreed to. Nothing is asked of it before."}),
    key<&C::acme, &C::Acme::eab_kid>(
        {.name = "acme.eab_kid",
         .what = "text",
         .meaning = "The key identifier of an external account, where the CA wants one. Empty: "
                    "none."}),
    key<&C::acme, &C::Acme::eab_key_file>(
        {.name = "acme.eab_key_file", .what = "file", .meaning = "Its MAC key, in base64url."}),
    key<&C::acme, &C::Acme::challenge>(
        {.name = "acme.challenge",
         .what = "challenges",
         .check = challenge,
         .meaning = "How names are proved, the preferred first. Wildcards are always proved by "
                    "`dns-01`; a host may have its own `challengeType`."}),
    key<&C::acme, &C::Acme::profile>(
        {.name = "acme.profile",
         .what = "name",
         .meaning = "The kind of certificate, of those that the CA offers. Empty: its default."}),
    key<&C::acme, &C::Acme::preferred_chain>(
        {.name = "acme.preferred_chain",
         .what = "name",
         .meaning = "Where the CA offers several chains: the common name of the root wanted."}),
    key<&C::acme, &C::Acme::key_type>(
        {.name = "acme.key_type",
         .what = "type",
         .check = key_type,
         .meaning = "`ecdsa` (P-256) or `rsa` (2048 bits). Every certificate has a new key."}),
    key<&C::acme, &C::Acme::renew>(
        {.name = "acme.renew",
         .what = "policy",
         .check = renewal,
         .meaning = "`ari`: when the CA proposes (RFC 9773), by lifetime where it does not. "
                    "`lifetime`: when two thirds have passed, or half of one shorter than ten "
                    "days."}),
    key<&C::acme, &C::Acme::resolvers>(
        {.name = "acme.resolvers",
         .what = "addresses",
         .check = target,
         .meaning = "The recursive DNS servers to ask. Empty: the system's."}),
    key<&C::acme, &C::Acme::authoritative>(
        {.name = "acme.authoritative",
         .what = "addresses",
         .check = target,
         .meaning =
             "The DNS servers to ask whether the records of `dns-01` are there. Empty: those "
             "of the zone. For zones that this machine sees otherwise than the world does."}),
    key<&C::acme, &C::Acme::on_demand>(
        {.name = "acme.on_demand",
         .meaning = "Get a certificate also when a visitor asks for a name of a host that has none "
                    "yet: the names of a `**` pattern, say."}),
    key<&C::acme, &C::Acme::pending>({.name = "acme.pending",
                                      .least = 1,
                                      .most = 100'000,
                                      .meaning = "How many names visitors may wait for at once."}),
    key<&C::acme, &C::Acme::names_per_pattern>(
        {.name = "acme.names_per_pattern",
         .most = 1'000'000,
         .meaning = "How many names of one pattern visitors may ask for in an hour."}),
    key<&C::acme, &C::Acme::staging>(
        {.name = "acme.staging",
         .what = "url",
         .check = https_url_or_nothing,
         .standard = "that of Let's Encrypt, for its directory",
         .meaning = "The directory where a name that has failed twice is tried before the CA is "
                    "asked again. Empty: the CA's own, where it is known to have one."}),
    key<&C::acme, &C::Acme::rsa_companion>(
        {.name = "acme.rsa_companion",
         .meaning = "Get a second certificate for each name, with an RSA key, for clients that "
                    "know no ECDSA."}),
    key<&C::acme, &C::Acme::rate_limits>(
        {.name = "acme.rate_limits",
         .what = "limits",
         .check = rate_limits,
         .meaning = "The rate limits kept to before the CA refuses: `letsencrypt` (those that it "
                    "publishes), `none`, or `auto`: those of the directory, where they are "
                    "known."}),

    key<&C::renew, &C::Renew::in_process>(
        {.name = "renew.in_process",
         .standard = "true with `sqlite:` and `memory:`",
         .meaning = "proxyd gets and renews certificates itself. false: `proxy-renew` does."}),
    key<&C::renew, &C::Renew::key_file>(
        {.name = "renew.key_file",
         .what = "file",
         .check = not_empty,
         .meaning = "Seals account keys and DNS credentials in the store. It is made at the first "
                    "start; without it they have to be made, and given, again. A systemd "
                    "credential named `proxycore.key` comes before it."}),
    key<&C::renew, &C::Renew::webhook>(
        {.name = "renew.webhook",
         .what = "url",
         .check = url_or_nothing,
         .meaning = "Where each failure, and each new certificate, is posted as JSON. Empty: "
                    "nowhere."}),
    key<&C::renew, &C::Renew::parallel>({.name = "renew.parallel",
                                         .least = 1,
                                         .most = 64,
                                         .meaning = "How many certificates are got at a time."}),
    key<&C::renew, &C::Renew::plugins>(
        {.name = "renew.plugins",
         .what = "directory",
         .meaning = "DNS providers of others (`*.so`) are loaded from here. Nobody but root or our "
                    "own user may be able to write there. Empty: none are."}),
    key<&C::renew, &C::Renew::proxy>(
        {.name = "renew.proxy",
         .what = "url",
         .check = http_url_or_nothing,
         .meaning = "The HTTP proxy (`http://user:password@host:3128`, CONNECT) that CAs, DNS "
                    "vendors and the webhook are reached by. Empty: none."}),

    key<&C::admin, &C::Admin::listen>(
        {.name = "admin.listen",
         .what = "addresses",
         .check = address,
         .meaning = "Where the manager listens for plain HTTP: loopback or a Unix socket. Empty: "
                    "nowhere; `proxy-admin` then takes `127.0.0.1:3000`."}),
    key<&C::admin, &C::Admin::https>(
        {.name = "admin.https",
         .what = "addresses",
         .check = address,
         .meaning = "Where it listens for TLS, with the certificates that hosts have."}),
    key<&C::admin, &C::Admin::in_process>(
        {.name = "admin.in_process",
         .standard = "true with `sqlite:` and `memory:`",
         .meaning = "proxyd is the manager, too. false: `proxy-admin` is."}),
    key<&C::admin, &C::Admin::initial_password_file>(
        {.name = "admin.initial_password_file",
         .what = "file",
         .meaning = "Its first line is the password that the first user, `admin`, is made with. "
                    "Empty: a random one, told once on standard error."}),
    key<&C::admin, &C::Admin::token_ttl>({.name = "admin.token_ttl",
                                          .least = 60'000,
                                          .most = 366 * day,
                                          .meaning = "How long a log-in lasts."}),
    key<&C::admin, &C::Admin::bcrypt_cost>(
        {.name = "admin.bcrypt_cost",
         .least = 4,
         .most = 16,
         .meaning = "What a new password's hash costs: each one more doubles the time."}),
    key<&C::admin, &C::Admin::legacy_tokens>(
        {.name = "admin.legacy_tokens",
         .meaning = "Log-ins that older software keeps in the store are accepted; they are not "
                    "hashed there, and may never end."}),
    key<&C::admin, &C::Admin::allowed_targets>(
        {.name = "admin.allowed_targets",
         .what = "ranges",
         .check = network,
         .meaning = "Where hosts may point though it is usually refused: our own listeners and "
                    "link-local addresses."}),
    key<&C::admin, &C::Admin::denied_targets>({.name = "admin.denied_targets",
                                               .what = "ranges",
                                               .check = network,
                                               .meaning = "Where they may not point, besides."}),

    key<&C::workers, &C::Workers::count>(
        {.name = "workers.count", .most = 1024, .meaning = "Threads. 0: one per core."}),

    key<&C::timeouts, &C::Timeouts::tls_handshake>(
        {.name = "timeouts.tls_handshake",
         .least = 1,
         .most = day,
         .meaning = "For a TLS handshake, from the connection on; then it is closed."}),
    key<&C::timeouts, &C::Timeouts::client_header>(
        {.name = "timeouts.client_header",
         .least = 1,
         .most = day,
         .meaning = "For the whole head of a request, from its first byte; then 408."}),
    key<&C::timeouts, &C::Timeouts::client_body>(
        {.name = "timeouts.client_body",
         .least = 1,
         .most = day,
         .meaning = "Between two parts of a request's body; then 408."}),
    key<&C::timeouts, &C::Timeouts::client_idle>(
        {.name = "timeouts.client_idle",
         .least = 1,
         .most = day,
         .meaning = "How long a kept-alive connection may wait for its next request."}),
    key<&C::timeouts, &C::Timeouts::client_write>(
        {.name = "timeouts.client_write",
         .least = 1,
         .most = day,
         .meaning = "How long a client may take no bytes of a response."}),
    key<&C::timeouts, &C::Timeouts::origin_connect>(
        {.name = "timeouts.origin_connect",
         .least = 1,
         .most = day,
         .meaning = "To connect to a target, per attempt; then another target, or 502."}),
    key<&C::timeouts, &C::Timeouts::origin_first_byte>(
        {.name = "timeouts.origin_first_byte",
         .least = 1,
         .most = day,
         .meaning = "From a sent request to the first byte of its response; then 504."}),
    key<&C::timeouts, &C::Timeouts::origin_idle>({.name = "timeouts.origin_idle",
                                                  .least = 1,
                                                  .most = day,
                                                  .meaning = "Between two parts of a response."}),
    key<&C::timeouts, &C::Timeouts::origin_keepalive>(
        {.name = "timeouts.origin_keepalive",
         .least = 1,
         .most = day,
         .meaning = "How long an unused connection to a target is kept. Less than the target keeps "
                    "it, or requests meet closed connections."}),
    key<&C::timeouts, &C::Timeouts::tunnel_idle>(
        {.name = "timeouts.tunnel_idle",
         .least = 1,
         .most = 30 * day,
         .meaning = "How long an upgraded connection (WebSocket) may be silent."}),
    key<&C::timeouts, &C::Timeouts::drain>(
        {.name = "timeouts.drain",
         .most = day,
         .meaning = "From SIGTERM until the connections still open are closed."}),

    key<&C::limits, &C::Limits::connections>(
        {.name = "limits.connections",
         .most = 1U << 24U,
         .meaning = "Client connections in all, then 503. 0: as many as the limit of open files "
                    "allows."}),
    key<&C::limits, &C::Limits::connections_per_address>(
        {.name = "limits.connections_per_address",
         .most = 1U << 24U,
         .meaning = "Client connections from one address, then 503. 0: no bound of its own."}),
    key<&C::limits, &C::Limits::requests_per_connection>(
        {.name = "limits.requests_per_connection",
         .most = any_u32,
         .meaning = "Requests on one client connection before it is closed. 0: no bound."}),
    key<&C::limits, &C::Limits::header_count>({.name = "limits.header_count",
                                               .least = 1,
                                               .most = 10'000,
                                               .meaning = "Fields of one head, then 431."}),
    key<&C::limits, &C::Limits::header_size>({.name = "limits.header_size",
                                              .form = Form::size,
                                              .least = kib,
                                              .most = mib,
                                              .meaning = "Bytes of one head, then 431."}),
    key<&C::limits, &C::Limits::target_size>(
        {.name = "limits.target_size",
         .form = Form::size,
         .least = 64,
         .most = mib,
         .meaning = "Bytes of a request's target (path and query), then 414."}),
    key<&C::limits, &C::Limits::body_size>({.name = "limits.body_size",
                                            .form = Form::size,
                                            .most = pib,
                                            .meaning = "Bytes of a request's body, then 413."}),
    key<&C::limits, &C::Limits::origin_connections>(
        {.name = "limits.origin_connections",
         .least = 1,
         .most = 1U << 20U,
         .meaning = "Connections to one target, for each worker, then 503."}),
    key<&C::limits, &C::Limits::http2_streams>(
        {.name = "limits.http2_streams",
         .least = 1,
         .most = 1'000,
         .meaning = "Requests at once on one HTTP/2 connection (RFC 9113 §5.1.2)."}),

    key<&C::origins, &C::Origins::idle_connections>(
        {.name = "origins.idle_connections",
         .most = 1U << 20U,
         .meaning = "Unused connections kept to one target, for each worker."}),
    key<&C::origins, &C::Origins::failures>(
        {.name = "origins.failures",
         .least = 1,
         .most = any_u32,
         .meaning = "Consecutive failures after which a target rests."}),
    key<&C::origins, &C::Origins::cool_down>({.name = "origins.cool_down",
                                              .least = 1,
                                              .most = day,
                                              .meaning = "How long a failed target rests."}),
    key<&C::origins, &C::Origins::resolve_ttl>(
        {.name = "origins.resolve_ttl",
         .least = 1,
         .most = day,
         .meaning = "How long the addresses of a target's name are used before it is asked "
                    "again."}),
    key<&C::origins, &C::Origins::resolve_failure_ttl>(
        {.name = "origins.resolve_failure_ttl",
         .least = 1,
         .most = day,
         .meaning = "How long a name that could not be resolved is not asked again."}),

    key<&C::forwarding, &C::Forwarding::trusted>(
        {.name = "forwarding.trusted",
         .what = "addresses or ranges",
         .check = trusted,
         .meaning =
             "Clients whose `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `X-Request-Id` are "
             "believed: `10.0.0.0/8`, `::1`, or `unix` for those of Unix sockets."}),
    key<&C::forwarding, &C::Forwarding::via>({.name = "forwarding.via",
                                              .what = "name",
                                              .check = token,
                                              .meaning = "Our name in `Via` (RFC 9110 §7.6.3)."}),

    key<&C::log, &C::Log::level>(
        {.name = "log.level", .meaning = "The least level of messages to write to stderr."}),
    key<&C::log, &C::Log::access>(
        {.name = "log.access",
         .what = "file",
         .check = not_empty,
         .meaning = "Where one line per request goes: a file, `stdout` or `off`. SIGUSR1 reopens a "
                    "file after rotation."}),
    key<&C::log, &C::Log::access_format>(
        {.name = "log.access_format",
         .meaning = "JSON lines, or the combined format that web servers have in common."}),

    key<&C::metrics, &C::Metrics::hosts>(
        {.name = "metrics.hosts",
         .most = 100'000,
         .meaning = "How many hosts have counters of their own; the rest are counted as `other`."}),

    key<&C::process, &C::Process::user>(
        {.name = "process.user",
         .what = "user",
         .meaning = "Whom to become after binding, when started as root. Empty: nobody else."}),
    key<&C::process, &C::Process::group>(
        {.name = "process.group", .what = "group", .meaning = "Empty: the user's own."}),
    key<&C::process, &C::Process::pid_file>(
        {.name = "process.pid_file",
         .what = "file",
         .meaning = "Where the process id is written after binding. Empty: nowhere."}),
};

constexpr std::array all_certificate_keys{
    field<&C::CertificateFiles::chain>(
        {.name = "certificate.chain",
         .what = "file",
         .check = not_empty,
         .required = true,
         .meaning = "The certificate (PEM), then what signed it, in that order."}),
    field<&C::CertificateFiles::key>({.name = "certificate.key",
                                      .what = "file",
                                      .check = not_empty,
                                      .required = true,
                                      .meaning = "Its private key (PEM), not encrypted."}),
};

constexpr std::array all_issuer_keys{
    field<&C::Issuer::directory>({.name = "issuer.directory",
                                  .what = "url",
                                  .check = https_url,
                                  .required = true,
                                  .meaning = "The directory of the CA."}),
    field<&C::Issuer::ca>(
        {.name = "issuer.ca", .what = "file", .meaning = "As `acme.ca`, for this one."}),
    field<&C::Issuer::eab_kid>(
        {.name = "issuer.eab_kid", .what = "text", .meaning = "As `acme.eab_kid`."}),
    field<&C::Issuer::eab_key_file>(
        {.name = "issuer.eab_key_file", .what = "file", .meaning = "As `acme.eab_key_file`."}),
    field<&C::Issuer::profile>(
        {.name = "issuer.profile", .what = "name", .meaning = "As `acme.profile`."}),
};

constexpr std::array all_host_keys{
    field<&Host::host>({.name = "host.host",
                        .what = "name or pattern",
                        .required = true,
                        .meaning = "In a pattern `*` stands for one label, `**` for one or more: "
                                   "`*.example.test`."}),
    field<&Host::ip>({.name = "host.ip",
                      .what = "address or name",
                      .required = true,
                      .meaning = "The first target. A name is resolved when it is used."}),
    field<&Host::target_port>({.name = "host.targetPort",
                               .least = 1,
                               .most = 65535,
                               .required = true,
                               .meaning = "Its port."}),
    field<&Host::targets>(
        {.name = "host.targets",
         .what = "targets",
         .check = target,
         .meaning = "Further targets, `address:port`, which share the requests with the first."}),
    field<&Host::forcessl>(
        {.name = "host.forcessl",
         .meaning = "Redirect plain requests to https, where an https listener exists."}),
    field<&Host::hsts>(
        {.name = "host.hsts_enabled",
         .meaning = "Tell browsers to use https only, for a year and for subdomains too (HSTS, RFC "
                    "6797)."}),
    field<&Host::targetssl>({.name = "host.targetssl", .meaning = "Speak TLS to the targets."}),
    field<&Host::target_verify>(
        {.name = "host.targetVerify",
         .meaning = "Verify the certificates of TLS targets (`tls.origin_ca`). false: take any, "
                    "which lets everybody in between read and change what passes."}),
    field<&Host::target_server_name>(
        {.name = "host.targetServerName",
         .what = "name or address",
         .standard = "the target's own",
         .meaning = "Whom a TLS target is asked for (SNI), and whose certificate it has to show."}),
    field<&Host::challenge_type>(
        {.name = "host.challengeType",
         .what = "type",
         .standard = "by `acme.challenge`; `DNS-01-wildcard` for `*.` names",
         .meaning = "How its certificate is got: `HTTP-01`, `DNS-01`, `DNS-01-wildcard`, "
                    "`wildcardChild` (its wildcard's is enough) or `none`."}),
    field<&Host::pass_host>(
        {.name = "host.host-pass-though",
         .meaning = "Pass the client's `Host` on (the name is spelled as in existing records). "
                    "false: send the target's name."}),
    field<&Host::connect_timeout>({.name = "host.connectTimeout",
                                   .least = 1,
                                   .most = 600'000,
                                   .standard = "`timeouts.origin_connect`",
                                   .meaning = "To connect to a target, per attempt."}),
    field<&Host::first_byte_timeout>(
        {.name = "host.firstByteTimeout",
         .least = 1,
         .most = day,
         .standard = "`timeouts.origin_first_byte`",
         .meaning = "From a sent request to the first byte of its response."}),
    field<&Host::idle_timeout>({.name = "host.idleTimeout",
                                .least = 1,
                                .most = day,
                                .standard = "`timeouts.origin_idle`",
                                .meaning = "Between two parts of a response."}),
};

constexpr Table all_tables[] = {
    {"", "These stand at the top of the file, before the first table."},
    {"store", "The database of hosts, beside those declared in the file."},
    {"cache", "The tier `cache`."},
    {"redis", "The tier `redis`."},
    {"replica", "The tier `replica`."},
    {"lookup_service",
     "Answers look-ups of other programs, one JSON object each, and is what the tier `socket` "
     "asks."},
    {"listen",
     "An address is `127.0.0.1:8080`, `[::1]:8080`, `*:80` (every address of both families) or "
     "`unix:/run/proxy.sock`. With port 0 the system chooses one."},
    {"tls",
     "TLS with clients and with targets. Certificates are found by the name that a client asks "
     "for: those of the file (`[[certificate]]`), then those of the store."},
    {"acme", "Certificates that come by themselves (RFC 8555). See certificates.md."},
    {"renew", "Who sees to them."},
    {"admin",
     "The manager: REST API and pages for hosts, users, DNS providers and certificates. See "
     "proxy-admin.md and, for where hosts may point, hardening.md."},
    {"workers", "Each thread has its own listening sockets and its own connections to targets."},
    {"timeouts", "A host may have its own for its targets."},
    {"limits", "What is over a limit is refused with the status given, and counted."},
    {"origins", "The servers that requests are forwarded to."},
    {"forwarding", "What is told about clients, and who is believed about them."},
    {"log", "Messages and the access log."},
    {"metrics", "What `/metrics` shows."},
    {"process", "The process as the operating system sees it."},
};
// How many letters to insert, remove, replace or swap, ASCII case aside; `limit` or more is
// `limit`.
std::size_t distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= limit) return limit;
  constexpr std::size_t longest = 64;
  if (std::max(a.size(), b.size()) > longest) return limit;
  using Row = std::array<std::size_t, longest + 1>;
  Row older{};
  Row old{};
  Row now{};
  for (std::size_t j = 0; j <= b.size(); ++j) old[j] = j;
  const auto same = [&](std::size_t i, std::size_t j) {
    return base::lower(a[i]) == base::lower(b[j]);
  };
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = old[j - 1] + (same(i - 1, j - 1) ? 0 : 1);
      now[j] = std::min({old[j] + 1, now[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && same(i - 1, j - 2) && same(i - 2, j - 1);
      if (swapped) now[j] = std::min(now[j], older[j - 2] + 1);
    }
    older = std::exchange(old, now);
  }
  return std::min(old[b.size()], limit);
}

}  // namespace

std::span<const Key<Config>> config_keys() noexcept {
  return all_config_keys;
}
std::span<const Key<Config::CertificateFiles>> certificate_keys() noexcept {
  return all_certificate_keys;
}
std::span<const Key<Config::Issuer>> issuer_keys() noexcept {
  return all_issuer_keys;
}
std::span<const Key<Host>> host_keys() noexcept {
  return all_host_keys;
}
std::span<const Table> tables() noexcept {
  return all_tables;
}

Error unknown_at(const Place& place, std::string_view name, std::span<const std::string_view> known,
                 std::span<const std::string_view> expected) {
  // A third of the letters may be wrong.
  std::size_t best = last_part(name).size() / 3 + 1;
  std::string_view nearest;
  for (const std::string_view one : known) {
    // The right key in the wrong table is as near as a key with one wrong letter.
    const std::size_t off = last_part(one) == last_part(name) ? 1 : distance(one, name, best);
    if (off >= best) continue;
    best = off;
    nearest = one;
  }
  const bool plain = !name.empty() && name.size() <= 80 &&
                     std::all_of(name.begin(), name.end(), base::is_token_char);
  return error_at(place, plain ? std::string(name) : base::shown(name),
                  nearest.empty() ? fmt::format("unknown, expected {}", listed(expected))
                                  : fmt::format("unknown, did you mean {}?", nearest));
}

}  // namespace proxycore::server

namespace proxycore {

std::vector<std::string> changed_keys(const Config& one, const Config& other) {
  std::vector<std::string> names;
  for (const auto& key : server::all_config_keys) {
    if (key.shown(key.rule, one) != key.shown(key.rule, other)) names.emplace_back(key.rule.name);
  }
  return names;
}

}  // namespace proxycore
