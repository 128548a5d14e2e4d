// The audit of the API: who did what to what, the newest first, page by page.
//
// Not here: what is put on record (changes). Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"results":[{"id","at","who","how","what","key","changes":{field:[before,after]}}],"next"}
Result<Reply> list_audit(Context& admin, const Call& call);

}  // namespace proxycore::admin
