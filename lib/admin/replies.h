// Replies: how what endpoints give, and errors, look on the wire.
//
// Errors have the shape that old clients know ({"name","message"}), or that of RFC 9457 where
// Accept asks for application/problem+json. One table says which Errc is which status and name.
// Source: the design's compatibility notes, 5.1; RFC 9110 §8.8.3, §13.1, RFC 9457.
// Thread: functions, any.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/handler.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::admin {

// {"results":...} of JSON, and the like, are made with base::json::Writer by who knows the fields.
inline Reply ok(std::string json) {
  return Reply{.body = std::move(json)};
}
inline Reply refuse(Problem problem) {
  return Reply{.problem = std::move(problem)};
}

// 401, always the same text.
Problem login_failed();
// 403: whoever has a password for one time only has to set another first.
Problem password_expired();
// 412: If-Match names another state.
Problem changed_meanwhile();
// 429.
Problem too_many(std::uint32_t retry_after_s);
// 424: a DNS vendor or a CA said so.
Problem others_failed(std::string_view name, std::string words);
// 422 with a list of all that is wrong.
Problem wrong_fields(std::vector<Problem::Field> fields);
// 404 of an unknown path.
Problem page_not_found();

// The one table. "field 'x': why" becomes an entry of the list, key and message.
Problem problem_of(const Error& error);

// "EntryNotFound": "Host:app.example.com does not exists" (sic), as old clients know it.
Error does_not_exist(std::string_view model, std::string_view key);
Error exists_already(std::string_view model, std::string_view key);

// Of a record, or any text: what If-Match and If-None-Match compare; no quotes.
std::string tag_of(const Record& record);
std::string tag_of(std::string_view text);

// As sent. `request` says which shape errors have, and whether the client has it already (304).
Response response_of(Reply reply, const Request& request);
Response response_of(const Problem& problem, const Request& request);

// On every response, of pages too: CSP, nosniff, no-referrer, and no-store under /api.
void add_security_fields(Response& response, const Request& request);

}  // namespace proxycore::admin
