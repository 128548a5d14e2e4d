// The whole REST surface of the manager, one row an operation: the only list there is. It drives
// routing, permissions, the threads an operation runs on, the OpenAPI document and its test.
//
// Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include "admin/events.h"
#include "admin/host_routes.h"
#include "admin/openapi.h"
#include "admin/service.h"

namespace proxycore::admin {

// method, path, who may, function, what it does, schemas of body and reply, query, threads
inline constexpr Endpoint endpoints[] = {
    {Method::get, "/health", Need::nothing, show_health,  //
     "Says that the manager answers.", "", "Health"},
    {Method::get, "/api/openapi.json", Need::nothing, show_openapi,  //
     "This document.", "", "Anything"},
    {Method::get, "/api/events", Need::viewer_of_any, listen_to_events,
     "Tells what changes, as server-sent events, as far as the caller may see it.", "", "Events"},

    {Method::get, "/api/host", Need::viewer_of_any, list_hosts,
     "Lists hosts: all names, all records (detail), or a page of records (limit).", "", "HostList",
     "detail limit cursor q"},
    {Method::post, "/api/host", Need::manager, add_host,  //
     "Adds a host.", "NewHost", "ChangedHost"},
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
     "Changes what the body has of a host; another name moves it.", "HostChange", "ChangedHost"},
    {Method::del, "/api/host/:host", Need::manager, remove_host,  //
     "Removes a host.", "", "ChangedHost"},
    {Method::put, "/api/host/:host/renew", Need::manager, renew_host,
     "Asks for a certificate now, whatever its time.", "", "Message"},
    {Method::get, "/api/host/:host/explain", Need::viewer, explain_host,
     "What the proxy would do with a request for that name, and why.", "", "Explanation", "",
     Lane::others},
};

}  // namespace proxycore::admin
