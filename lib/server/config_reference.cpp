#include "server/config_keys.h"
#include <proxycore/config.h>

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace proxycore {

namespace {

using server::Key;
using server::Rule;

constexpr std::string_view introduction =
    R"(# Configuration

`proxyd --config FILE` reads a TOML 1.0 file. Every key has a default: only what differs need stand in the file. A key
that is not listed here is an error. `proxyd --check --config FILE` checks a file and names file, line and key of what
is wrong with it.

- A **size** is a number of bytes, or a text with a unit: `"64KiB"`, `"4GiB"` (B, KiB, MiB, GiB, TiB, PiB).
- A **duration** is a number of milliseconds, or a text with a unit: `"500ms"`, `"30s"` (ms, s, m, h, d).
- Relative paths are relative to the working directory.

SIGHUP takes over the hosts, certificates and authorities and reopens the access log; everything else needs a restart.
)";

constexpr std::string_view about_certificates =
    R"(
## [[certificate]]

One for each certificate in files; it serves the names in it. A name may have two, one with an ECDSA key and one with
an RSA key: the client's signature algorithms choose. SIGHUP reads them again.

```toml
[[certificate]]
chain = "/etc/proxycore/example.test.pem"
key = "/etc/proxycore/example.test.key"
```
)";

constexpr std::string_view about_issuers =
    R"(
## [[issuer]]

Further CAs, asked in this order where `[acme]`'s, and those before, give no certificate. A renewal asks the one that
gave the certificate first.

```toml
[[issuer]]
directory = "https://ca.example.test/directory"
eab_kid = "kid-1"
eab_key_file = "/etc/proxycore/ca-example.key"
```
)";

constexpr std::string_view about_hosts =
    R"(
## [[host]]

One for each host: a name, or a pattern of names, and where its requests go. Hosts in the file are read-only and live
beside those of the store; the same host twice is an error. The fields are those of a record in the store.

```toml
[[host]]
host = "**.example.test"
ip = "127.0.0.1"
targetPort = 9000
targets = ["127.0.0.1:9001"]
```
)";

template <class Of>
void describe(std::string& out, const Key<Of>& key, std::string_view name, const Of& defaults) {
  const Rule& rule = key.rule;
  const std::string standard = rule.required            ? "required"
                               : !rule.standard.empty() ? std::string(rule.standard)
                                                        : '`' + key.shown(rule, defaults) + '`';
  out += fmt::format("| `{}` | {} | {} | {} | {} |\n", name, key.type(rule), standard,
                     key.range(rule), rule.meaning);
}

constexpr std::string_view heading =
    "\n| key | type | default | range | meaning |\n|---|---|---|---|---|\n";

}  // namespace

std::string config_reference() {
  std::string out(introduction);
  const Config defaults;
  for (const server::Table& table : server::tables()) {
    const std::string title =
        table.name.empty() ? "Outside of tables" : fmt::format("[{}]", table.name);
    out += fmt::format("\n## {}\n\n{}\n{}", title, table.about, heading);
    for (const auto& key : server::config_keys()) {
      const std::string_view name = key.rule.name;
      if (server::table_part(name) == table.name) describe(out, key, name, defaults);
    }
  }
  out.append(about_certificates).append(heading);
  const Config::CertificateFiles files;
  for (const auto& key : server::certificate_keys()) {
    describe(out, key, server::last_part(key.rule.name), files);
  }
  out.append(about_issuers).append(heading);
  const Config::Issuer issuer;
  for (const auto& key : server::issuer_keys()) {
    describe(out, key, server::last_part(key.rule.name), issuer);
  }
  out.append(about_hosts).append(heading);
  const Host host;
  for (const auto& key : server::host_keys()) {
    describe(out, key, server::last_part(key.rule.name), host);
  }
  return out;
}

}  // namespace proxycore
