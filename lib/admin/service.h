// Service: how a request becomes the call of an endpoint, and its reply a response.
//
// Checks what any request has to bring (a host that is ours, a path we have, a credential, the CSRF
// token, a body that is JSON), finds the endpoint in the one table and runs it on the threads of
// its lane. AdminService (proxycore/admin.h) is this with the parts it needs.
// Not here: what endpoints do. Thread: any; functions of this header do not block.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/handler.h>
#include <proxycore/result.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::admin {

// The endpoint of a request, with what stands for the ":x" of its path.
struct Found {
  const Endpoint* endpoint;
  std::vector<std::string> path;
};
// HEAD is GET; fixed parts of any case, '/' at the end or not; the first row that fits.
// nullopt: 404. Errors: invalid (a percent escape that is none: 400 URIError).
Result<std::optional<Found>> find_endpoint(std::span<const Endpoint> table, std::string_view method,
                                           std::string_view path);

// Whether a request has come to a name of ours: on plain loopback, another site's page could have
// let its own name point to us (DNS rebinding).
bool is_our_host(const Request& request);

// GET /health.
Result<Reply> show_health(Context& admin, const Call& call);

}  // namespace proxycore::admin
