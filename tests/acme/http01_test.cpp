#include "acme/http01.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;

TEST_CASE("http01: a proof is put where servers find it, and taken away (RFC 8555 §8.3)") {
  std::vector<std::string> done;
  bool away = false;
  Http01 solver({.put = [&](const Proof& proof, const Deadline&) -> Result<void> {
                   if (away) return Error{Errc::io, "the store is away"};
                   done.push_back("put " + proof.token + " " + proof.key_authorization);
                   return {};
                 },
                 .remove = [&](const Proof& proof) { done.push_back("remove " + proof.token); }});
  CHECK(solver.type() == "http-01");
  const Proof proof{"a.test", false, "token", "token.thumb"};
  const Deadline by = Deadline::in(Millis{1000});
  CHECK(solver.lane(proof, by).value().empty());
  CHECK(solver.present(proof, by).has_value());
  CHECK(solver.await_visible(proof, by).has_value());
  solver.clean_up(proof);
  CHECK(done == std::vector<std::string>{"put token token.thumb", "remove token"});
  away = true;
  CHECK(solver.present(proof, by).error().detail == "the store is away");
}
