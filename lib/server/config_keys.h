// config_keys: every key of the configuration file, once: its name, type, range and meaning.
//
// The tables drive the loader (config_load), changed_keys() and config_reference(), so that they
// cannot drift apart. How a type of value is read and shown is config_values.
// Thread: any; the tables never change.
#pragma once

#include "server/config_values.h"
#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/result.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace proxycore::server {

// Of: what has the value: Config, Config::CertificateFiles, Config::Issuer or Host.
template <class Of>
struct Key {
  Rule rule;
  // As the functions of Value<T>, T being the field's type.
  Result<void> (*read)(const Rule& rule, const Given& given, Of& to);
  std::string (*shown)(const Rule& rule, const Of& from);
  std::string (*type)(const Rule& rule);
  std::string (*range)(const Rule& rule);
};

struct Table {
  std::string_view name;   // "listen"; empty: the keys outside of tables
  std::string_view about;  // Markdown
};

// In the order of the reference; the keys of one table stand together.
std::span<const Key<Config>> config_keys() noexcept;
std::span<const Key<Config::CertificateFiles>> certificate_keys() noexcept;
std::span<const Key<Config::Issuer>> issuer_keys() noexcept;
std::span<const Key<Host>> host_keys() noexcept;
// All but [[certificate]], [[issuer]] and [[host]].
std::span<const Table> tables() noexcept;

// "listen" of "listen.http"; empty outside of tables.
constexpr std::string_view table_part(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view{} : name.substr(0, dot);
}
constexpr std::string_view last_part(std::string_view name) {
  return name.substr(name.rfind('.') + 1);
}

// "file:7: listen.htp: unknown, did you mean listen.http?", or "..., expected a, b or c" where none
// of the known names is near.
Error unknown_at(const Place& place, std::string_view name, std::span<const std::string_view> known,
                 std::span<const std::string_view> expected);

}  // namespace proxycore::server
