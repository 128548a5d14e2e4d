// The installation in the API: its listeners, its store, how it is doing, and how its targets are.
//
// What counts is asked of the proxyd (AdminService::Surroundings) each time; rates are made of two
// answers by who asks. Thread: see endpoint.h.
#pragma once

#include "admin/endpoint.h"
#include <proxycore/result.h>

namespace proxycore::admin {

// {"version", "time": ms,
//  "listeners": {"http","https","metrics","manager","managerTls","lookup": [addresses]},
//  "store": {"url","reachable","why","events","lagMs","roundTripMs","usedBytes" or null},
//  "hosts": n, "open": whether everybody is an administrator,
//  "proxy": {"reachable", "why"},
//  "metrics": {"requests","exchanges","connections","targetConnections","targetFailures",
//              "responses": {status: n}, "failures": {reason: n},
//              "duration": {"count","sum","buckets":[[seconds, n],...]}, "firstByte": the same,
//              "lookups": [{"tier","hit","miss","failure"}],
//              "certificates": {state: n}, "attempts": {result: n}, "firstEnd": seconds since 1970}
//             or null}; numbers are since the proxyd began, buckets hold what took up to so long.
Result<Reply> show_system(Context& admin, const Call& call);
// {"targets":[{"target","state","failures","since"}],"reachable","why"}: those that failed, of the
// hosts that the caller may see.
Result<Reply> list_targets(Context& admin, const Call& call);

}  // namespace proxycore::admin
