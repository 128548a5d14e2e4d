// The certificates of the API: what is kept, and the story of how it came, comes and fails to.
//
// A private key is for administrators only; for others {"set":true} stands for it. Not here:
// asking for a certificate (host_routes), getting one (certs/).
// Source: the design's compatibility notes, 2.1 and 5.2. Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"results":[stories]}, in the order of names; with ?limit= those after ?cursor=, "total" of all
// and, if there are more, "next" for the next cursor. ?q= is searched in names, ?state= is one of a
// story's.
Result<Reply> list_certificates(Context& admin, const Call& call);
// The record as it is kept: {"fullchain_pem","cert_pem","privkey_pem","expiry",...}.
Result<Reply> show_certificate(Context& admin, const Call& call);
// The story of a host's certificate, its own or that of the wildcard above it: {"results":story}.
Result<Reply> show_certificate_story(Context& admin, const Call& call);

}  // namespace proxycore::admin
