#include "server/admin_pages.h"

#include "base/text.h"
#include "support/answered.h"
#include "support/temp_dir.h"

#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::server;

namespace {

// A page of the text format, taken apart: it refuses what Prometheus would.
struct Metrics {
  struct Family {
    std::string type;
    std::string help;
  };
  std::map<std::string, Family> families;
  std::map<std::string, std::string> samples;  // by name and labels

  explicit Metrics(const std::string& text) {
    REQUIRE(text.ends_with('\n'));
    std::istringstream in(text);
    std::string current;
    for (std::string line; std::getline(in, line);) {
      INFO(line);
      if (line.starts_with("# HELP ")) {
        const std::size_t end = line.find(' ', 7);
        current = line.substr(7, end - 7);
        CHECK_MESSAGE(!families.contains(current), "a family twice");
        families[current].help = line.substr(end + 1);
        continue;
      }
      if (line.starts_with("# TYPE ")) {
        CHECK(line.substr(7, current.size() + 1) == current + " ");
        families[current].type = line.substr(8 + current.size());
        continue;
      }
      const std::size_t blank = line.rfind(' ');
      REQUIRE(blank != std::string::npos);
      const std::string name = line.substr(0, blank);
      CHECK(name.substr(0, name.find('{')).starts_with(current));
      CHECK_MESSAGE(samples.emplace(name, line.substr(blank + 1)).second, "a sample twice");
    }
  }
  [[nodiscard]] std::string operator[](const std::string& name) const {
    const auto at = samples.find("proxycore_" + name);
    return at == samples.end() ? "-" : at->second;
  }
};

// Two workers' counters, and hosts of these names.
struct Two {
  explicit Two(std::vector<std::string> hosts = {"other", "a.test"})
      : one(std::make_unique<proxy::Counters>(hosts.size() - 1, 2)),
        two(std::make_unique<proxy::Counters>(hosts.size() - 1, 2)) {
    vitals.workers = {one.get(), two.get()};
    vitals.host_names = std::move(hosts);
    for (proxy::Counters* counters : {one.get(), two.get()}) {
      counters->lookup.tiers[0].name = "replica";
      counters->lookup.tiers[1].name = "socket";
      counters->lookup.tiers[1].remote = true;
    }
    vitals.store = "redis://10.0.0.1:6379/0";
    vitals.remote = true;
    vitals.whole_table = true;
    vitals.store_health.events = "tracking";
    vitals.feed.known = true;
    vitals.now = 100'000;
    vitals.feed.synced = 98'500;
    vitals.lookup_service = &service;
    vitals.challenges = &challenges;
  }
  lookup::ServiceCounters service;
  server::Challenges::Counters challenges;
  std::unique_ptr<proxy::Counters> one;
  std::unique_ptr<proxy::Counters> two;
  Vitals vitals;
};

Response ask(AdminPages& pages, std::string method, std::string target) {
  const test::Answered answered;
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  pages.handle(std::move(request), answered.responder());
  REQUIRE(answered.now());
  return *answered.now();
}

std::vector<std::string> cells_of(std::string_view row) {
  std::vector<std::string> cells;
  row.remove_prefix(1);
  while (!row.empty()) {
    const std::size_t bar = row.find('|');
    cells.emplace_back(base::trim(row.substr(0, bar)));
    row = bar == std::string_view::npos ? "" : row.substr(bar + 1);
  }
  return cells;
}

}  // namespace

TEST_CASE("metrics: every family is described once, and every sample belongs to one") {
  const Two two;
  const Metrics metrics(metrics_text(two.vitals));
  CHECK(metrics.families.size() > 20);
  for (const auto& one : metrics.families) {
    const std::string& name = one.first;
    const auto& family = one.second;
    INFO(name);
    CHECK(name.starts_with("proxycore_"));
    CHECK_FALSE(family.help.empty());
    CHECK((family.type == "counter" || family.type == "gauge" || family.type == "histogram"));
    CHECK((family.type == "counter") == name.ends_with("_total"));
  }
}

TEST_CASE("metrics: docs/metrics.md lists exactly the families there are") {
  std::ifstream file(TEST_DATA "/../../docs/metrics.md");
  REQUIRE(file);
  std::map<std::string, std::string> documented;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `proxycore_")) continue;
    const auto cells = cells_of(line);
    REQUIRE(cells.size() >= 4);
    const std::string name = cells[0].substr(1, cells[0].size() - 2);
    CHECK_MESSAGE(documented.emplace(name, cells[1]).second, name);
    CHECK_FALSE(cells[3].empty());
  }
  const test::TempDir folder;
  const auto store = open_memory();
  Config config;
  config.renew.key_file = folder.file("sealing.key");
  const auto renewal = Renewal::create(config, *store);
  REQUIRE(renewal);
  Two two;
  two.vitals.renewal = renewal->get();
  std::map<std::string, std::string> real;
  for (const auto& [name, family] : Metrics(metrics_text(two.vitals)).families) {
    real.emplace(name, family.type);
  }
  CHECK(documented == real);
}

TEST_CASE("metrics: the workers' numbers are summed") {
  Two two;
  two.one->requests.add(3);
  two.two->requests.add(4);
  two.one->connections_open.add(5);
  two.two->connections_open.add(-1);
  two.one->responses[1].add(2);
  two.two->responses[1].add();
  two.one->per_host[1].responses[1].add(2);
  two.two->per_host[1].responses[1].add();
  two.two->per_host[0].bytes_out.add(7);
  two.one->lookup.tiers[0].misses.add(9);
  two.two->lookup.tiers[1].latency.observe(700);
  two.one->pool.reuses.add(11);
  two.vitals.feed.updates = 13;
  two.service.hits.add(3);
  two.challenges.unknown.add(2);
  const Metrics metrics(metrics_text(two.vitals));
  CHECK(metrics["requests_total"] == "7");
  CHECK(metrics["connections"] == "4");
  CHECK(metrics["responses_total{status=\"2xx\"}"] == "3");
  CHECK(metrics["responses_total{status=\"5xx\"}"] == "0");
  CHECK(metrics["host_responses_total{host=\"a.test\",status=\"2xx\"}"] == "3");
  CHECK(metrics["host_responses_total{host=\"a.test\",status=\"4xx\"}"] == "-");
  CHECK(metrics["host_response_bytes_total{host=\"other\"}"] == "7");
  CHECK(metrics["lookups_total{tier=\"replica\",result=\"miss\"}"] == "9");
  CHECK(metrics["lookup_duration_seconds_bucket{tier=\"socket\",le=\"0.0005\"}"] == "0");
  CHECK(metrics["lookup_duration_seconds_count{tier=\"socket\"}"] == "1");
  CHECK(metrics["lookup_service_requests_total{result=\"hit\"}"] == "3");
  CHECK(metrics["acme_challenges_total{result=\"unknown\"}"] == "2");
  CHECK(metrics["store_events{by=\"tracking\"}"] == "1");
  CHECK(metrics["replica_age_seconds"] == "1.500");
  CHECK(metrics["origin_reuses_total"] == "11");
  CHECK(metrics["hosts"] == "0");
  CHECK(metrics["route_updates_total"] == "13");
}

TEST_CASE("metrics: a histogram's buckets are cumulative and end with all") {
  Two two;
  for (const std::int64_t micros : {0, 500, 501, 1'000, 20'000, 99'000'000}) {
    two.one->duration.observe(micros);
  }
  two.two->duration.observe(700);
  const Metrics metrics(metrics_text(two.vitals));
  const auto bucket = [&](const std::string& le) {
    return metrics["request_duration_seconds_bucket{le=\"" + le + "\"}"];
  };
  CHECK(bucket("0.0005") == "2");
  CHECK(bucket("0.001") == "5");
  CHECK(bucket("0.01") == "5");
  CHECK(bucket("0.025") == "6");
  CHECK(bucket("10") == "6");
  CHECK(bucket("+Inf") == "7");
  CHECK(metrics["request_duration_seconds_count"] == "7");
  CHECK(metrics["request_duration_seconds_sum"] == "99.022701");
}

TEST_CASE("metrics: labels hold whatever is in them") {
  Two two({"other", "a\"b\\c\nd"});
  two.one->per_host[1].responses[1].add();
  two.one->per_host[1].bytes_in.add();
  const Metrics metrics(metrics_text(two.vitals));
  CHECK(metrics["host_responses_total{host=\"a\\\"b\\\\c\\nd\",status=\"2xx\"}"] == "1");
  CHECK(metrics["host_request_bytes_total{host=\"a\\\"b\\\\c\\nd\"}"] == "1");
}

TEST_CASE("metrics: a server that does not run yet has zeros") {
  Vitals vitals;
  vitals.host_names = {"other"};
  CHECK(Metrics(metrics_text(vitals))["requests_total"] == "0");
}

TEST_CASE("admin pages: health, readiness and metrics") {
  Two two;
  AdminPages pages([&] { return two.vitals; }, [] { return nullptr; });
  CHECK(pages.max_body() == 0);
  Response response = ask(pages, "GET", "/livez");
  CHECK(response.status == 200);
  CHECK(response.body == "ok\n");
  CHECK(ask(pages, "GET", "/readyz?verbose").status == 200);
  response = ask(pages, "HEAD", "/metrics");
  CHECK(response.status == 200);
  CHECK(response.fields[0].second == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(response.body.starts_with("# HELP proxycore_"));
  two.vitals.stopping = true;
  response = ask(pages, "GET", "/readyz");
  CHECK(response.status == 503);
  CHECK(response.body == "draining\n");
  CHECK(ask(pages, "GET", "/livez").status == 200);
}

TEST_CASE("admin pages: readiness says how old the hosts of a remote store are") {
  Two two;
  CHECK(readiness(two.vitals).ready);
  CHECK(readiness(two.vitals).text ==
        "ok\n0 hosts of redis://10.0.0.1:6379/0, 1.5 s old, kept by tracking\n");
  two.vitals.store_health.reachable = false;
  two.vitals.store_health.why = "connection refused";
  CHECK(readiness(two.vitals).ready);
  CHECK(readiness(two.vitals).text ==
        "ok\n0 hosts of redis://10.0.0.1:6379/0, 1.5 s old, which cannot be reached: connection "
        "refused\n");
  two.vitals.feed.distrusted = true;
  CHECK(readiness(two.vitals).text.find("lost hosts") != std::string::npos);
  two.vitals.feed.known = false;
  CHECK_FALSE(readiness(two.vitals).ready);
  two.vitals.whole_table = false;
  CHECK(readiness(two.vitals).text == "ok\n");
}

TEST_CASE("admin pages: targets that fail are listed") {
  Two two;
  two.vitals.now = 2'000;
  AdminPages pages([&] { return two.vitals; }, [] { return nullptr; });
  CHECK(ask(pages, "GET", "/targets").body == R"({"targets":[]})");
  two.vitals.failing = {{.target = "127.0.0.1:81",
                         .failures = 3,
                         .since = 1'000,
                         .last = 2'000,
                         .rests_until = 9'000},
                        {.target = "[::1]:82", .failures = 1, .since = 2'000, .last = 2'000}};
  const Response response = ask(pages, "GET", "/targets");
  CHECK(response.fields[0].second == "application/json");
  CHECK(response.body ==
        R"({"targets":[{"target":"127.0.0.1:81","state":"resting","failures":3,"since":1000},)"
        R"({"target":"[::1]:82","state":"up","failures":1,"since":2000}]})");
}

TEST_CASE("admin pages: an explanation needs a host name") {
  Two two;
  AdminPages pages([&] { return two.vitals; }, [] { return nullptr; });
  CHECK(ask(pages, "GET", "/explain").status == 400);
  CHECK(ask(pages, "GET", "/explain?host=").status == 400);
  CHECK(ask(pages, "GET", "/explain?host=no%20name").status == 400);
}

TEST_CASE("admin pages: anything else is refused with what was expected") {
  Two two;
  AdminPages pages([&] { return two.vitals; }, [] { return nullptr; });
  CHECK(ask(pages, "GET", "/").status == 404);
  CHECK(ask(pages, "GET", "/metrics/").status == 404);
  CHECK(ask(pages, "GET", "/METRICS").status == 404);
  const Response response = ask(pages, "POST", "/metrics");
  CHECK(response.status == 405);
  bool allow = false;
  for (const auto& [name, value] : response.fields)
    allow = allow || (name == "Allow" && value == "GET, HEAD");
  CHECK(allow);
}
