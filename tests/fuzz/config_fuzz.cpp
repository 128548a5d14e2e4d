// A configuration file: whatever is accepted is written back with the same meaning; whatever is
// refused is told in one line that begins with the file.
#include "server/config_keys.h"
#include <proxycore/config.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using proxycore::Config;

namespace {

constexpr std::string_view name = "p.toml";

// As a file, from the table of keys.
std::string written(const Config& config) {
  std::string out;
  for (const auto& key : proxycore::server::config_keys()) {
    const std::string value = key.shown(key.rule, config);
    if (value.empty()) continue;  // it has none
    out.append(key.rule.name).append(" = ").append(value) += '\n';
  }
  for (const auto& declared : config.hosts) {
    out += "[[host]]\n";
    for (const auto& key : proxycore::server::host_keys()) {
      const std::string value = key.shown(key.rule, declared.host);
      if (value.empty()) continue;  // it has none
      out.append(key.rule.name.substr(key.rule.name.find('.') + 1)).append(" = ").append(value);
      out += '\n';
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = proxycore::parse_config({reinterpret_cast<const char*>(data), size}, name);
  if (!config) {
    const std::string& why = config.error().detail;
    if (!why.starts_with(name)) std::abort();
    for (const char c : why) {
      if (c >= 0 && c < 0x20) std::abort();
    }
    return 0;
  }
  const std::string once = written(*config);
  const auto again = proxycore::parse_config(once, name);
  if (!again || written(*again) != once) std::abort();
  if (!changed_keys(*config, *again).empty()) std::abort();
  return 0;
}
