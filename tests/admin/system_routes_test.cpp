#include "admin/system_routes.h"

#include "support/endpoint_rig.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::admin;
using test::ApiAnswer;
using test::EndpointRig;

namespace {

constexpr std::string_view metrics = R"(# TYPE proxycore_requests_total counter
proxycore_requests_total 12
proxycore_exchanges 1
proxycore_responses_total{status="2xx"} 10
proxycore_responses_total{status="5xx"} 2
proxycore_request_duration_seconds_bucket{le="0.001"} 4
proxycore_request_duration_seconds_bucket{le="0.01"} 11
proxycore_request_duration_seconds_bucket{le="+Inf"} 12
proxycore_request_duration_seconds_sum 0.25
proxycore_request_duration_seconds_count 12
proxycore_lookups_total{tier="cache",result="hit"} 9
proxycore_lookups_total{tier="cache",result="miss"} 3
proxycore_lookups_total{tier="redis",result="hit"} 3
proxycore_host_responses_total{host="a.test",status="2xx"} 10
proxycore_renew_names{state="valid"} 4
proxycore_renew_first_end_seconds 1900000000
)";

constexpr std::string_view targets =
    R"({"targets":[{"target":"127.0.0.1:81","state":"resting","failures":3,"since":1000},)"
    R"({"target":"127.0.0.1:82","state":"up","failures":1,"since":2000}]})";

auto pages(std::string_view path, std::string_view body) {
  return [path, body](std::string_view target, const Deadline&) -> Result<Response> {
    if (target != path) return Response{.status = 404};
    return Response{.body = std::string(body)};
  };
}

}  // namespace

TEST_CASE("system: listeners, the store and what the proxyd counts") {
  EndpointRig rig;
  rig.config.listen.http = {"*:80"};
  rig.config.admin.listen = {"127.0.0.1:3000"};
  rig.config.lookup_service.listen = "/run/lookup.sock";
  rig.proxyd = pages("/metrics", metrics);
  const ApiAnswer shown = rig.run(show_system);
  REQUIRE_MESSAGE(shown.status == 200, shown.text);
  CHECK_FALSE(shown.text_at("version").empty());
  CHECK(*shown.at("time").integer() == rig.now_ms);
  CHECK(shown.text.find(R"("listeners":{"http":["*:80"],"https":[],"metrics":[],)"
                        R"("manager":["127.0.0.1:3000"],"managerTls":[],)"
                        R"("lookup":["unix:/run/lookup.sock"]})") != std::string::npos);
  CHECK(shown.text_at("store", "url") == "memory:");
  CHECK(*shown.at("store", "reachable").boolean());
  CHECK(*shown.at("proxy", "reachable").boolean());
  CHECK(*shown.at("metrics", "requests").integer() == 12);
  CHECK(*shown.at("metrics", "responses", "5xx").integer() == 2);
  CHECK(*shown.at("metrics", "duration", "count").integer() == 12);
  CHECK(*shown.at("metrics", "duration", "sum").number() == 0.25);
  CHECK(shown.text.find(R"("buckets":[[0.001,4],[0.01,11]])") != std::string::npos);
  CHECK(shown.text.find(
            R"("lookups":[{"tier":"cache","hit":9,"miss":3},{"tier":"redis","hit":3}])") !=
        std::string::npos);
  CHECK(*shown.at("metrics", "certificates", "valid").integer() == 4);
  CHECK(*shown.at("metrics", "firstEnd").integer() == 1'900'000'000);
}

TEST_CASE("system: without a proxyd there are no counts, and the rest is told") {
  EndpointRig rig;
  const ApiAnswer shown = rig.run(show_system);
  CHECK(shown.status == 200);
  CHECK_FALSE(*shown.at("proxy", "reachable").boolean());
  CHECK(shown.text_at("proxy", "why") == "there is no proxyd here");
  CHECK(shown.at("metrics").kind() == base::json::Value::Kind::null);
  rig.proxyd = pages("/nothing", "");
  CHECK(rig.run(show_system).text_at("proxy", "why") == "the proxyd answered with status 404");
}

TEST_CASE("system: targets that failed are those of hosts that the caller may see") {
  EndpointRig rig;
  rig.proxyd = pages("/targets", targets);
  const auto count = [&] { return rig.run(list_targets).list_at("targets").size(); };
  CHECK(count() == 2);
  rig.hosts.apply("a.test", {{"host", "a.test"}, {"ip", "127.0.0.1"}, {"targetPort", "81"}});
  rig.hosts.apply("b.test", {{"host", "b.test"}, {"ip", "127.0.0.1"}, {"targetPort", "82"}});
  rig.caller = EndpointRig::somebody(auth::Role::viewer, "a.test");
  CHECK(count() == 1);
  CHECK(rig.run(list_targets).text.find("127.0.0.1:81") != std::string::npos);
  // Another's target, though the text begins as theirs does.
  rig.hosts.apply("c.test", {{"host", "c.test"}, {"ip", "127.0.0.1"}, {"targetPort", "8181"}});
  rig.caller = EndpointRig::somebody(auth::Role::viewer, "c.test");
  CHECK(count() == 0);
  rig.proxyd = [](std::string_view, const Deadline&) -> Result<Response> {
    return Error{Errc::refused, "nobody listens"};
  };
  const ApiAnswer away = rig.run(list_targets);
  CHECK(away.status == 200);
  CHECK_FALSE(*away.at("reachable").boolean());
  CHECK(away.text_at("why") == "nobody listens");
}
