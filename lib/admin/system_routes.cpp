#include "admin/system_routes.h"

#include "admin/host_index.h"
#include "admin/replies.h"
#include "admin/samples.h"
#include "auth/accounts.h"
#include "base/json.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>

namespace proxycore::admin {

namespace {

namespace json = base::json;
using Clock = std::chrono::steady_clock;
using Samples = std::vector<Sample>;

constexpr Millis patience{2'000};  // with each of those that are asked
constexpr std::size_t max_targets = 10'000;

Deadline soon(const Deadline& by) {
  return {std::min(by.at(), Clock::now() + patience), by.stop()};
}

Result<std::string> page_of(Context& admin, std::string_view target, const Deadline& by) {
  PX_TRY(Response response, admin.proxyd(target, soon(by)));
  if (response.status == 200) return std::move(response.body);
  return Error{Errc::protocol,
               "the proxyd answered with status " + std::to_string(response.status)};
}

// Counts are whole, and shown so.
void write_number(json::Writer& out, double value) {
  constexpr double most = 9e15;
  if (value == static_cast<double>(static_cast<std::int64_t>(value)) && value < most) {
    out.value(static_cast<std::int64_t>(value));
  } else {
    out.value(value);
  }
}

// The sum of what has that name.
double sum_of(const Samples& samples, std::string_view name) {
  double sum = 0;
  for (const Sample& sample : samples) sum += sample.name == name ? sample.value : 0;
  return sum;
}

// {label: value, ...}
void write_by_label(json::Writer& out, std::string_view key, const Samples& samples,
                    std::string_view name, std::string_view label) {
  out.key(key).begin_object();
  for (const Sample& sample : samples) {
    if (sample.name == name) write_number(out.key(sample.label(label)), sample.value);
  }
  out.end_object();
}

void write_histogram(json::Writer& out, std::string_view key, const Samples& samples,
                     const std::string& name) {
  out.key(key).begin_object();
  write_number(out.key("count"), sum_of(samples, name + "_count"));
  out.field("sum", sum_of(samples, name + "_sum")).key("buckets").begin_array();
  for (const Sample& sample : samples) {
    if (sample.name != name + "_bucket" || sample.label("le") == "+Inf") continue;
    out.begin_array().value(std::strtod(std::string(sample.label("le")).c_str(), nullptr));
    write_number(out, sample.value);
    out.end_array();
  }
  out.end_array().end_object();
}

void write_lookups(json::Writer& out, const Samples& samples) {
  out.key("lookups").begin_array();
  std::string_view tier;
  for (const Sample& sample : samples) {
    if (sample.name != "proxycore_lookups_total") continue;
    if (sample.label("tier") != tier) {
      if (!tier.empty()) out.end_object();
      tier = sample.label("tier");
      out.begin_object().field("tier", tier);
    }
    write_number(out.key(sample.label("result")), sample.value);
  }
  if (!tier.empty()) out.end_object();
  out.end_array();
}

void write_metrics(json::Writer& out, const Samples& samples) {
  out.begin_object();
  constexpr std::pair<std::string_view, std::string_view> sums[] = {
      {"requests", "proxycore_requests_total"},
      {"exchanges", "proxycore_exchanges"},
      {"connections", "proxycore_connections"},
      {"targetConnections", "proxycore_origin_connections"},
      {"targetFailures", "proxycore_origin_connect_failures_total"},
      {"firstEnd", "proxycore_renew_first_end_seconds"},
  };
  for (const auto& [key, name] : sums) write_number(out.key(key), sum_of(samples, name));
  write_by_label(out, "responses", samples, "proxycore_responses_total", "status");
  write_by_label(out, "failures", samples, "proxycore_failures_total", "reason");
  write_histogram(out, "duration", samples, "proxycore_request_duration_seconds");
  write_histogram(out, "firstByte", samples, "proxycore_origin_first_byte_seconds");
  write_lookups(out, samples);
  write_by_label(out, "certificates", samples, "proxycore_renew_names", "state");
  write_by_label(out, "attempts", samples, "proxycore_renew_attempts_total", "result");
  out.end_object();
}

void write_list(json::Writer& out, std::string_view key, const std::vector<std::string>& texts) {
  out.key(key).begin_array();
  for (const std::string& text : texts) out.value(text);
  out.end_array();
}

void write_listeners(json::Writer& out, const Config& config) {
  out.key("listeners").begin_object();
  write_list(out, "http", config.listen.http);
  write_list(out, "https", config.listen.https);
  write_list(out, "metrics", config.listen.admin);
  write_list(out, "manager", config.admin.listen);
  write_list(out, "managerTls", config.admin.https);
  std::vector<std::string> lookup;
  if (const std::string& path = config.lookup_service.listen; !path.empty()) {
    lookup.push_back("unix:" + path);
  }
  write_list(out, "lookup", lookup);
  out.end_object();
}

// Asks for a record that is not there, to see how long an answer takes.
void write_store(json::Writer& out, Store& store, const Deadline& by) {
  const Clock::time_point began = Clock::now();
  const auto probe = store.get("proxycore_probe", soon(by));
  const auto took = std::chrono::duration<double, std::milli>(Clock::now() - began);
  const bool reachable = probe || probe.error().code == Errc::not_found;
  const Store::Health health = store.health();
  const auto used =
      reachable ? store.used_bytes(soon(by)) : Result<std::optional<std::uint64_t>>(std::nullopt);
  out.key("store").begin_object().field("url", store.describe()).field("reachable", reachable);
  out.field("why", reachable ? health.why : probe.error().message());
  out.field("events", health.events).field("lagMs", health.lag.count());
  out.field("roundTripMs", took.count()).key("usedBytes");
  if (used && *used) {
    out.value(**used);
  } else {
    out.null();  // it keeps none, or does not tell us
  }
  out.end_object();
}

}  // namespace

Result<Reply> show_system(Context& admin, const Call& call) {
  std::string body;
  json::Writer out(body);
  out.begin_object().field("version", PROXYCORE_VERSION).field("time", admin.now_ms());
  write_listeners(out, admin.config);
  write_store(out, admin.store, call.by);
  const auto open = admin.accounts.is_open(soon(call.by));
  out.field("hosts", admin.hosts.size()).field("open", open && *open);
  const auto page = page_of(admin, "/metrics", call.by);
  out.key("proxy").begin_object().field("reachable", page.has_value());
  out.field("why", page ? std::string() : page.error().detail).end_object().key("metrics");
  if (page) {
    write_metrics(out, samples_of(*page));
  } else {
    out.null();
  }
  out.end_object();
  return ok(std::move(body));
}

Result<Reply> list_targets(Context& admin, const Call& call) {
  const auto page = page_of(admin, "/targets", call.by);
  const HostIndex::Wanted sees = [&call](const HostIndex::Entry& host) {
    return auth::role_for(call.caller, host.name) >= auth::Role::viewer;
  };
  const bool sees_all = auth::role_everywhere(call.caller) >= auth::Role::viewer;
  std::set<std::string, std::less<>> seen;
  if (!sees_all) {
    for (const auto& host : admin.hosts.all(sees)) {
      seen.insert(host->targets.begin(), host->targets.end());
    }
  }
  std::string body;
  json::Writer out(body);
  out.begin_object().key("targets").begin_array();
  if (page) {
    PX_TRY(const json::Value told, json::parse(*page));
    PX_TRY(const auto targets, told.array("targets"));
    for (const json::Value& one : targets.first(std::min(targets.size(), max_targets))) {
      PX_TRY(const std::string_view target, one.text("target"));
      if (!sees_all && !seen.contains(target)) continue;
      PX_TRY(const std::string_view state, one.text("state"));
      PX_TRY(const std::int64_t failures, one.integer("failures"));
      PX_TRY(const std::int64_t since, one.integer("since"));
      out.begin_object().field("target", target).field("state", state);
      out.field("failures", failures).field("since", since).end_object();
    }
  }
  out.end_array().field("reachable", page.has_value());
  out.field("why", page ? std::string() : page.error().detail).end_object();
  return ok(std::move(body));
}

}  // namespace proxycore::admin
