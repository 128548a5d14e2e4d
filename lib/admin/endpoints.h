// The whole REST surface of the manager, one row an operation: the only list there is. It drives
// routing, permissions, the threads an operation runs on, the OpenAPI document and its test.
//
// Thread: see endpoint.h.
#pragma once

#include "admin/audit_routes.h"
#include "admin/cert_routes.h"
#include "admin/dns_routes.h"
#include "admin/endpoint.h"
#include "admin/events.h"
#include "admin/host_routes.h"
#include "admin/openapi.h"
#include "admin/permission_routes.h"
#include "admin/service.h"
#include "admin/system_routes.h"
#include "admin/token_routes.h"
#include "admin/user_routes.h"

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

    {Method::post, "/api/auth/login", Need::nothing, log_in,
     "Begins a session: its token, or with `cookie` the pages' cookie.", "Login", "LoggedIn", "",
     Lane::password},
    {Method::post, "/api/auth/logout", Need::nothing, log_out,  //
     "Ends the caller's session.", "", "Message"},
    {Method::get, "/api/auth/logout", Need::nothing, log_out,  //
     "As POST, for old clients.", "", "Message"},
    {Method::get, "/api/auth/session", Need::any_login, show_session,
     "Who the caller is, and what they may do.", "", "Session"},

    {Method::get, "/api/user", Need::admin, list_users,
     "Lists users: their names, or their records (detail).", "", "UserList", "detail"},
    {Method::post, "/api/user", Need::admin, add_user,  //
     "Adds a user.", "NewUser", "ChangedUser", "", Lane::password},
    {Method::get, "/api/user/me", Need::any_login, show_me,  //
     "The caller's name, and rights by domain.", "", "Me"},
    {Method::put, "/api/user/password", Need::any_login, set_own_password,
     "Sets the caller's password; their other sessions end.", "NewPassword", "UserRecord", "",
     Lane::password},
    {Method::put, "/api/user/password/:user", Need::admin, set_password_of,
     "Sets a user's password; their sessions end.", "NewPassword", "UserRecord", "",
     Lane::password},
    {Method::get, "/api/user/:user", Need::admin, show_user,  //
     "One user.", "", "UserRecord"},
    {Method::put, "/api/user/:user", Need::admin, change_user,
     "Lets a user log in, or not; then their sessions end.", "UserChange", "UserRecord"},
    {Method::del, "/api/user/:user", Need::admin, remove_user,
     "Removes a user with their sessions, API tokens and permissions.", "", "UserRecord"},

    {Method::get, "/api/permission", Need::admin, list_permissions,
     "Lists who has which role, and where.", "", "PermissionList"},
    {Method::post, "/api/permission", Need::admin, add_permission,
     "Gives a role, everywhere or for a domain.", "NewPermission", "ChangedPermission"},
    {Method::get, "/api/permission/subjects", Need::admin, list_subjects,
     "Who can be given a role.", "", "Subjects"},
    {Method::put, "/api/permission/:id", Need::admin, change_permission,
     "Puts another permission in the place of one.", "PermissionChange", "ChangedPermission"},
    {Method::del, "/api/permission/:id", Need::admin, remove_permission, "Takes a role away.", "",
     "Message"},

    {Method::get, "/api/api-token", Need::login, list_api_tokens,
     "Lists the caller's API tokens; administrators see all.", "", "ApiTokenList"},
    {Method::post, "/api/api-token", Need::login, add_api_token,
     "Makes an API token; its secret is shown this once.", "NewApiToken", "MadeApiToken"},
    {Method::get, "/api/api-token/:id", Need::login, show_api_token,  //
     "One API token.", "", "OneApiToken"},
    {Method::put, "/api/api-token/:id", Need::login, change_api_token,
     "Changes what the body has of an API token.", "ApiTokenChange", "OneApiToken"},
    {Method::del, "/api/api-token/:id", Need::login, remove_api_token,  //
     "Revokes an API token.", "", "Message"},
    {Method::post, "/api/api-token/:id/rotate", Need::login, rotate_api_token,
     "Makes a new secret for an API token; the old one ends.", "", "MadeApiToken"},

    {Method::get, "/api/audit", Need::admin, list_audit, "Who changed what, the newest first.", "",
     "Audit", "limit cursor"},

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
