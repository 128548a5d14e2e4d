// Reading and writing the fields of any record as the old software does: everything is text.
//
// Booleans are false only when they read exactly "false", numbers are what JavaScript reads
// ("80.0"), lists are JSON text, and a user who is not known is "__NONE__". Errors name the field
// and what was expected. Not here: which fields a record has (host_record, store/repo).
// Source: the design's compatibility notes, 1.1. Thread: any.
#pragma once

#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::host::fields {

inline constexpr std::string_view nobody = "__NONE__";
// Of times in milliseconds; exact in a double, which is what they were written from.
inline constexpr std::int64_t max_time = std::int64_t{1} << 53;

// "field 'ip': is missing", invalid.
Error field_error(std::string_view name, std::string_view why);

// nullptr: no such field.
const std::string* find(const Record& record, std::string_view name);
// Errors: invalid (which of `names` are not there).
Result<void> require(const Record& record, std::span<const std::string_view> names);

bool boolean(const Record& record, std::string_view name, bool otherwise);
// "": not there.
std::string text(const Record& record, std::string_view name);
// "": nobody, or not there.
std::string user(const Record& record, std::string_view name);
// A whole number, written as any decimal number; nullopt: not there. Errors: invalid.
Result<std::optional<std::int64_t>> whole(const Record& record, std::string_view name,
                                          std::int64_t min, std::int64_t max);
// For book-keeping only: what cannot be read is not there.
std::optional<std::int64_t> time_stamp(const Record& record, std::string_view name);
// A list of texts; not there or empty: none. Errors: invalid.
Result<std::vector<std::string>> texts(const Record& record, std::string_view name);

// As fields are written.
std::string spelled(bool value);
std::string spelled(std::span<const std::string> list);

}  // namespace proxycore::host::fields
