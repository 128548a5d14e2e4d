// Every store key of the system whose installations we take over; both planes need them.
//
// Source: compatibility notes §1.2. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace proxycore::host::keys {

inline constexpr std::string_view host_prefix = "proxy_Host_";

inline std::string host(std::string_view name) { return std::string(host_prefix).append(name); }

}  // namespace proxycore::host::keys
