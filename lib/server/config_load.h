// config_load: a configuration file (TOML 1.0) becomes a Config; its functions are load_config()
// and parse_config() of <proxycore/config.h>.
//
// Reads, bounds and walks the file; what a key may hold is config_keys. The first error in the
// order of the file is told: file, line, key, what was expected and what was found.
// Thread: any.
#pragma once

#include <cstddef>

namespace proxycore::server {

inline constexpr std::size_t max_config_size = std::size_t{64} << 20;  // bytes
// Names that dots may join, as in `a.b.c = 1`: every one is a table in a table.
inline constexpr std::size_t max_config_depth = 1000;

}  // namespace proxycore::server
