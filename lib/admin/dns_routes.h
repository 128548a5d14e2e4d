// The DNS providers of the API: accounts at DNS vendors, and the domains that they serve.
//
// An account is kept once its vendor has taken its credentials; secrets go in and never come out:
// {"set":true} stands for them. What vendors say becomes 422 (they do not take the credentials) or
// 424 (anything else). Not here: vendors (dns/), keeping accounts (renew.h).
// Source: the design's compatibility notes, 5.2. Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"results":[ids]}; with ?detail= their records.
Result<Reply> list_dns_providers(Context& admin, const Call& call);
// {"results":[{"name":type,"displayName","fields":{name:{"displayName","isRequired","isPrivate",
// "type","help"}}}]}
Result<Reply> list_dns_types(Context& admin, const Call& call);
Result<Reply> add_dns_provider(Context& admin, const Call& call);
Result<Reply> show_dns_provider(Context& admin, const Call& call);
Result<Reply> change_dns_provider(Context& admin, const Call& call);
Result<Reply> remove_dns_provider(Context& admin, const Call& call);
// {"results":[names]}; with ?detail= their records, each with its provider's in "dnsProvider".
Result<Reply> list_dns_domains(Context& admin, const Call& call);
// The domain that a name of a host lies in: {"results":[record]}.
Result<Reply> find_dns_domain(Context& admin, const Call& call);
// Asks the vendor again: {"domains":[names]}.
Result<Reply> refresh_dns_domains(Context& admin, const Call& call);

}  // namespace proxycore::admin
