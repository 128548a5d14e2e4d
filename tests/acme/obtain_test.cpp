#include "support/acme_rig.h"
#include "support/eventually.h"
#include "support/fake_ca.h"
#include "support/pebble.h"
#include "tls/cert.h"
#include "tls/context.h"
#include "tls/issued.h"
#include "tls/keys.h"
#include <proxycore/acme.h>

#include <array>
#include <ctime>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::acme;
using test::CaCall;
using test::FakeCa;
using test::Pebble;
using test::Reply;
using test::TokenServer;
using test::ToldProgress;

namespace {

Deadline soon() {
  return Deadline::in(Millis{60'000});
}

template <class Value>
Value good(Result<Value> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}

Client client_of(const Pebble& pebble) {
  return good(Client::create({.directory = pebble.directory(),
                              .account_key = new_key().value(),
                              .ca_pem = pebble.ca_pem()}));
}
Client client_of(const FakeCa& ca) {
  return good(Client::create({.directory = ca.url(), .account_key = new_key().value()}));
}

ObtainOptions wanted(std::vector<std::string> names) {
  return {
      .names = std::move(names), .key_pem = new_key().value(), .registration = {.agree_tos = true}};
}

// Meets challenges without anybody having to look.
class Easy final : public Solver {
 public:
  explicit Easy(std::string type = "http-01") : type_(std::move(type)) {}
  [[nodiscard]] std::string_view type() const noexcept override { return type_; }
  Result<std::string> lane(const Proof&, const Deadline&) override {
    if (no_lane) return *no_lane;
    return one_lane ? "lane" : "";
  }
  Result<void> present(const Proof& proof, const Deadline&) override {
    done.push_back("present " + proof.token);
    if (failure) return *failure;
    return {};
  }
  Result<void> await_visible(const Proof& proof, const Deadline&) override {
    done.push_back("await " + proof.token);
    if (invisible) return *invisible;
    return {};
  }
  void clean_up(const Proof& proof) noexcept override { done.push_back("clean " + proof.token); }

  bool one_lane = false;
  std::optional<Error> no_lane = {};
  std::optional<Error> failure = {};
  std::optional<Error> invisible = {};
  std::vector<std::string> done;

 private:
  const std::string type_;
};

Result<Obtained> run(Client& client, const ObtainOptions& options, Solver& solver, Progress& told,
                     const Deadline& by = soon()) {
  const std::array<Solver*, 1> solvers = {&solver};
  return obtain(client, options, solvers, told, by);
}

void serves(const std::string& chain, const std::string& key, std::string_view name) {
  const auto certificate = tls::Certificate::load({chain, key});
  REQUIRE_MESSAGE(certificate.has_value(), certificate.error().message());
  const auto gate = tls::gate(*certificate, name, std::time(nullptr));
  CHECK_MESSAGE(gate.has_value(), gate.error().message());
}

}  // namespace

TEST_CASE("obtain, pebble: http-01 for several names, nine of ten nonces refused (RFC 8555 §7.4)") {
  TokenServer web;
  const Pebble pebble({.http_port = web.port(), .reject_nonces = 90});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  ToldProgress told;
  const ObtainOptions options = wanted({"a.test", "www.a.test"});
  const Obtained got = good(run(client, options, solver, told));
  serves(got.chain_pem, options.key_pem, "a.test");
  serves(got.chain_pem, options.key_pem, "www.a.test");
  CHECK(web.put() == 2);
  CHECK(web.tokens() == 0);
  CHECK(told.accounts == std::vector<std::string>{client.account_url()});
  CHECK(told.orders == std::vector<std::string>{got.order_url});
  CHECK(told.steps.front() == "account register");
  CHECK(told.steps[1] == "order a.test www.a.test");
  CHECK(told.steps.back() == "download " + got.order_url);
}

TEST_CASE("obtain, pebble: a slow CA, and authorizations that are valid already (RFC 8555 §7.5)") {
  TokenServer web;
  const Pebble pebble({.http_port = web.port(), .reuse_authorizations = 100, .slow = true});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  ToldProgress first;
  good(run(client, wanted({"a.test"}), solver, first));
  CHECK(web.put() == 1);
  ToldProgress second;
  good(run(client, wanted({"a.test"}), solver, second));
  CHECK(web.put() == 1);
  CHECK_FALSE(second.did("respond"));
  CHECK(second.accounts.empty());
}

TEST_CASE("obtain, pebble: an order is gone on with from every step (RFC 8555 §7.1.6)") {
  TokenServer web;
  const Pebble pebble({.http_port = web.port()});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  for (const Step step : {Step::present, Step::visible, Step::respond, Step::validate,
                          Step::finalize, Step::issue, Step::download}) {
    CAPTURE(acme::name_of(step));
    ObtainOptions options = wanted({"a" + std::to_string(static_cast<int>(step)) + ".test"});
    ToldProgress before;
    before.end_at = step;
    const std::size_t seen = pebble.log().size();
    // What the CA has been asked to look at stays until it has looked.
    before.before = [&](Step at) {
      if (at != Step::validate) return;
      CHECK(test::eventually(
          [&] { return pebble.log().find("set VALID", seen) != std::string::npos; }));
    };
    const auto ended = run(client, options, solver, before);
    REQUIRE_FALSE(ended.has_value());
    CHECK(ended.error().code == Errc::cancelled);
    CHECK(web.tokens() == 0);
    REQUIRE_FALSE(before.order().empty());

    options.resume_order_url = before.order();
    ToldProgress after;
    const Obtained got = good(run(client, options, solver, after));
    CHECK(got.order_url == options.resume_order_url);
    CHECK(after.steps.front() == "order resume " + options.resume_order_url);
    CHECK(after.orders.empty());
    CHECK(after.did("respond") == (step < Step::validate));
    CHECK(after.did("finalize") == (step <= Step::finalize));
    serves(got.chain_pem, options.key_pem, options.names[0]);
  }
}

TEST_CASE("obtain, pebble: an order that is not there any more is placed again") {
  TokenServer web;
  Pebble pebble({.http_port = web.port()});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  ToldProgress before;
  before.end_at = Step::validate;
  ObtainOptions options = wanted({"a.test"});
  REQUIRE_FALSE(run(client, options, solver, before).has_value());
  const std::string account = client.account_url();

  // It forgets orders and accounts alike (RFC 8555 §7.3.1).
  pebble.stop();
  const auto away = run(client, options, solver, before);
  REQUIRE_FALSE(away.has_value());
  CHECK(away.error().code == Errc::refused);
  pebble.start();
  options.resume_order_url = before.order();
  ToldProgress after;
  const Obtained got = good(run(client, options, solver, after));
  CHECK(got.order_url != options.resume_order_url);
  REQUIRE(after.accounts.size() == 1);
  CHECK(after.accounts[0] != account);
  CHECK(after.orders == std::vector<std::string>{"", got.order_url});

  // The same for a new order.
  pebble.stop();
  pebble.start();
  ToldProgress again;
  good(run(client, wanted({"b.test"}), solver, again));
  CHECK(again.accounts.size() == 1);
  CHECK(web.tokens() == 0);
}

TEST_CASE("obtain, pebble: a proof that is not seen is told in the CA's words, and tidied up") {
  TokenServer web;
  web.wrong = true;
  const Pebble pebble({.http_port = web.port()});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  ToldProgress told;
  const auto refused = run(client, wanted({"a.test", "b.test"}), solver, told);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().detail.find("a.test: unauthorized: ") != std::string::npos);
  CHECK(refused.error().detail.find("b.test: unauthorized: ") != std::string::npos);
  CHECK(refused.error().detail.find("did not match this challenge") != std::string::npos);
  CHECK(client.problem().type == "unauthorized");
  CHECK(told.order().empty());
  CHECK(web.tokens() == 0);
}

TEST_CASE("obtain, pebble: the chain of the preferred issuer is taken (RFC 8555 §7.4.2)") {
  TokenServer web;
  Pebble pebble({.http_port = web.port(), .alternate_roots = 2});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  std::vector<std::string> roots;
  for (int number = 0; number < 3; ++number) {
    roots.push_back(good(tls::read_issued(pebble.root(number))).issuers.back());
    ToldProgress told;
    ObtainOptions options = wanted({"a.test"});
    options.preferred_issuer = roots.back();
    const Obtained got = good(run(client, options, solver, told));
    CHECK(good(tls::read_issued(got.chain_pem)).issuers.back() == roots.back());
    serves(got.chain_pem, options.key_pem, "a.test");
  }
  ToldProgress told;
  ObtainOptions options = wanted({"a.test"});
  options.preferred_issuer = "nobody";
  const Obtained got = good(run(client, options, solver, told));
  CHECK(good(tls::read_issued(got.chain_pem)).issuers.back() == roots[0]);
}

TEST_CASE("obtain, pebble: what was issued is revoked, by the account or its key (RFC 8555 §7.6)") {
  TokenServer web;
  Pebble pebble({.http_port = web.port()});
  Client client = client_of(pebble);
  Http01 solver(web.place());
  ToldProgress told;
  const auto serial = [](const std::string& chain, const std::string& key) {
    return tls::Certificate::load({chain, key}).value()->serial();
  };
  const ObtainOptions first = wanted({"a.test"});
  const ObtainOptions second = wanted({"b.test"});
  const Obtained a = good(run(client, first, solver, told));
  const Obtained b = good(run(client, second, solver, told));
  CHECK(pebble.status_of(serial(a.chain_pem, first.key_pem)) == "Valid");

  CHECK(client.revoke(a.chain_pem, 7, soon()).error().code == Errc::invalid);
  CHECK(client.problem().type == "badRevocationReason");
  REQUIRE(client.revoke(a.chain_pem, 4, soon()).has_value());
  CHECK(pebble.status_of(serial(a.chain_pem, first.key_pem)) == "Revoked");
  CHECK(client.revoke(a.chain_pem, 4, soon()).error().code == Errc::conflict);

  // Who has the key needs no account.
  Client stranger = client_of(pebble);
  CHECK(stranger.revoke(b.chain_pem, 1, soon()).error().code == Errc::not_found);
  CHECK(stranger.revoke_with_key(b.chain_pem, first.key_pem, 1, soon()).error().code ==
        Errc::denied);
  REQUIRE(stranger.revoke_with_key(b.chain_pem, second.key_pem, 1, soon()).has_value());
  CHECK(pebble.status_of(serial(b.chain_pem, second.key_pem)) == "Revoked");

  // What renewal information is asked by.
  CHECK(good(renewal_id(a.chain_pem)).find('.') != std::string::npos);
}

TEST_CASE("obtain: all proofs are shown before the first is asked about") {
  FakeCa ca;
  ca.processing = 2;
  Client client = client_of(ca);
  Easy solver;
  ToldProgress told;
  good(run(client, wanted({"a.test", "b.test"}), solver, told));
  CHECK(solver.done == std::vector<std::string>{"present token-0-http-01",
                                                "present token-1-http-01", "await token-0-http-01",
                                                "await token-1-http-01", "clean token-0-http-01",
                                                "clean token-1-http-01"});
  std::string all;
  for (const std::string& step : told.steps) all += step.substr(0, step.find(' ')) + " ";
  CHECK(all ==
        "account order present present visible visible respond respond validate validate finalize "
        "issue download ");
}

TEST_CASE("obtain: a zone that cannot be found is the solver's trouble, not the order's") {
  const FakeCa ca;
  Client client = client_of(ca);
  Easy solver("dns-01");
  solver.no_lane = Error{Errc::timeout, "dns: no answer"};
  ToldProgress told;
  const auto failed = run(client, wanted({"a.test"}), solver, told);
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().detail == "a.test: dns: no answer");
  CHECK(told.steps.back() == "present a.test");
  CHECK(solver.done.empty());
}

TEST_CASE("obtain: proofs of one lane are shown one after the other") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy solver("dns-01");
  solver.one_lane = true;
  ToldProgress told;
  good(run(client, wanted({"a.test", "*.a.test"}), solver, told));
  CHECK(solver.done == std::vector<std::string>{"present token-0-dns-01", "await token-0-dns-01",
                                                "clean token-0-dns-01", "present token-1-dns-01",
                                                "await token-1-dns-01", "clean token-1-dns-01"});
}

TEST_CASE("obtain: the first solver that the CA's offer fits is taken") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy http("http-01");
  Easy dns("dns-01");
  const std::array<Solver*, 2> solvers = {&http, &dns};
  ToldProgress told;
  good(obtain(client, wanted({"a.test", "*.a.test"}), solvers, told, soon()));
  CHECK(ca.challenged() == std::vector<std::string>{"a.test http-01", "*.a.test dns-01"});

  // A wildcard cannot be proven by http-01: nothing is shown, and nothing left pending.
  const auto refused = run(client, wanted({"b.test", "*.b.test"}), http, told);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().detail == "*.b.test: the CA offers dns-01; set up is http-01");
  CHECK(ca.status("/authz/2") == "deactivated");
  CHECK(ca.status("/authz/3") == "deactivated");
  CHECK(told.order().empty());
}

TEST_CASE("obtain: what is pending is given up when a proof cannot be shown (RFC 8555 §7.5.2)") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy solver;
  solver.failure = Error{Errc::denied, "Cloudflare: no such token", 30};
  ToldProgress told;
  const auto failed = run(client, wanted({"a.test", "b.test"}), solver, told);
  REQUIRE_FALSE(failed.has_value());
  CHECK(failed.error().detail == "a.test: present: Cloudflare: no such token");
  CHECK(failed.error().retry_after_s == 30);
  // It may have been shown all the same.
  CHECK(solver.done ==
        std::vector<std::string>{"present token-0-http-01", "clean token-0-http-01"});
  CHECK(ca.status("/authz/0") == "deactivated");
  CHECK(ca.status("/authz/1") == "deactivated");
  CHECK(told.order().empty());
}

TEST_CASE("obtain: a proof that is not seen in time is asked about all the same, once") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy solver;
  solver.invisible = Error{Errc::timeout, "ns1.test (192.0.2.1) does not have it"};
  ToldProgress told;
  good(run(client, wanted({"a.test"}), solver, told));
  CHECK(told.did("visible a.test: going on all the same: ns1.test"));
}

TEST_CASE("obtain: when it is cancelled, proofs are taken away and the order stays") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy solver;
  std::stop_source stop;
  ToldProgress told;
  told.before = [&](Step step) {
    if (step == Step::validate) stop.request_stop();
  };
  ca.challenge_error = R"({"type":"urn:ietf:params:acme:error:dns"})";
  const auto ended =
      run(client, wanted({"a.test"}), solver, told, Deadline::in(Millis{30'000}, stop.get_token()));
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == Errc::cancelled);
  CHECK(solver.done.back() == "clean token-0-http-01");
  CHECK(told.order() == ca.url("/order/0"));
}

TEST_CASE("obtain: what the CA found is told for every name") {
  FakeCa ca;
  ca.challenge_error =
      R"({"type":"urn:ietf:params:acme:error:caa","detail":"forbids it","status":403})";
  Client client = client_of(ca);
  Easy solver;
  ToldProgress told;
  const auto refused = run(client, wanted({"a.test", "b.test"}), solver, told);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().detail == "a.test: caa: forbids it; b.test: caa: forbids it");
  CHECK(client.problem().type == "caa");
}

TEST_CASE("obtain: an order replaces, or is placed without that (RFC 9773 §5)") {
  std::string type;
  int status = 0;
  FakeCa ca([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "new-order" || type.empty()) return std::nullopt;
    if (call.payload.find("replaces") == std::string::npos) return std::nullopt;
    return FakeCa::problem(status, type);
  });
  Client client = client_of(ca);
  Easy solver;
  ToldProgress told;
  ObtainOptions options = wanted({"a.test"});
  options.replaces = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
  CHECK(good(run(client, options, solver, told)).replaced);
  CHECK(ca.payload("new-order").find(R"("replaces":"aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")") !=
        std::string::npos);
  for (const auto& [said, code] :
       {std::pair{"alreadyReplaced", 409}, {"malformed", 400}, {"malformed", 404}}) {
    type = said;
    status = code;
    CHECK_FALSE(good(run(client, options, solver, told)).replaced);
  }
  // Not so where it would be no better without.
  type = "rateLimited";
  status = 429;
  const int before = ca.count("new-order");
  CHECK(run(client, options, solver, told).error().code == Errc::busy);
  CHECK(ca.count("new-order") == before + 1);
}

TEST_CASE("obtain: what was issued for another key, or other names, is not taken") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy solver;
  ToldProgress told;
  ObtainOptions options = wanted({"a.test"});
  const Obtained got = good(run(client, options, solver, told));
  // An order to go on with whose key was lost.
  options.resume_order_url = got.order_url;
  options.key_pem = new_key().value();
  const auto lost = run(client, options, solver, told);
  REQUIRE_FALSE(lost.has_value());
  CHECK(lost.error().code == Errc::invalid);
  CHECK(told.order().empty());
  // Of other names: it is not gone on with, but placed anew.
  options = wanted({"b.test"});
  options.resume_order_url = got.order_url;
  CHECK(good(run(client, options, solver, told)).order_url != got.order_url);

  const test::Authority other({.common_name = "CA"});
  const std::string key = new_key().value();
  const std::string csr =
      good(tls::der_of(good(tls::make_csr({"c.test"}, key)), "CERTIFICATE REQUEST"));
  FakeCa careless([&](const CaCall& call) -> std::optional<Reply> {
    if (call.what != "cert") return std::nullopt;
    return Reply{200, other.certify(csr, {.dns = {"evil.test"}})};
  });
  Client second = client_of(careless);
  options = wanted({"c.test"});
  options.key_pem = key;
  CHECK(run(second, options, solver, told).error().code == Errc::protocol);
}

TEST_CASE("obtain: only names that certificates are for are asked for") {
  FakeCa ca;
  Client client = client_of(ca);
  Easy solver;
  ToldProgress told;
  for (const char* name : {"", "*", "A.test", "a.test.", "**.a.test", "a.*.test", "192.0.2.1",
                           "[2001:db8::1]", "*.*.a.test"}) {
    CAPTURE(name);
    CHECK(run(client, wanted({name}), solver, told).error().code == Errc::invalid);
  }
  CHECK(run(client, wanted({}), solver, told).error().code == Errc::invalid);
  CHECK(ca.count("directory") == 0);
}
