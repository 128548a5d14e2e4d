// Logging in and out, and the users: who there is, and what becomes of them.
//
// A log-in answers a token for scripts or, with "cookie", sets the pages' cookie and keeps the
// token to itself. Passwords go in and never come out; neither do their hashes.
// Not here: what users may do (permission_routes), whose credential it is (auth/accounts).
// Source: the design's compatibility notes, 5.2 and 5.3. Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"login":true,"token","message"}; with {"cookie":true} "csrf" in place of "token".
Result<Reply> log_in(Context& admin, const Call& call);
Result<Reply> log_out(Context& admin, const Call& call);
// Who the caller is, for the pages: {"username","admin","open","csrf","password_expired","grants",
// "how","ends"}.
Result<Reply> show_session(Context& admin, const Call& call);

// {"results":[names]}; with ?detail= their records.
Result<Reply> list_users(Context& admin, const Call& call);
// As later versions of the old software have it: {"username","isAdmin","global","domains",...}.
Result<Reply> show_me(Context& admin, const Call& call);
Result<Reply> show_user(Context& admin, const Call& call);
Result<Reply> add_user(Context& admin, const Call& call);
// {"disabled":true}.
Result<Reply> change_user(Context& admin, const Call& call);
Result<Reply> remove_user(Context& admin, const Call& call);
Result<Reply> set_own_password(Context& admin, const Call& call);
Result<Reply> set_password_of(Context& admin, const Call& call);

}  // namespace proxycore::admin
