// AdminPages: the Handler of the admin listener: /metrics, /livez, /readyz, /explain, /targets.
//
// Metrics are summed over the workers when they are asked for (Prometheus text format 0.0.4).
// Source: the names below are part of the interface; docs/metrics.md lists them.
// Thread: that of one worker's loop; handle() does not block.
#pragma once

#include "base/line_writer.h"
#include "host/route_table.h"
#include "lookup/lookup.h"
#include "lookup/socket_server.h"
#include "origin/failing_targets.h"
#include "proxy/counters.h"
#include "server/challenges.h"
#include "server/explain.h"
#include "server/renewal.h"
#include "server/route_feed.h"
#include <proxycore/handler.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace proxycore::server {

// What the pages show; filled by the server when asked.
struct Vitals {
  std::vector<const proxy::Counters*> workers;
  std::vector<std::string> host_names;  // of the per-host counters, by slot
  std::shared_ptr<const host::RouteTable> table;
  std::uint64_t log_batches_dropped = 0;
  RouteFeed::State feed;
  std::string store;  // its url, without a password
  Store::Health store_health;
  bool remote = false;       // the store is on other machines
  bool whole_table = false;  // the table has the store's hosts, not only the file's
  const lookup::ServiceCounters* lookup_service = nullptr;
  const Challenges::Counters* challenges = nullptr;
  const Renewal* renewal = nullptr;
  std::vector<origin::FailingTargets::Entry> failing = {};
  std::int64_t now = 0;  // milliseconds since 1970
  bool stopping = false;
};

class AdminPages final : public Handler {
 public:
  // `lookup`: of the loop that handle() is called on.
  AdminPages(std::function<Vitals()> vitals, std::function<lookup::Lookup*()> lookup)
      : vitals_(std::move(vitals)), lookup_(std::move(lookup)) {}
  void handle(Request request, Responder responder) override;
  [[nodiscard]] std::size_t max_body() const noexcept override { return 0; }

 private:
  void explain(const Request& request, Responder responder);

  std::function<Vitals()> vitals_;
  std::function<lookup::Lookup*()> lookup_;
  std::vector<std::unique_ptr<Explanation>> explanations_;  // under way, or just done
};

// Whether requests can be served, and how far what is served is what the store says: a line for
// people each.
struct Readiness {
  bool ready;
  std::string text;
};
Readiness readiness(const Vitals& vitals);

// {"targets":[{"target":"127.0.0.1:81","state":"resting","failures":3,"since":1767225600000}]}:
// those whose last requests failed; "up": it is tried with the next request.
std::string targets_json(const Vitals& vitals);

// The text of /metrics.
std::string metrics_text(const Vitals& vitals);

}  // namespace proxycore::server
