// AdminPages: the Handler of the admin listener: /metrics, /livez, /readyz.
//
// Metrics are summed over the workers when they are asked for (Prometheus text format 0.0.4).
// Source: the names below are part of the interface; docs/metrics.md lists them.
// Thread: handle() on any worker's loop; it does not block.
#pragma once

#include "base/line_writer.h"
#include "host/route_table.h"
#include "proxy/counters.h"
#include <proxycore/handler.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace proxycore::server {

// What the pages show; filled by the server when asked.
struct Vitals {
  std::vector<const proxy::Counters*> workers;
  std::vector<std::string> host_names;  // of the per-host counters, by slot
  std::size_t hosts = 0;
  std::uint64_t log_batches_dropped = 0;
  std::uint64_t route_updates = 0;
  std::uint64_t route_failures = 0;
  bool ready = false;
  std::string not_ready_because;
};

class AdminPages final : public Handler {
 public:
  explicit AdminPages(std::function<Vitals()> vitals) : vitals_(std::move(vitals)) {}
  void handle(Request request, Responder responder) override;
  [[nodiscard]] std::size_t max_body() const noexcept override { return 0; }

 private:
  std::function<Vitals()> vitals_;
};

// The text of /metrics.
std::string metrics_text(const Vitals& vitals);

}  // namespace proxycore::server
