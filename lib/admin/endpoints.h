// The whole REST surface of the manager, one row an operation: the only list there is. It drives
// routing, permissions, the threads an operation runs on, the OpenAPI document and its test.
//
// Thread: see endpoint.h.
#pragma once

#include "admin/cert_routes.h"
#include "admin/dns_routes.h"
#include "admin/endpoint.h"
#include "admin/events.h"
#include "admin/host_routes.h"
#include "admin/openapi.h"
#include "admin/service.h"
#include "admin/system_routes.h"

namespace proxycore::admin {

// Of paths that fit the first counts: fixed parts stand before ":x".
// method, path, who may, function, what it does, schemas of body and reply, query, threads
inline constexpr Endpoint endpoints[] = {
    {Method::get, "/health", Need::nothing, show_health,  //
     "Says that the manager answers.", "", "Health"},
    {Method::get, "/api/openapi.json", Need::nothing, show_openapi,  //
     "This document.", "", "Anything"},
    {Method::get, "/api/events", Need::viewer_of_any, listen_to_events,
     "Tells what changes, as server-sent events, as far as the caller may see it.", "", "Event"},

    {Method::get, "/api/host", Need::viewer_of_any, list_hosts,
     "Lists hosts: all names, all records (detail), or a page of records (limit).", "", "HostList",
     "detail limit cursor q show"},
    {Method::post, "/api/host", Need::manager, add_host,  //
     "Adds a host.", "NewHost", "ChangedHost", "", Lane::others},
    {Method::del, "/api/host/cache", Need::admin, clear_host_cache,
     "Forgets the names that wildcards have answered for.", "", "Cleared"},
    {Method::get, "/api/host/lookupobj", Need::admin, show_host_tree,
     "The tree of hosts, label by label from the right.", "", "HostTree"},
    {Method::get, "/api/host/lookup/:name", Need::viewer_of_any, look_up_host,
     "Which host answers for a name.", "", "LookedUp"},
    {Method::get, "/api/host/wildcard-parent/:name", Need::viewer_of_any, show_wildcard_parent,
     "The wildcard whose certificate covers a name.", "", "WildcardParent"},
    {Method::get, "/api/host/:host", Need::viewer, show_host,  //
     "One host.", "", "OneHost"},
    {Method::put, "/api/host/:host", Need::manager, change_host,
     "Changes what the body has of a host; another name moves it.", "HostChange", "ChangedHost", "",
     Lane::others},
    {Method::del, "/api/host/:host", Need::manager, remove_host,  //
     "Removes a host.", "", "ChangedHost"},
    {Method::put, "/api/host/:host/renew", Need::manager, renew_host,
     "Asks for a certificate now, whatever its time.", "", "Message"},
    {Method::get, "/api/host/:host/explain", Need::viewer, explain_host,
     "What the proxy would do with a request for that name, and why.", "", "Explanation", "",
     Lane::others},

    {Method::get, "/api/host/:host/certificate", Need::viewer, show_certificate_story,
     "The story of a host's certificate, or of its wildcard's.", "", "OneStory"},
    {Method::get, "/api/cert", Need::viewer_of_any, list_certificates,
     "The stories of certificates.", "", "StoryList", "limit cursor q state", Lane::others},
    {Method::get, "/api/cert/:host", Need::viewer, show_certificate,
     "A certificate as it is kept; its private key for administrators.", "", "Certificate"},

    {Method::get, "/api/dns", Need::admin, list_dns_providers,
     "Lists DNS providers: their ids, or their records (detail).", "", "DnsProviderList", "detail"},
    {Method::options, "/api/dns", Need::login, list_dns_types,
     "Which types of DNS providers there are, and what each wants.", "", "DnsTypeList"},
    {Method::post, "/api/dns", Need::admin, add_dns_provider,
     "Checks an account with its vendor and keeps it.", "NewDnsProvider", "ChangedDnsProvider", "",
     Lane::others},
    {Method::get, "/api/dns/domain", Need::admin, list_dns_domains,
     "Lists the domains that the providers serve.", "", "DomainList", "detail"},
    {Method::get, "/api/dns/domain/:name", Need::admin, find_dns_domain,
     "The domain that a name lies in.", "", "FoundDomain"},
    {Method::post, "/api/dns/domain/refresh/:id", Need::admin, refresh_dns_domains,
     "Asks the vendor for an account's domains again.", "", "RefreshedDomains", "", Lane::others},
    {Method::get, "/api/dns/:id", Need::admin, show_dns_provider,  //
     "One DNS provider.", "", "OneDnsProvider"},
    {Method::put, "/api/dns/:id", Need::admin, change_dns_provider,
     "Changes what the body has of an account, once its vendor takes it.", "DnsProviderChange",
     "ChangedDnsProvider", "", Lane::others},
    {Method::del, "/api/dns/:id", Need::admin, remove_dns_provider,
     "Forgets an account and its domains.", "", "ChangedDnsProvider", "", Lane::others},

    {Method::get, "/api/target", Need::viewer_of_any, list_targets,
     "Targets that failed lately, or rest.", "", "TargetList", "", Lane::others},
    {Method::get, "/api/system", Need::admin, show_system,
     "Listeners, the store, and how the proxy is doing.", "", "System", "", Lane::others},
};

}  // namespace proxycore::admin
