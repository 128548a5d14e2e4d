// Where a host may point at, asked when it is saved: every target of it, and what names of targets
// mean now.
//
// A name that cannot be resolved is no reason to refuse a host: the proxy asks again whenever it
// connects. Not here: the rules (host/target_policy.h). Thread: functions, any; they block.
#pragma once

#include "host/target_policy.h"
#include <proxycore/deadline.h>
#include <proxycore/host.h>
#include <proxycore/result.h>

namespace proxycore::admin {

// Precondition: `host` is valid. Errors: invalid ("field 'ip': 127.0.0.1:3000: ..."), cancelled.
Result<void> check_targets(const host::TargetPolicy& policy, const Host& host, const Deadline& by);

}  // namespace proxycore::admin
