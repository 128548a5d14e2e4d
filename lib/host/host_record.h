// Host <-> Record, with the field names and stringly values of existing installations.
//
// Booleans are false only when they read exactly "false", numbers are what JavaScript reads
// ("80.0"), lists are JSON text. Fields that are no member of Host are not looked at; save() keeps
// them. Not here: Store, keys (keys.h).
// Source: the design's compatibility notes, 1.1 and 1.3. Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/host.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <string_view>

namespace proxycore::host {

// The host of a record, validated. Errors: invalid (which fields are missing, or which one is
// wrong and what was expected).
Result<Host> host_from(const Record& record);

// The record of a host, all its fields; those of no value are left out.
Record record_of(const Host& host);

// What save() makes of the record `before` (empty: there is none) for a host that is valid.
Record record_after(const Record& before, Host host, std::int64_t now_ms);

// Whether it is no host of its own, but a wildcard hit that was written back.
bool is_cache_row(const Record& record);

// Calls `each` for every host of the store, with its key, once per canonical name. What is no host
// of its own, because a wildcard hit was written back, is left out. A broken record stops nothing:
// `broken` is told. So is one under another spelling of a name that has a record
// ("UPPER.example.com"). Neither may call the store. Errors: those of Store::scan.
Result<void> for_each_host(Store& store,
                           const std::function<void(std::string_view key, Host&& host)>& each,
                           const std::function<void(std::string_view key, const Error&)>& broken,
                           const Deadline& by);

}  // namespace proxycore::host
