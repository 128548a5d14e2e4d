// The hosts of the API: to list, add, change and remove them, and to see what becomes of a name.
//
// Source: the design's compatibility notes, 1.3, 1.4 and 5.2. Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

Result<Reply> list_hosts(Context& admin, const Call& call);
Result<Reply> add_host(Context& admin, const Call& call);
Result<Reply> show_host(Context& admin, const Call& call);
Result<Reply> change_host(Context& admin, const Call& call);
Result<Reply> remove_host(Context& admin, const Call& call);
Result<Reply> renew_host(Context& admin, const Call& call);
Result<Reply> explain_host(Context& admin, const Call& call);
Result<Reply> look_up_host(Context& admin, const Call& call);
Result<Reply> show_host_tree(Context& admin, const Call& call);
Result<Reply> show_wildcard_parent(Context& admin, const Call& call);
Result<Reply> clear_host_cache(Context& admin, const Call& call);

}  // namespace proxycore::admin
