#include "server/admin_pages.h"

#include "base/json.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace proxycore::server {

namespace {

using proxy::Counters;
using proxy::HostCounters;

class Page {
 public:
  explicit Page(const Vitals& vitals) : vitals_(vitals) {}

  template <class Of>
  auto sum(Of&& of) {
    decltype(of(*vitals_.workers.front())) total = 0;
    for (const Counters* worker : vitals_.workers) total += of(*worker);
    return total;
  }

  void head(std::string_view name, std::string_view type, std::string_view help) {
    format("# HELP proxycore_{} {}\n# TYPE proxycore_{} {}\n", name, help, name, type);
  }
  void single(std::string_view name, std::string_view type, std::string_view help,
              std::int64_t value) {
    head(name, type, help);
    format("proxycore_{} {}\n", name, value);
  }
  template <class Of>
  void counter(std::string_view name, std::string_view help, Of&& of) {
    single(name, "counter", help, static_cast<std::int64_t>(sum(of)));
  }
  template <class Of>
  void gauge(std::string_view name, std::string_view help, Of&& of) {
    single(name, "gauge", help, sum(of));
  }
  // One line of a labelled family.
  template <class Of>
  void line(std::string_view name, std::string_view labels, Of&& of) {
    format("proxycore_{}{{{}}} {}\n", name, labels, sum(of));
  }
  void histogram(std::string_view name, std::string_view help,
                 const base::Histogram& (*of)(const Counters&)) {
    head(name, "histogram", help);
    histogram_lines(name, "", of);
  }
  // Of a family that may have several; `labels` may be empty.
  template <class Of>
  void histogram_lines(std::string_view name, std::string_view labels, Of&& of) {
    const std::string_view comma = labels.empty() ? "" : ",";
    const std::string set = labels.empty() ? "" : fmt::format("{{{}}}", labels);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < base::Histogram::bounds.size(); ++i) {
      below += sum([&](const Counters& c) { return of(c).bucket(i); });
      format("proxycore_{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma,
             static_cast<double>(base::Histogram::bounds[i]) / 1e6, below);
    }
    below += sum([&](const Counters& c) { return of(c).bucket(base::Histogram::bounds.size()); });
    format("proxycore_{}_bucket{{{}{}le=\"+Inf\"}} {}\n", name, labels, comma, below);
    format("proxycore_{}_sum{} {:.6f}\n", name, set,
           static_cast<double>(sum([&](const Counters& c) { return of(c).sum(); })) / 1e6);
    format("proxycore_{}_count{} {}\n", name, set, below);
  }
  template <class... Args>
  void format(fmt::format_string<Args...> text, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), text, std::forward<Args>(args)...);
  }
  std::string take() { return std::move(text_); }

 private:
  const Vitals& vitals_;
  std::string text_;
};

// The value of a label, whatever it holds.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c == '\n' ? std::string_view{"\\n"} : std::string_view{&c, 1};
  }
  return text;
}

constexpr std::string_view classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};

void host_lines(Page& page, const Vitals& vitals) {
  page.head("host_responses_total", "counter", "Responses by host and status class.");
  for (std::size_t slot = 0; slot < vitals.host_names.size(); ++slot) {
    for (std::size_t kind = 0; kind < std::size(classes); ++kind) {
      std::uint64_t count = 0;
      for (const Counters* worker : vitals.workers) {
        count += worker->per_host[slot].responses[kind].value();
      }
      if (count == 0) continue;
      page.format("proxycore_host_responses_total{{host=\"{}\",status=\"{}\"}} {}\n",
                  escaped(vitals.host_names[slot]), classes[kind], count);
    }
  }
  const auto bytes = [&](std::string_view name, std::string_view help,
                         const base::Counter& (*of)(const HostCounters&)) {
    page.head(name, "counter", help);
    for (std::size_t slot = 0; slot < vitals.host_names.size(); ++slot) {
      std::uint64_t count = 0;
      for (const Counters* worker : vitals.workers) count += of(worker->per_host[slot]).value();
      if (count == 0) continue;
      page.format("proxycore_{}{{host=\"{}\"}} {}\n", name, escaped(vitals.host_names[slot]),
                  count);
    }
  };
  bytes("host_request_bytes_total", "Request content received, by host.",
        [](const HostCounters& c) -> const base::Counter& { return c.bytes_in; });
  bytes("host_response_bytes_total", "Response content sent, by host.",
        [](const HostCounters& c) -> const base::Counter& { return c.bytes_out; });
}

// The tiers are the same in every worker.
void lookup_lines(Page& page, const Vitals& vitals) {
  if (vitals.workers.empty()) return;
  const auto& tiers = vitals.workers.front()->lookup.tiers;
  page.head("lookups_total", "counter", "Host look-ups by tier and result.");
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    const auto line = [&](std::string_view result,
                          const base::Counter& (*of)(const lookup::TierCounters&)) {
      page.line("lookups_total", fmt::format("tier=\"{}\",result=\"{}\"", tiers[i].name, result),
                [&](const Counters& c) { return of(c.lookup.tiers[i]).value(); });
    };
    using Tier = const lookup::TierCounters&;
    line("hit", [](Tier c) -> const base::Counter& { return c.hits; });
    line("miss", [](Tier c) -> const base::Counter& { return c.misses; });
    line("failure", [](Tier c) -> const base::Counter& { return c.failures; });
  }
  page.counter("lookups_last_known_total",
               "Look-ups answered as before because no tier could tell.",
               [](const Counters& c) { return c.lookup.last_known.value(); });
  const bool any_remote =
      std::any_of(tiers.begin(), tiers.end(), [](const auto& tier) { return tier.remote; });
  if (!any_remote) return;
  page.head("lookup_duration_seconds", "histogram", "How long tiers took that ask others.");
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    if (!tiers[i].remote) continue;
    page.histogram_lines(
        "lookup_duration_seconds", fmt::format("tier=\"{}\"", tiers[i].name),
        [i](const Counters& c) -> const base::Histogram& { return c.lookup.tiers[i].latency; });
  }
}

double seconds(std::int64_t milliseconds) {
  return static_cast<double>(milliseconds) / 1e3;
}

double age_seconds(const Vitals& vitals) {
  return seconds(std::max<std::int64_t>(0, vitals.now - vitals.feed.synced));
}

void store_lines(Page& page, const Vitals& vitals) {
  page.single("hosts", "gauge", "Hosts and patterns in the table of hosts.",
              static_cast<std::int64_t>(vitals.table ? vitals.table->size() : 0));
  page.single("route_updates_total", "counter", "Times the table of hosts was replaced.",
              static_cast<std::int64_t>(vitals.feed.updates));
  page.single("route_update_failures_total", "counter",
              "Times it could not be: the old one went on.",
              static_cast<std::int64_t>(vitals.feed.failures));
  if (vitals.remote) {
    page.single("store_up", "gauge", "Whether the store can be reached.",
                vitals.store_health.reachable ? 1 : 0);
    page.head("store_events", "gauge", "How changes in the store are learned of.");
    page.format("proxycore_store_events{{by=\"{}\"}} 1\n", vitals.store_health.events);
    page.head("store_events_lag_seconds", "gauge", "Behind which changes in the store are told.");
    page.format("proxycore_store_events_lag_seconds {:.3f}\n",
                seconds(vitals.store_health.lag.count()));
    if (vitals.whole_table) {
      page.head("replica_age_seconds", "gauge",
                "Since the table of hosts was known to be the store's.");
      page.format("proxycore_replica_age_seconds {:.3f}\n", age_seconds(vitals));
      page.single("replica_distrusts_store", "gauge",
                  "1: the store lost its hosts; those known before are served.",
                  vitals.feed.distrusted ? 1 : 0);
    }
  }
  if (const auto* service = vitals.lookup_service; service != nullptr) {
    const auto line = [&](std::string_view result, const base::Counter& counter) {
      page.format("proxycore_lookup_service_requests_total{{result=\"{}\"}} {}\n", result,
                  counter.value());
    };
    page.head("lookup_service_requests_total", "counter", "Questions to the lookup service.");
    line("hit", service->hits);
    line("miss", service->misses);
    line("failure", service->failures);
    page.single("lookup_service_connections", "gauge", "Clients of the lookup service.",
                service->connections.value());
    page.single("lookup_service_refused_total", "counter",
                "Of these, those that were too many or sent no request.",
                static_cast<std::int64_t>(service->refused.value()));
  }
}

void challenge_lines(Page& page, const Challenges::Counters& counters) {
  const auto line = [&](std::string_view result, const base::Counter& counter) {
    page.format("proxycore_acme_challenges_total{{result=\"{}\"}} {}\n", result, counter.value());
  };
  page.head("acme_challenges_total", "counter", "HTTP-01 challenges that were asked for.");
  line("answered", counters.answered);
  line("unknown", counters.unknown);
  line("failed", counters.failed);
}

}  // namespace

Readiness readiness(const Vitals& vitals) {
  if (vitals.stopping) return {false, "draining\n"};
  if (!vitals.remote || !vitals.whole_table) return {true, "ok\n"};
  const auto& health = vitals.store_health;
  const std::string hosts =
      fmt::format("{} hosts of {}", vitals.table ? vitals.table->size() : 0, vitals.store);
  const std::string why = health.why.empty() ? "" : ": " + health.why;
  if (!vitals.feed.known) {
    return {false, fmt::format("no hosts are known yet, {} cannot be read{}\n", vitals.store, why)};
  }
  const bool current = health.reachable && !vitals.feed.distrusted && !vitals.feed.from_copy;
  std::string text = fmt::format("ok\n{}, {:.1f} s old", hosts, age_seconds(vitals));
  if (vitals.feed.distrusted) text += ", which has lost hosts: those known before are served";
  if (current) text += fmt::format(", kept by {}", health.events);
  if (!health.reachable) text += ", which cannot be reached" + why;
  return {true, text + "\n"};
}

std::string metrics_text(const Vitals& vitals) {
  Page page(vitals);
  using C = const Counters&;
  page.gauge("connections", "Client connections open now.",
             [](C c) { return c.connections_open.value(); });
  page.counter("connections_total", "Client connections accepted.",
               [](C c) { return c.connections_accepted.value(); });
  page.head("connections_refused_total", "counter", "Client connections over a limit.");
  page.line("connections_refused_total", "limit=\"total\"",
            [](C c) { return c.connections_refused_total.value(); });
  page.line("connections_refused_total", "limit=\"address\"",
            [](C c) { return c.connections_refused_address.value(); });
  page.counter("requests_total", "Requests begun.", [](C c) { return c.requests.value(); });
  page.gauge("exchanges", "Requests being answered now.",
             [](C c) { return c.exchanges_open.value(); });
  page.gauge("tunnels", "Upgraded connections (WebSocket) open now.",
             [](C c) { return c.tunnels_open.value(); });
  page.head("responses_total", "counter", "Responses by status class.");
  for (std::size_t kind = 0; kind < std::size(classes); ++kind) {
    page.line("responses_total", fmt::format("status=\"{}\"", classes[kind]),
              [kind](C c) { return c.responses[kind].value(); });
  }
  page.histogram("request_duration_seconds", "From a request's head to the end of its response.",
                 [](C c) -> const base::Histogram& { return c.duration; });
  page.histogram("origin_first_byte_seconds", "From a request's forwarding to its response head.",
                 [](C c) -> const base::Histogram& { return c.origin_first_byte; });
  page.counter("request_bytes_total", "Request content received.",
               [](C c) { return c.bytes_in.value(); });
  page.counter("response_bytes_total", "Response content sent.",
               [](C c) { return c.bytes_out.value(); });
  lookup_lines(page, vitals);
  page.counter("retries_total", "Requests sent to a target a second time.",
               [](C c) { return c.retries.value(); });
  page.head("failures_total", "counter", "Requests answered by the proxy itself, by reason.");
  page.line("failures_total", "reason=\"bad_request\"", [](C c) { return c.bad_requests.value(); });
  page.line("failures_total", "reason=\"header_too_large\"",
            [](C c) { return c.over_head_limit.value(); });
  page.line("failures_total", "reason=\"target_too_long\"",
            [](C c) { return c.over_target_limit.value(); });
  page.line("failures_total", "reason=\"body_too_large\"",
            [](C c) { return c.over_body_limit.value(); });
  page.line("failures_total", "reason=\"client_timeout\"",
            [](C c) { return c.client_timeouts.value(); });
  page.line("failures_total", "reason=\"client_gone\"",
            [](C c) { return c.client_aborts.value(); });
  page.line("failures_total", "reason=\"origin_failure\"",
            [](C c) { return c.origin_failures.value(); });
  page.line("failures_total", "reason=\"origin_timeout\"",
            [](C c) { return c.origin_timeouts.value(); });
  page.line("failures_total", "reason=\"overload\"", [](C c) { return c.overloads.value(); });
  page.gauge("origin_connections", "Connections to targets open now.",
             [](C c) { return c.pool.open.value(); });
  page.gauge("origin_connections_idle", "Of these, waiting for a request.",
             [](C c) { return c.pool.idle.value(); });
  page.counter("origin_connects_total", "Connections to targets begun.",
               [](C c) { return c.pool.connects.value(); });
  page.counter("origin_connect_failures_total", "Connections to targets that failed.",
               [](C c) { return c.pool.connect_failures.value(); });
  page.counter("origin_refused_addresses_total",
               "Addresses of targets that hosts may not point at.",
               [](C c) { return c.pool.refused.value(); });
  page.counter("origin_reuses_total", "Requests sent on a kept connection.",
               [](C c) { return c.pool.reuses.value(); });
  page.head("origin_handshakes_total", "counter", "TLS handshakes with targets.");
  page.line("origin_handshakes_total", "result=\"full\"",
            [](C c) { return c.pool.handshakes_full.value(); });
  page.line("origin_handshakes_total", "result=\"resumed\"",
            [](C c) { return c.pool.handshakes_resumed.value(); });
  page.line("origin_handshakes_total", "result=\"bad_certificate\"",
            [](C c) { return c.pool.handshakes_denied.value(); });
  page.line("origin_handshakes_total", "result=\"failed\"",
            [](C c) { return c.pool.handshakes_failed.value(); });
  page.head("origin_unverified_connects_total", "counter",
            "Connections to TLS targets whose certificates are not verified.");
  page.line("origin_unverified_connects_total", "why=\"insecure\"",
            [](C c) { return c.pool.unverified_by_choice.value(); });
  page.line("origin_unverified_connects_total", "why=\"legacy\"",
            [](C c) { return c.pool.unverified_by_default.value(); });
  page.head("tls_handshakes_total", "counter", "TLS handshakes with clients, by session.");
  page.line("tls_handshakes_total", "session=\"full\"",
            [](C c) { return c.handshakes.value() - c.handshakes_resumed.value(); });
  page.line("tls_handshakes_total", "session=\"resumed\"",
            [](C c) { return c.handshakes_resumed.value(); });
  page.head("tls_handshake_failures_total", "counter", "TLS handshakes that came to nothing.");
  page.line("tls_handshake_failures_total", "reason=\"refused\"",
            [](C c) { return c.handshake_failures.value(); });
  page.line("tls_handshake_failures_total", "reason=\"timeout\"",
            [](C c) { return c.handshake_timeouts.value(); });
  page.counter("http2_connections_total", "Client connections that speak HTTP/2.",
               [](C c) { return c.h2.connections.value(); });
  page.counter("http2_streams_total", "Requests begun over HTTP/2.",
               [](C c) { return c.h2.streams.value(); });
  page.head("http2_errors_total", "counter", "HTTP/2 connections ended for what the client did.");
  page.line("http2_errors_total", "reason=\"abuse\"", [](C c) { return c.h2.abuse.value(); });
  page.line("http2_errors_total", "reason=\"protocol\"", [](C c) { return c.h2.errors.value(); });
  page.counter("certificates_asked_total", "Names whose certificates had to be asked for.",
               [](C c) { return c.certificates.asked.value(); });
  page.counter("certificate_failures_total", "Of these, could not be found out.",
               [](C c) { return c.certificates.failures.value(); });
  page.counter("certificate_timeouts_total", "Times that handshakes had waited long enough.",
               [](C c) { return c.certificates.timeouts.value(); });
  page.counter("fallback_certificates_total", "Handshakes that got the fallback certificate.",
               [](C c) { return c.certificates.fallbacks.value(); });
  host_lines(page, vitals);
  store_lines(page, vitals);
  if (vitals.challenges != nullptr) challenge_lines(page, *vitals.challenges);
  if (vitals.renewal != nullptr) page.format("{}", vitals.renewal->metrics());
  page.single("access_log_batches_dropped_total", "counter",
              "Batches of access-log lines lost because the log could not be written.",
              static_cast<std::int64_t>(vitals.log_batches_dropped));
  return page.take();
}

std::string targets_json(const Vitals& vitals) {
  std::string text;
  base::json::Writer json(text);
  json.begin_object().key("targets").begin_array();
  for (const auto& entry : vitals.failing) {
    json.begin_object()
        .field("target", entry.target)
        .field("state", entry.rests_until > vitals.now ? "resting" : "up")
        .field("failures", entry.failures)
        .field("since", entry.since)
        .end_object();
  }
  json.end_array().end_object();
  return text;
}

void AdminPages::handle(Request request, Responder responder) {
  Response response;
  response.fields = {{"Content-Type", "text/plain; charset=utf-8"}, {"Cache-Control", "no-store"}};
  const std::string_view path = request.path();
  if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.fields.emplace_back("Allow", "GET, HEAD");
    response.body = "expected GET\n";
  } else if (path == "/livez") {
    response.body = "ok\n";
  } else if (path == "/readyz") {
    Readiness now = readiness(vitals_());
    response.status = now.ready ? 200 : 503;
    response.body = std::move(now.text);
  } else if (path == "/metrics") {
    response.fields[0].second = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics_text(vitals_());
  } else if (path == "/targets") {
    response.fields[0].second = "application/json";
    response.body = targets_json(vitals_());
  } else if (path == "/explain") {
    return explain(request, std::move(responder));
  } else {
    response.status = 404;
    response.body = "expected /metrics, /livez, /readyz, /targets or /explain?host=NAME\n";
  }
  responder.respond(std::move(response));
}

void AdminPages::explain(const Request& request, Responder responder) {
  const std::string asked = asked_host(request.query());
  std::string scratch;
  const std::string_view name = HostName::normalize(asked, scratch);
  if (name.empty()) {
    Response response;
    response.status = 400;
    response.fields = {{"Content-Type", "text/plain; charset=utf-8"}};
    response.body = "expected /explain?host=NAME, NAME a host name\n";
    return responder.respond(std::move(response));
  }
  std::erase_if(explanations_, [](const auto& one) { return one->done(); });
  auto explanation = std::make_unique<Explanation>(std::string(name), lookup_()->tiers(),
                                                   vitals_().table, std::move(responder));
  Explanation& begun = *explanations_.emplace_back(std::move(explanation));
  begun.begin();
}

}  // namespace proxycore::server
