#include "server/admin_pages.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

struct Kept final : Responder::Sink {
  explicit Kept(std::optional<Response>& into) : response(into) {}
  void respond(Response given) override { response = std::move(given); }
  std::optional<Response>& response;
};

Response ask(server::AdminPages& pages, std::string method, std::string target) {
  std::optional<Response> response;
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  pages.handle(std::move(request), Responder(std::make_unique<Kept>(response)));
  REQUIRE(response);
  return *std::move(response);
}

}  // namespace

TEST_CASE("admin: pages by path, and a word about others") {
  server::Vitals vitals;
  vitals.ready = true;
  proxy::Counters counters(1);
  vitals.workers = {&counters};
  vitals.host_names = {"other"};
  server::AdminPages pages([&] { return vitals; });
  CHECK(ask(pages, "GET", "/livez").status == 200);
  CHECK(ask(pages, "GET", "/readyz?verbose").status == 200);
  CHECK(ask(pages, "GET", "/metrics").status == 200);
  CHECK(ask(pages, "GET", "/").status == 404);
  CHECK(ask(pages, "POST", "/metrics").status == 405);

  vitals.ready = false;
  vitals.not_ready_because = "draining";
  const Response response = ask(pages, "GET", "/readyz");
  CHECK(response.status == 503);
  CHECK(response.body == "draining\n");
  CHECK(ask(pages, "GET", "/livez").status == 200);
}

TEST_CASE("admin: metrics sum over the workers, each family is told of once") {
  proxy::Counters one(1);
  proxy::Counters two(1);
  one.requests.add(3);
  two.requests.add(4);
  one.duration.observe(700);
  two.duration.observe(20'000'000);
  one.per_host[1].responses[proxy::status_class(204)].add(2);
  two.per_host[1].bytes_out.add(10);
  server::Vitals vitals;
  vitals.workers = {&one, &two};
  vitals.host_names = {"other", "*.example.test"};
  vitals.hosts = 5;
  const std::string text = server::metrics_text(vitals);
  CHECK(text.find("\nproxycore_requests_total 7\n") != std::string::npos);
  CHECK(text.find("\nproxycore_hosts 5\n") != std::string::npos);
  CHECK(text.find("proxycore_request_duration_seconds_bucket{le=\"0.0005\"} 0\n") !=
        std::string::npos);
  CHECK(text.find("proxycore_request_duration_seconds_bucket{le=\"0.001\"} 1\n") !=
        std::string::npos);
  CHECK(text.find("proxycore_request_duration_seconds_bucket{le=\"+Inf\"} 2\n") !=
        std::string::npos);
  CHECK(text.find("proxycore_request_duration_seconds_count 2\n") != std::string::npos);
  CHECK(text.find("proxycore_host_responses_total{host=\"*.example.test\",status=\"2xx\"} 2\n") !=
        std::string::npos);
  CHECK(text.find("proxycore_host_response_bytes_total{host=\"*.example.test\"} 10\n") !=
        std::string::npos);

  std::set<std::string> told;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    REQUIRE_FALSE(line.empty());
    if (line.starts_with("# TYPE ")) {
      const std::string name = line.substr(7, line.find(' ', 7) - 7);
      CHECK_MESSAGE(told.insert(name).second, name);
    } else if (!line.starts_with("# ")) {
      std::string name = line.substr(0, line.find_first_of("{ "));
      for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
        if (name.ends_with(suffix) && told.count(name.substr(0, name.size() - suffix.size())) > 0) {
          name.resize(name.size() - suffix.size());
        }
      }
      CHECK_MESSAGE(told.count(name) == 1, line);
    }
  }
}
