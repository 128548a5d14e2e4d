// The OpenAPI document of the manager, made of the table of endpoints.
//
// Schemas of bodies and replies, and query parameters, are named by endpoints and written here.
// Source: OpenAPI 3.1.0, JSON Schema 2020-12. Thread: functions, any.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

#include <span>
#include <string>
#include <string_view>

namespace proxycore::admin {

// A named schema of bodies or replies, as JSON; it may refer to others ("#/components/schemas/x").
struct Schema {
  std::string_view name;
  std::string_view json;
};
std::span<const Schema> schemas() noexcept;

// The whole document.
std::string openapi_document(std::span<const Endpoint> endpoints);

// GET /api/openapi.json.
Result<Reply> show_openapi(Context& admin, const Call& call);

}  // namespace proxycore::admin
