// The permissions of the API: which user has which role, everywhere or for the hosts of a domain.
//
// A permission's id is made of what it is about ("user:alice:domain:example.com"): giving one again
// changes its role. The last administrator cannot be demoted. Not here: what a role may
// (auth/access). Source: the design's compatibility notes, 5.3. Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"results":[records],"open":whether everybody is an administrator}
Result<Reply> list_permissions(Context& admin, const Call& call);
// {"users":[names],"groups":[names]}
Result<Reply> list_subjects(Context& admin, const Call& call);
// {"message",<the record>}
Result<Reply> add_permission(Context& admin, const Call& call);
Result<Reply> change_permission(Context& admin, const Call& call);
Result<Reply> remove_permission(Context& admin, const Call& call);

}  // namespace proxycore::admin
