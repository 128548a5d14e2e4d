#include "server/config_load.h"

#include "support/temp_dir.h"
#include <proxycore/config.h>

#include <chrono>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using test::TempDir;

namespace {

Config good(std::string_view text) {
  auto config = parse_config(text, "p.toml");
  REQUIRE_MESSAGE(config, (config ? "" : config.error().detail));
  return *std::move(config);
}

std::string fault(std::string_view text, Errc code = Errc::invalid) {
  const auto config = parse_config(text, "p.toml");
  REQUIRE_FALSE_MESSAGE(config, text);
  CHECK(config.error().code == code);
  return config.error().detail;
}

std::string write(const TempDir& folder, const std::string& name, std::string_view text) {
  std::ofstream(folder.file(name), std::ios::binary) << text;
  return folder.file(name);
}

}  // namespace

TEST_CASE("config: an empty file is the defaults") {
  for (const std::string_view text : {"", "# nothing\n", "[listen]\n", "host = []\n"}) {
    const Config config = good(text);
    CHECK(changed_keys(config, {}).empty());
    CHECK(config.hosts.empty());
  }
}

TEST_CASE("config: a whole file") {
  const Config config = good(R"(
[store]
url = "sqlite:./proxycore.db"
[listen]
http = ["127.0.0.1:8080", "[::1]:8080"]
admin = ["127.0.0.1:9180"]
[workers]
count = 2
[timeouts]
client_idle = "2m"
drain = 1500
[limits]
header_size = "64KiB"
[forwarding]
trusted = ["10.0.0.0/8", "unix"]
[log]
access = "off"

[[host]]
host = "**.Example.test."
ip = "127.0.0.1"
targetPort = 9000
targets = ["127.0.0.1:9001", "[::1]:9002", "App.internal:80"]
forcessl = false
targetssl = true
host-pass-though = false
connectTimeout = "1s"
firstByteTimeout = 2000
idleTimeout = "1h"

[[host]]
host = "bücher.test"
ip = "backend.internal"
targetPort = 80
)");
  CHECK(changed_keys(config, {}) ==
        std::vector<std::string>{"store.url", "listen.http", "listen.admin", "workers.count",
                                 "timeouts.client_idle", "timeouts.drain", "limits.header_size",
                                 "forwarding.trusted", "log.access"});
  CHECK(config.listen.http == std::vector<std::string>{"127.0.0.1:8080", "[::1]:8080"});
  CHECK(config.timeouts.client_idle == Millis{120'000});
  CHECK(config.timeouts.drain == Millis{1500});
  CHECK(config.limits.header_size == 65536);

  REQUIRE(config.hosts.size() == 2);
  CHECK(config.hosts[0].origin == "p.toml:19");
  const Host& first = config.hosts[0].host;
  CHECK(first.host == "**.example.test");
  CHECK(first.ip == "127.0.0.1");
  CHECK(first.target_port == 9000);
  CHECK(first.targets ==
        std::vector<std::string>{"127.0.0.1:9001", "[::1]:9002", "app.internal:80"});
  CHECK_FALSE(first.forcessl);
  CHECK(first.targetssl);
  CHECK_FALSE(first.pass_host);
  CHECK(first.connect_timeout == Millis{1000});
  CHECK(first.first_byte_timeout == Millis{2000});
  CHECK(first.idle_timeout == Millis{3'600'000});
  CHECK(config.hosts[1].origin == "p.toml:31");
  const Host& second = config.hosts[1].host;
  CHECK(second.host == "xn--bcher-kva.test");
  CHECK(second.forcessl);
  CHECK(second.pass_host);
  CHECK_FALSE(second.connect_timeout);
}

TEST_CASE("config: dotted keys and inline tables are tables as well") {
  CHECK(good("listen.backlog = 5\nlisten.http = ['*:80']\n").listen.backlog == 5);
  CHECK(good("listen = {backlog = 5}\n").listen.backlog == 5);
  CHECK(good("host = [{host = 'a.test', ip = '::1', targetPort = 80}]\n").hosts[0].host.ip ==
        "::1");
}

TEST_CASE("config: certificates, and what a host says of TLS") {
  const Config config = good(R"(
[tls]
min_version = "1.3"
ticket_lifetime = "1h"
[[certificate]]
chain = "a.pem"
key = "a.key"
[[host]]
host = "a.test"
ip = "127.0.0.1"
targetPort = 1
hsts_enabled = true
targetssl = true
[[certificate]]
chain = "b.pem"
key = "b.key"
[[host]]
host = "b.test"
ip = "127.0.0.1"
targetPort = 1
targetssl = true
targetVerify = false
targetServerName = "Origin.test."
)");
  CHECK(config.tls.min_version == TlsVersion::tls_1_3);
  CHECK(config.tls.ticket_lifetime == Millis{3'600'000});
  REQUIRE(config.certificates.size() == 2);
  CHECK(config.certificates[1].chain == "b.pem");
  CHECK(config.certificates[1].key == "b.key");
  CHECK(config.certificates[1].origin == "p.toml:14");
  CHECK(config.hosts[0].host.hsts);
  CHECK(config.hosts[0].host.target_verify == TargetVerify::yes);
  CHECK_FALSE(config.hosts[1].host.hsts);
  CHECK(config.hosts[1].host.target_verify == TargetVerify::no);
  CHECK(config.hosts[1].host.target_server_name == "origin.test");
}

TEST_CASE("config: a byte order mark and Windows line ends are no matter") {
  CHECK(good("\xEF\xBB\xBF[listen]\r\nbacklog = 5\r\n").listen.backlog == 5);
  CHECK(fault("[listen]\r\n\r\nbacklog = 0\r\n") ==
        "p.toml:3: listen.backlog: expected a number from 1 to 65535, found 0");
}

TEST_CASE("config: what is wrong is named with line and key, and what was expected") {
  struct Case {
    std::string_view text;
    std::string_view message;
  };
  const Case cases[] = {
      {"[listen]\nhttp = 8080\n",
       "p.toml:2: listen.http: expected an array of addresses, found 8080"},
      {"[listen]\nhttp = [\n  '*:80',\n  8080,\n]\n",
       "p.toml:4: listen.http: expected a text in the array of addresses, found 8080"},
      {"[listen]\nhttp = [\n  '*:80',\n  ['*:81'],\n]\n",
       "p.toml:4: listen.http: expected a text in the array of addresses, found an array"},
      {"[listen]\nhttp = ['*:80']\nadmin = ['127.0.0.1:90', '*:80']\n",
       "p.toml:3: listen.admin: expected each address once, '*:80' is in listen.http already"},
      {"[listen]\nhttp = ['*:80', '*:0', '*:0', '*:080']\n",
       "p.toml:2: listen.http: expected each address once, '*:080' is in listen.http already"},
      {"[timeouts]\ndrain = 1.5\n",
       "p.toml:2: timeouts.drain: expected a duration from 0 to 1d like \"30s\" or 500 "
       "(milliseconds), found a number with a fraction"},
      {"[timeouts]\ndrain = 07:32:00\n",
       "p.toml:2: timeouts.drain: expected a duration from 0 to 1d like \"30s\" or 500 "
       "(milliseconds), found a date or time"},
      {"[log]\nlevel = {}\n",
       "p.toml:2: log.level: expected debug, info, warning or error, found a table"},
      // Tables
      {"store = 'memory:'\n", "p.toml:1: store: expected a table, [store], found a text"},
      {"\nlisten = ['*:80']\n", "p.toml:2: listen: expected a table, [listen], found an array"},
      {"[[listen]]\n", "p.toml:1: listen: expected a table, [listen], found an array of tables"},
      {"[host]\nhost = 'a.test'\n",
       "p.toml:1: host: expected [[host]], one for each host, found a table"},
      {"host = ['a.test']\n",
       "p.toml:1: host: expected [[host]], one for each host, found an array"},
      {"host = 'a.test'\n", "p.toml:1: host: expected [[host]], one for each host, found a text"},
      // Unknown names
      {"[listen]\nhtpp = []\n", "p.toml:2: listen.htpp: unknown, did you mean listen.http?"},
      {"[listne]\n", "p.toml:1: listne: unknown, did you mean listen?"},
      {"[hosts]\n", "p.toml:1: hosts: unknown, did you mean host?"},
      {"http = ['*:80']\n", "p.toml:1: http: unknown, did you mean listen.http?"},
      {"[workers]\nthreads = 5\n", "p.toml:2: workers.threads: unknown, expected count"},
      {"[quic]\n",
       "p.toml:1: quic: unknown, expected store, cache, redis, replica, lookup_service, listen, "
       "tls, acme, renew, admin, workers, timeouts, limits, origins, "
       "forwarding, log, metrics, process, certificate, issuer or host"},
      // Certificates
      {"certificate = 'a.pem'\n",
       "p.toml:1: certificate: expected [[certificate]], one for each certificate, found a text"},
      {"[[certificate]]\nchain = 'a.pem'\n", "p.toml:1: certificate.key: missing"},
      {"[[certificate]]\nchain = ''\n",
       "p.toml:2: certificate.chain: expected a text that is not empty, found ''"},
      {"[[certificate]]\nchain = 'a.pem'\ncert = 'a.pem'\n",
       "p.toml:3: certificate.cert: unknown, expected chain or key"},
      {"[[certificate]]\nwildcard_parent = 'a.pem'\n",
       "p.toml:2: certificate.wildcard_parent: unknown, expected chain or key"},
      {"[acme]\nenabled = true\n",
       "p.toml:2: acme.enabled: expected together with acme.agree_tos = true, once you have read "
       "the "
       "CA's terms of service"},
      {"[acme]\ndirectory = 'http://ca.test/'\n",
       "p.toml:2: acme.directory: expected a url that begins with 'https://', found "
       "'http://ca.test/'"},
      {"[acme]\neab_kid = 'x'\n",
       "p.toml:2: acme.eab_kid: expected together with acme.eab_key_file"},
      {"[acme]\nenabled = true\nagree_tos = true\nchallenge = []\n",
       "p.toml:4: acme.challenge: expected at least one of 'http-01' and 'dns-01'"},
      {"[acme]\nchallenge = ['tls-alpn-01']\n",
       "p.toml:2: acme.challenge: expected 'http-01' or 'dns-01', found 'tls-alpn-01'"},
      {"[renew]\nwebhook = 'ftp://secret@hook.test/'\n",
       "p.toml:2: renew.webhook: expected a url that begins with 'https://' or 'http://', found "
       "'ftp'"},
      {"[[host]]\nhost = 'a.test'\nip = '127.0.0.1'\ntargetPort = 80\nchallengeType = 'dns'\n",
       "p.toml:5: host.challengeType: expected HTTP-01, DNS-01, DNS-01-wildcard, wildcardChild or "
       "none, found 'dns'"},
      {"[tls]\nfallback_key = 'a.key'\n",
       "p.toml:2: tls.fallback_key: expected together with tls.fallback_chain"},
      {"[tls]\nmin_version = '1.1'\n",
       "p.toml:2: tls.min_version: expected 1.2 or 1.3, found '1.1'"},
      {"[listen]\nhttp = ['*:443']\nhttps = ['*:443']\n",
       "p.toml:3: listen.https: expected each address once, '*:443' is in listen.http already"},
      {"[timeouts.client]\nidle = 5\n",
       "p.toml:1: timeouts.client: unknown, expected tls_handshake, client_header, client_body, "
       "client_idle, client_write, origin_connect, origin_first_byte, origin_idle, "
       "origin_keepalive, "
       "tunnel_idle or drain"},
      // The first in the file is told
      {"[workers]\ncount = -1\n[listen]\nbacklog = 0\n",
       "p.toml:2: workers.count: expected a number from 0 to 1024, found -1"},
      // What is no TOML
      {"[listen]\nbacklog = 1\n\nbacklog = 2\n",
       "p.toml:4: listen.backlog: expected once, found again"},
      {"[listen]\nbacklog = 1\n[log]\n[listen]\n", "p.toml:4: listen: expected once, found again"},
      {"[[host]]\nip = 'a'\nip = 'b'\n", "p.toml:3: host.ip: expected once, found again"},
      {"a = 1\na = 2\n", "p.toml:2: a: expected once, found again"},
      {"[listen]\nbacklog\n", ""},  // in the parser's words
      {"[listen]\nbacklog = \"5\n", ""},
      {"\n[listen\n", ""},
      {"x = '\x01'\n", ""},
      {"x = '\xFF'\n", ""},
      {std::string_view("\xFF\xFE[\0l\0", 6), ""},
  };
  for (const Case& one : cases) {
    const std::string message = fault(one.text);
    INFO(message);
    if (one.message.empty()) {
      CHECK(message.find(": not TOML: ") != std::string::npos);
    } else {
      CHECK(message == one.message);
    }
    for (const char c : message) CHECK((c < 0 || c >= 0x20));
  }
}

TEST_CASE("config: what is wrong with a host is named with the field's line") {
  struct Case {
    std::string_view fields;  // from line 3
    std::string_view message;
  };
  const Case cases[] = {
      {"ip = '::1'\ntargetPort = 80\n", "p.toml:2: host.host: missing"},
      {"host = 'a.test'\ntargetPort = 80\n", "p.toml:2: host.ip: missing"},
      {"host = 'a.test'\nip = '::1'\n", "p.toml:2: host.targetPort: missing"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = 70000\n",
       "p.toml:5: host.targetPort: expected a number from 1 to 65535, found 70000"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = 0\n",
       "p.toml:5: host.targetPort: expected a number from 1 to 65535, found 0"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = '80'\n",
       "p.toml:5: host.targetPort: expected a number from 1 to 65535, found '80'"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = 80\nforcessl = 'false'\n",
       "p.toml:6: host.forcessl: expected true or false, found 'false'"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = 80\nconnectTimeout = '1h'\n",
       "p.toml:6: host.connectTimeout: expected a duration from 1ms to 10m, found '1h'"},
      {"host = 'a.test'\nip = '::1'\ntarget_port = 80\n",
       "p.toml:5: host.target_port: unknown, did you mean host.targetPort?"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = 80\nhost-pass-through = true\n",
       "p.toml:6: host.host-pass-through: unknown, did you mean host.host-pass-though?"},
      {"host = 'a.test'\nip = '::1'\ntargetPort = 80\ncreated_by = 'me'\n",
       "p.toml:6: host.created_by: belongs to records of the store, not to a file"},
      {"host = 'a.test'\nis_wildcard = true\n",
       "p.toml:4: host.is_wildcard: belongs to records of the store, not to a file"},
  };
  for (const Case& one : cases) {
    CHECK(fault("# hosts\n[[host]]\n" + std::string(one.fields)) == one.message);
  }
}

TEST_CASE("config: what a host's checks refuse is told with the line of the field") {
  const auto place = [](std::string_view fields) {
    const std::string message = fault("[[host]]\n" + std::string(fields));
    return message.substr(0, message.find(": ", message.find(": ") + 1));
  };
  CHECK(place("host = 'a..test'\nip = '::1'\ntargetPort = 80\n") == "p.toml:2: host.host");
  CHECK(place("host = 'a.test'\nip = '1.2.3.4:80'\ntargetPort = 80\n") == "p.toml:3: host.ip");
  CHECK(place("host = 'a.test'\nip = '::1'\ntargetPort = 80\ntargets = [\n'::1'\n]\n") ==
        "p.toml:6: host.targets");
}

TEST_CASE("config: a host twice clashes, naming both lines") {
  const std::string one = "[[host]]\nhost = 'a.test'\nip = '::1'\ntargetPort = 80\n";
  CHECK(fault(one + one, Errc::conflict) ==
        "p.toml:5: host.host: 'a.test' is declared at p.toml:1 already");
  CHECK(fault(one + "\n[[host]]\nip = '::1'\ntargetPort = 80\nhost = 'A.Test.'\n",
              Errc::conflict) == "p.toml:6: host.host: 'a.test' is declared at p.toml:1 already");
  CHECK(good(one + "[[host]]\nhost = '*.test'\nip = '::1'\ntargetPort = 80\n").hosts.size() == 2);
}

TEST_CASE("config: files are read by their path") {
  const TempDir folder;
  const std::string path = write(folder, "p.toml",
                                 "[listen]\nbacklog = 5\n[[host]]\nhost = 'a.test'\n"
                                 "ip = '::1'\ntargetPort = 80\n");
  const auto config = load_config(path);
  REQUIRE(config);
  CHECK(config->listen.backlog == 5);
  REQUIRE(config->hosts.size() == 1);
  CHECK(config->hosts[0].origin == path + ":3");

  const auto wrong = load_config(write(folder, "w.toml", "[listen]\nbacklog = 0\n"));
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().detail == folder.path() +
                                    "/w.toml:2: listen.backlog: expected a number "
                                    "from 1 to 65535, found 0");
}

TEST_CASE("config: a file that cannot be read says which and why") {
  const TempDir folder;
  const auto missing = load_config(folder.path() + "/none.toml");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Errc::not_found);
  CHECK(missing.error().detail ==
        folder.path() + "/none.toml: cannot be read: No such file or directory");
  const auto directory = load_config(folder.path());
  REQUIRE_FALSE(directory);
  CHECK(directory.error().code == Errc::invalid);
  CHECK(directory.error().detail == folder.path() + ": cannot be read: Is a directory");
}

TEST_CASE("config: what grows without end is refused") {
  CHECK(fault(std::string(server::max_config_size + 1, '\n'), Errc::limit) ==
        "p.toml: expected at most 64 MiB");
  const auto endless = load_config("/dev/zero");
  REQUIRE_FALSE(endless);
  CHECK(endless.error().detail == "/dev/zero: expected at most 64 MiB");

  std::string dotted = "\n";
  for (int i = 0; i < 1'000'000; ++i) dotted += "a.";
  CHECK(fault(dotted + "b = 1\n", Errc::limit) ==
        "p.toml:2: expected at most 1000 names joined by dots");
  CHECK(fault("a = " + std::string(1'000'000, '[')).find(": not TOML: ") != std::string::npos);
  std::string tables = "a = ";
  for (int i = 0; i < 100'000; ++i) tables += "{a = ";
  CHECK(fault(tables).find(": not TOML: ") != std::string::npos);
  // Dots that join nothing are no matter.
  CHECK(good("# " + std::string(900, '.') + "\n").hosts.empty());
}

TEST_CASE("config: a hundred thousand hosts are read in seconds") {
  std::string text;
  for (int i = 0; i < 100'000; ++i) {
    text += "[[host]]\nhost = \"h" + std::to_string(i) +
            ".example.test\"\nip = \"127.0.0.1\"\ntargetPort = 9000\n\n";
  }
  const auto start = std::chrono::steady_clock::now();
  const Config config = good(text);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(config.hosts.size() == 100'000);
  CHECK(config.hosts.back().origin == "p.toml:499996");
  CHECK(took.count() < 30);  // sanitized, on a busy machine
}
