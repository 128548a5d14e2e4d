// The API tokens of the API: secrets that scripts show in place of a log-in.
//
// Everybody has their own, administrators see all. The secret comes once, when it is made. A token
// makes and changes no tokens: one that is limited to a role would not be.
// Not here: whose token it is (auth/api_tokens). Source: the design's compatibility notes, 5.3.
// Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"results":[records]}
Result<Reply> list_api_tokens(Context& admin, const Call& call);
Result<Reply> show_api_token(Context& admin, const Call& call);
// {"results":{record},"token":the secret,"message"}
Result<Reply> add_api_token(Context& admin, const Call& call);
Result<Reply> rotate_api_token(Context& admin, const Call& call);
Result<Reply> change_api_token(Context& admin, const Call& call);
Result<Reply> remove_api_token(Context& admin, const Call& call);

}  // namespace proxycore::admin
