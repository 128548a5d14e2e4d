// in_process(): whether proxyd does itself what may be another process's work.
//
// One rule for certificates (renew.in_process) and the manager (admin.in_process): what the
// configuration says; else yes, if the store is this machine's alone. Thread: any.
#pragma once

#include "redis/url.h"
#include <proxycore/store.h>

#include <optional>

namespace proxycore::server {

inline bool in_process(std::optional<bool> configured, const Store& store) {
  return configured.value_or(!redis::Url::has_scheme(store.describe()));
}

// How many steps (base/priority.h) the threads of either stand behind those that serve clients.
inline constexpr int behind_traffic = 10;

}  // namespace proxycore::server
