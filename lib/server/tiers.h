// Which lookup tiers a configuration asks for.
//
// Not here: the tiers (lib/lookup). Thread: any.
#pragma once

#include <proxycore/config.h>
#include <proxycore/result.h>

#include <string>
#include <string_view>
#include <vector>

namespace proxycore::server {

// `lookup`, or what it is by default for that store (a url). Errors: invalid (which tier cannot be
// there, and why).
Result<std::vector<std::string>> lookup_tiers(const Config& config, std::string_view store);

// Whether hosts are held in memory, all of them.
bool has_table(const std::vector<std::string>& tiers);

}  // namespace proxycore::server
