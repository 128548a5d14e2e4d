#include "acme/problem.h"

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;

namespace {
std::string document(const std::string& type, const std::string& more = "") {
  return R"({"type":"urn:ietf:params:acme:error:)" + type + "\"" + more + "}";
}
}  // namespace

TEST_CASE("problem: all of it is told, subproblems too (RFC 8555 §6.7.1)") {
  const Problem problem = read_problem(
      R"({"type":"urn:ietf:params:acme:error:malformed","detail":"Some of the names\nwere rejected",
          "status":403,"instance":"https://ca.test/help","subproblems":[
          {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"blocked",
           "identifier":{"type":"dns","value":"a.test"}},
          {"type":"urn:ietf:params:acme:error:caa","identifier":{"type":"dns","value":"b.test"},
           "subproblems":[{"type":"x"}]}]})",
      400);
  CHECK(problem.status == 403);
  CHECK(problem.type == "malformed");
  CHECK(problem.text() ==
        "malformed: Some of the names were rejected (see https://ca.test/help); "
        "a.test: rejectedIdentifier: blocked; b.test: caa");
}

TEST_CASE("problem: what it means for who asked") {
  const auto code = [](const std::string& type, std::uint16_t status = 400) {
    return error_of(read_problem(document(type), status), 0).code;
  };
  CHECK(code("rateLimited", 429) == Errc::busy);
  CHECK(code("rateLimited", 400) == Errc::busy);
  CHECK(code("serverInternal", 500) == Errc::busy);
  CHECK(code("unauthorized", 403) == Errc::denied);
  CHECK(code("rejectedIdentifier") == Errc::denied);
  CHECK(code("accountDoesNotExist") == Errc::not_found);
  CHECK(code("alreadyReplaced", 409) == Errc::conflict);
  CHECK(code("badCSR") == Errc::invalid);
  CHECK(code("ofNextYear", 403) == Errc::denied);
  CHECK(code("ofNextYear", 404) == Errc::not_found);
  CHECK(code("ofNextYear", 409) == Errc::conflict);
  CHECK(code("ofNextYear", 502) == Errc::busy);
  CHECK(code("ofNextYear", 422) == Errc::invalid);
  CHECK(code("ofNextYear", 302) == Errc::protocol);
  // Whatever the document says, this asks for patience.
  CHECK(code("malformed", 503) == Errc::busy);
  // And this says that there is nothing.
  CHECK(code("malformed", 404) == Errc::not_found);
  const Error error = error_of(read_problem(document("rateLimited"), 429), 77);
  CHECK(error.retry_after_s == 77);
}

TEST_CASE("problem: what is no problem document is one with its status") {
  for (const char* content : {"", "<html>Bad gateway</html>", "[]", "{\"type\":7}", "{"}) {
    const Problem problem = read_problem(content, 502);
    CHECK(problem.status == 502);
    CHECK(problem.text() == "status 502");
    CHECK(error_of(problem, 0).code == Errc::busy);
  }
}

TEST_CASE("problem: texts and their number are bounded") {
  std::string many = R"(,"detail":")" + std::string(5000, 'x') + R"(","subproblems":[)";
  for (int i = 0; i < 300; ++i) many += (i > 0 ? "," : "") + document("dns");
  const Problem problem = read_problem(document("malformed", many + "]"), 400);
  CHECK(problem.detail.size() == 1000);
  CHECK(problem.subproblems.size() == 100);
}
