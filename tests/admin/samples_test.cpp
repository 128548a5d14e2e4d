#include "admin/samples.h"

#include <doctest/doctest.h>

using namespace proxycore::admin;

TEST_CASE("samples: names, labels and values are found") {
  const auto all = samples_of(
      "# HELP a_total What.\n# TYPE a_total counter\na_total 5\n"
      "b{x=\"1\",le=\"+Inf\"} 7.5\n"
      "c{path=\"a{b} c=d,e\"} 1e3\n\n");
  REQUIRE(all.size() == 3);
  CHECK(all[0].name == "a_total");
  CHECK(all[0].value == 5);
  CHECK(all[1].label("x") == "1");
  CHECK(all[1].label("le") == "+Inf");
  CHECK(all[1].label("y").empty());
  CHECK(all[1].value == 7.5);
  CHECK(all[2].label("path") == "a{b} c=d,e");
  CHECK(all[2].value == 1000);
}

TEST_CASE("samples: what is none, and those of single hosts, are passed over") {
  CHECK(samples_of("").empty());
  for (const char* line :
       {"a", "a ", "a x", "a 1 2", "a{", "a{b", "a{b=", "a{b=\"", "a{b=\"c", "a{b=\"c\"", "{} x",
        "proxycore_host_responses_total{host=\"a.test\",status=\"2xx\"} 1"}) {
    CAPTURE(line);
    CHECK(samples_of(line).empty());
  }
}
