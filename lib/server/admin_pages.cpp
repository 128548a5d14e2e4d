#include "server/admin_pages.h"

#include <iterator>
#include <string_view>

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
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < base::Histogram::bounds.size(); ++i) {
      below += sum([&](const Counters& c) { return of(c).bucket(i); });
      format("proxycore_{}_bucket{{le=\"{}\"}} {}\n", name,
             static_cast<double>(base::Histogram::bounds[i]) / 1e6, below);
    }
    below += sum([&](const Counters& c) { return of(c).bucket(base::Histogram::bounds.size()); });
    format("proxycore_{}_bucket{{le=\"+Inf\"}} {}\n", name, below);
    format("proxycore_{}_sum {:.6f}\n", name,
           static_cast<double>(sum([&](const Counters& c) { return of(c).sum(); })) / 1e6);
    format("proxycore_{}_count {}\n", name, below);
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

}  // namespace

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
  page.head("lookups_total", "counter", "Host look-ups by tier and result.");
  page.line("lookups_total", "tier=\"trie\",result=\"hit\"",
            [](C c) { return c.lookup_hits.value(); });
  page.line("lookups_total", "tier=\"trie\",result=\"miss\"",
            [](C c) { return c.lookup_misses.value(); });
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
  page.counter("origin_reuses_total", "Requests sent on a kept connection.",
               [](C c) { return c.pool.reuses.value(); });
  host_lines(page, vitals);
  page.single("hosts", "gauge", "Hosts and patterns that are served.",
              static_cast<std::int64_t>(vitals.hosts));
  page.single("route_updates_total", "counter", "Times the table of hosts was replaced.",
              static_cast<std::int64_t>(vitals.route_updates));
  page.single("route_update_failures_total", "counter",
              "Times it could not be: the old one went on.",
              static_cast<std::int64_t>(vitals.route_failures));
  page.single("access_log_batches_dropped_total", "counter",
              "Batches of access-log lines lost because the log could not be written.",
              static_cast<std::int64_t>(vitals.log_batches_dropped));
  return page.take();
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
    const Vitals vitals = vitals_();
    response.status = vitals.ready ? 200 : 503;
    response.body = vitals.ready ? "ok\n" : vitals.not_ready_because + "\n";
  } else if (path == "/metrics") {
    response.fields[0].second = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics_text(vitals_());
  } else {
    response.status = 404;
    response.body = "expected /metrics, /livez or /readyz\n";
  }
  responder.respond(std::move(response));
}

}  // namespace proxycore::server
