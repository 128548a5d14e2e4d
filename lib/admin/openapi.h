// The OpenAPI document of the manager, made of the table of endpoints.
//
// Not here: the table (endpoints.h), schemas of bodies and replies (schemas.h).
// Source: OpenAPI 3.1.0, JSON Schema 2020-12. Thread: functions, any.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

#include <span>
#include <string>

namespace proxycore::admin {

// The whole document.
std::string openapi_document(std::span<const Endpoint> endpoints);

// GET /api/openapi.json.
Result<Reply> show_openapi(Context& admin, const Call& call);

}  // namespace proxycore::admin
