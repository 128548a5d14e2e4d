// The fields of a host as the API has them: their JSON, and how a body changes a record.
//
// What a record holds is text; here each known field has the type that clients know. Fields that
// nobody may set (who made it, when, whether it is a cached hit) are passed over in bodies, as are
// unknown ones. Not here: what values mean and whether they are right (host_record).
// Source: the design's compatibility notes, 1.3 and 5.1. Thread: functions, any.
#pragma once

#include "admin/endpoint.h"
#include "base/json.h"
#include <proxycore/store.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::admin {

// {"host":...,"targetPort":80,"forcessl":true,...}: unknown fields as texts, secrets as
// {"set":true}; times of book-keeping as texts, as old clients know them.
std::string host_json(const Record& record);
// The members alone, without braces, to stand in an object with others.
std::string host_members(const Record& record);

// What a body says about fields: a value as records have it, or nullopt: to be taken away.
using Edits = std::vector<std::pair<std::string, std::optional<std::string>>>;
struct ReadFields {
  Edits edits;
  std::vector<Problem::Field> wrong;  // all that is, in the words that old clients know
};
enum class Whole : std::uint8_t { no, yes };  // yes: what a host cannot be without has to be there
ReadFields read_host_fields(const base::json::Value& body, Whole whole);

void apply(const Edits& edits, Record& record);

}  // namespace proxycore::admin
