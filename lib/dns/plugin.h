// Plugins: DNS providers in shared objects, behind the C interface of dns_plugin.h.
//
// A plugin is code that runs with all our rights: it is loaded only from where nobody but root and
// our own user could have put it, by the runner only, and never unloaded. Not here: what it may do
// (docs/plugin-abi.md). Thread: load_plugin() before others use the registry.
#pragma once

#include "dns/registry.h"
#include <proxycore/result.h>

#include <string>

namespace proxycore::dns {

// The file's path with no link in it, if neither it nor any directory above it can be changed by
// somebody else. Errors: not_found, denied (which rule is broken, and where), invalid (no file),
// io.
Result<std::string> trusted_file(const std::string& path);

// Adds the plugin's type. Errors: those of trusted_file(), invalid (no plugin, or one that serves
// no host like us), conflict (the type is there).
Result<void> load_plugin(Registry& registry, const std::string& path);

}  // namespace proxycore::dns
