// What one worker counts; the metrics page (lib/server) sums over the workers and names them.
//
// Thread: changed by the worker's, read by any.
#pragma once

#include "base/metrics.h"
#include "http/h2_limits.h"
#include "lookup/lookup.h"
#include "origin/pool.h"
#include "tls/cert_cache.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace proxycore::proxy {

// Status classes 1xx..5xx as 0..4.
constexpr std::size_t status_class(std::uint16_t status) noexcept {
  return status >= 100 && status < 600 ? status / 100U - 1U : 4U;
}

struct HostCounters {
  std::array<base::Counter, 5> responses;  // by status class
  base::Counter bytes_in;                  // request content
  base::Counter bytes_out;                 // response content
};

struct Counters {
  // `hosts`: how many hosts have counters of their own; slot 0 is the rest. `tiers`: of the lookup.
  Counters(std::size_t hosts, std::size_t tiers) : lookup(tiers), per_host(hosts + 1) {}

  base::Counter connections_accepted;
  base::Gauge connections_open;
  base::Counter connections_refused_total;    // limits.connections
  base::Counter connections_refused_address;  // limits.connections_per_address
  base::Counter requests;
  base::Gauge exchanges_open;
  base::Gauge tunnels_open;
  std::array<base::Counter, 5> responses;  // by status class
  base::Histogram duration;                // first byte of the request to the end of the response
  base::Histogram origin_first_byte;       // request handed to the origin to its response head
  base::Counter bytes_in;
  base::Counter bytes_out;
  base::Counter lookup_hits;
  base::Counter lookup_misses;
  lookup::LookupCounters lookup;
  base::Counter retries;
  base::Counter bad_requests;        // 400, 501, 505: framing
  base::Counter over_head_limit;     // 431
  base::Counter over_target_limit;   // 414
  base::Counter over_body_limit;     // 413
  base::Counter client_timeouts;     // 408, or a client that takes no bytes
  base::Counter client_aborts;       // 499
  base::Counter origin_failures;     // 502
  base::Counter origin_timeouts;     // 504
  base::Counter overloads;           // 503
  base::Counter handshakes;          // of TLS, that were completed
  base::Counter handshakes_resumed;  // of these, with a session of before
  base::Counter handshake_failures;  // those that were not: refused, or the client went away
  base::Counter handshake_timeouts;  // or took too long
  http::H2Counters h2;
  origin::PoolCounters pool;
  tls::CertCacheCounters certificates;
  std::vector<HostCounters> per_host;
};

}  // namespace proxycore::proxy
