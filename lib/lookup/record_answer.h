// What a host's record means for a look-up: for the tiers that get records from elsewhere.
//
// Not here: how they get them (redis_tier, socket_tier), what the fields mean (host/host_record).
// Thread: values; one at a time.
#pragma once

#include "host/route_table.h"
#include "lookup/lookup.h"
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace proxycore::lookup {

// The route of `record`, the answer to the name `host`. A record without an address, what a renamed
// host leaves behind, is none: null. The route of a wildcard hit that was written back has the
// wildcard's pattern: it goes when that changes, and counts there.
// Errors: invalid (the field, and what was expected).
Answer answer_of(std::string_view host, Record record, host::StatsIds& ids);

// Lets one line per key through in a minute, so that a broken record that is much asked for does
// not fill the log. Bounded.
class Complaints {
 public:
  // `now`: milliseconds of the loop's clock.
  bool admit(std::string_view key, std::int64_t now);

 private:
  std::unordered_map<std::string, std::int64_t> told_;
};

}  // namespace proxycore::lookup
