#include "certs/issuers.h"

#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::certs;

namespace {

constexpr std::int64_t minute = 60'000;

Deadline soon() {
  return Deadline::in(Seconds{20});
}

// What a CA of the test does.
struct Behaviour {
  std::optional<Error> error = {};
  acme::Problem problem = {};
  std::string_view step = "order";  // where
  Hurdle hurdle = Hurdle::ca;
};

// Does as it is told, and writes down what it was asked.
class Puppet final : public Issuer {
 public:
  Puppet(std::string name, const Behaviour& behaviour, std::vector<std::string>& log)
      : name_(std::move(name)), behaviour_(behaviour), log_(log) {}

  Result<std::string> obtain(const Commission& commission, Progress& progress,
                             const Deadline& /*by*/) override {
    problem_ = {};
    log_.push_back(name_ + (commission.order_url.empty() ? "" : " " + commission.order_url) +
                   (commission.replaces.empty() ? "" : " replaces"));
    PX_CHECK(progress.on_step(acme::Step::order, name_));
    PX_CHECK(progress.on_order("https://" + name_ + "/order/1"));
    if (behaviour_.step == "validate") PX_CHECK(progress.on_step(acme::Step::validate, ""));
    if (behaviour_.error) {
      problem_ = behaviour_.problem;
      return *behaviour_.error;
    }
    return "chain of " + name_;
  }
  Result<acme::RenewalInfo> proposal(std::string_view /*ca*/, std::string_view /*chain*/,
                                     const Deadline& /*by*/) override {
    log_.push_back(name_ + " proposal");
    return acme::RenewalInfo{};
  }
  Result<void> revoke(std::string_view /*ca*/, const CertBundle& /*bundle*/, int /*reason*/,
                      const Deadline& /*by*/) override {
    log_.push_back(name_ + " revoke");
    return {};
  }
  [[nodiscard]] const acme::Problem& problem() const noexcept override { return problem_; }
  [[nodiscard]] Hurdle hurdle() const noexcept override { return behaviour_.hurdle; }

 private:
  const std::string name_;
  const Behaviour& behaviour_;
  std::vector<std::string>& log_;
  acme::Problem problem_;
};

class ToldCa final : public Progress {
 public:
  Result<void> on_order(std::string_view url) override {
    orders.emplace_back(url);
    if (fail_to_keep) return Error{Errc::io, "the store is away"};
    return {};
  }
  void on_ca(std::string_view ca) override { cas.emplace_back(ca); }
  void on_rehearsed(std::string_view ca) override { rehearsed = ca; }

  bool fail_to_keep = false;
  std::vector<std::string> cas;
  std::vector<std::string> orders;
  std::string rehearsed;
};

struct Rig {
  std::int64_t now_ms = 1'700'000'000'000;
  Behaviour first, second, staging;
  std::vector<std::string> log;
  ToldCa told;
  Circuits circuits{{"one.test", "two.test"}, [this] { return now_ms; }};
  Wanted wanted{.name = "a.test", .identifiers = {"a.test"}, .host = "a.test"};
  Issuers issuers{cas(), circuits};

  std::vector<Issuers::Ca> cas() {
    std::vector<Issuers::Ca> all;
    all.push_back({.name = "one.test",
                   .issuer = std::make_unique<Puppet>("one.test", first, log),
                   .staging_name = "staging.test",
                   .staging = std::make_unique<Puppet>("staging.test", staging, log)});
    all.push_back(
        {.name = "two.test", .issuer = std::make_unique<Puppet>("two.test", second, log)});
    return all;
  }
  Result<std::string> get(Commission commission) {
    log.clear();
    return issuers.obtain(commission, told, soon());
  }
  Result<std::string> get() { return get({.wanted = wanted, .key_pem = "key"}); }
};

Behaviour refusal(std::string_view type, std::uint16_t status = 403) {
  return {.error = Error{Errc::denied, std::string(type) + ": no"},
          .problem = {.status = status, .type = std::string(type)},
          .step = "validate"};
}
Behaviour down(Errc code = Errc::refused, std::uint32_t retry_after_s = 0) {
  return {.error = Error{code, "nobody there", retry_after_s}};
}

std::string said(const Result<std::string>& chain) {
  return chain ? *chain : "no: " + chain.error().detail;
}

using Log = std::vector<std::string>;

}  // namespace

TEST_CASE("issuers: the first is asked, and the next where that is out of order") {
  Rig rig;
  CHECK(said(rig.get()) == "chain of one.test");
  CHECK(rig.log == Log{"one.test"});
  for (const Behaviour& trouble :
       {down(), down(Errc::timeout), down(Errc::protocol), refusal("serverInternal", 500),
        refusal("externalAccountRequired"), refusal("userActionRequired")}) {
    Rig other;
    other.first = trouble;
    CHECK(said(other.get()) == "chain of two.test");
    CHECK(other.log == Log{"one.test", "two.test"});
    CHECK(other.told.cas == Log{"one.test", "two.test"});
    // It is left alone, then tried again.
    CHECK(said(other.get()) == "chain of two.test");
    CHECK(other.log == Log{"two.test"});
    other.now_ms += 2 * minute;
    other.first = {};
    CHECK(said(other.get()) == "chain of one.test");
  }
}

TEST_CASE("issuers: what a CA says about the name is the answer") {
  for (const std::string_view type : {"dns", "unauthorized", "caa", "rejectedIdentifier"}) {
    Rig rig;
    rig.first = refusal(type);
    const auto chain = rig.get();
    REQUIRE_FALSE(chain);
    CHECK(chain.error().detail == std::string(type) + ": no");
    CHECK(rig.issuers.problem().type == type);
    CHECK(rig.log == Log{"one.test"});
    CHECK(rig.circuits.is_closed(0));
  }
}

TEST_CASE("issuers: a CA's limits send a name elsewhere, and leave the CA to others") {
  Rig rig;
  rig.first = refusal("rateLimited", 429);
  CHECK(said(rig.get()) == "chain of two.test");
  CHECK(rig.circuits.is_closed(0));
  rig.second = down();
  const auto chain = rig.get();
  REQUIRE_FALSE(chain);
  // Of the two it is the one that is about the name.
  CHECK(rig.issuers.problem().type == "rateLimited");
  CHECK(chain.error().detail == "one.test: rateLimited: no; two.test: nobody there");
}

TEST_CASE("issuers: where one refuses the account and the other is away, it is the other's time") {
  for (const bool is_first : {true, false}) {
    Rig rig;
    (is_first ? rig.first : rig.second) = refusal("userActionRequired");
    (is_first ? rig.second : rig.first) = down();
    REQUIRE_FALSE(rig.get());
    CHECK(rig.issuers.problem().type.empty());
  }
}

TEST_CASE("issuers: a circuit stays open longer each time, up to an hour, or as the CA asks") {
  Rig rig;
  rig.first = rig.second = down();
  std::int64_t longest = 0;
  for (int turn = 0; turn < 8; ++turn) {
    REQUIRE_FALSE(rig.get());
    CHECK(rig.log == Log{"one.test", "two.test"});
    std::int64_t waited = 0;
    while (!rig.circuits.is_closed(0) || !rig.circuits.is_closed(1)) {
      rig.now_ms += minute / 4;
      waited += minute / 4;
    }
    CHECK(waited <= 61 * minute);
    longest = std::max(longest, waited);
  }
  CHECK(longest > 50 * minute);
  rig.first = down(Errc::busy, 7'200);
  rig.first.problem.status = 503;
  rig.second = {};
  REQUIRE(rig.get());
  rig.now_ms += 119 * minute;
  CHECK_FALSE(rig.circuits.is_closed(0));
  rig.now_ms += 2 * minute;
  CHECK(rig.circuits.is_closed(0));
  CHECK(rig.circuits.metrics().find(
            "proxycore_renew_ca_answers_total{ca=\"two.test\",result=\"given\"} 1") !=
        std::string::npos);
}

TEST_CASE("issuers: where all are to be left alone, whoever asks all the same is heard") {
  Rig rig;
  rig.first = rig.second = down();
  REQUIRE_FALSE(rig.get());
  rig.first = {};
  CHECK(said(rig.get()) == "chain of one.test");
}

TEST_CASE("issuers: who gave a certificate renews it, and only there it is replaced") {
  Rig rig;
  const Commission renewal{.wanted = rig.wanted,
                           .key_pem = "key",
                           .order_url = "u",
                           .order_ca = "two.test",
                           .is_renewal = true,
                           .ca = "two.test",
                           .replaces = "chain"};
  CHECK(said(rig.get(renewal)) == "chain of two.test");
  CHECK(rig.log == Log{"two.test u replaces"});
  rig.second = down();
  CHECK(said(rig.get(renewal)) == "chain of one.test");
  CHECK(rig.log == Log{"two.test u replaces", "one.test"});
  REQUIRE(rig.issuers.proposal("two.test", "chain", soon()));
  REQUIRE(rig.issuers.revoke("two.test", {}, 0, soon()));
  REQUIRE(rig.issuers.proposal("", "chain", soon()));
  CHECK(rig.issuers.proposal("gone.test", "chain", soon()).error().code == Errc::not_found);
  CHECK(rig.log == Log{"two.test u replaces", "one.test", "two.test proposal", "two.test revoke",
                       "one.test proposal"});
}

TEST_CASE("issuers: nobody else is asked when it is we who fail") {
  Rig rig;
  SUBCASE("the order cannot be kept") {
    rig.told.fail_to_keep = true;
  }
  SUBCASE("the account cannot be kept") {
    rig.first = down(Errc::io);
    rig.first.hurdle = Hurdle::ours;
  }
  REQUIRE_FALSE(rig.get());
  CHECK(rig.log == Log{"one.test"});
  CHECK(rig.circuits.is_closed(0));
}

TEST_CASE("issuers: where a CA's limits leave no room it is not asked, but the next one is") {
  Rig rig;
  const auto store = open_memory();
  Ledger ledger(*store, "one.test", [&] { return rig.now_ms; });
  auto cas = rig.cas();
  cas.front().ledger = &ledger;
  Issuers limited(std::move(cas), rig.circuits);
  const auto get = [&](const Commission& commission) {
    rig.log.clear();
    return limited.obtain(commission, rig.told, soon());
  };
  const Commission first{.wanted = rig.wanted, .key_pem = "key"};
  for (int i = 0; i < 5; ++i) CHECK(said(get(first)) == "chain of one.test");
  CHECK(said(get(first)) == "chain of two.test");
  CHECK(rig.log == Log{"two.test"});
  // An order on its way was counted; one that the CA has proposed counts as none.
  CHECK(said(get(
            {.wanted = rig.wanted, .key_pem = "key", .order_url = "u", .order_ca = "one.test"})) ==
        "chain of one.test");
  CHECK(said(get({.wanted = rig.wanted,
                  .key_pem = "key",
                  .is_renewal = true,
                  .ca = "one.test",
                  .replaces = "chain"})) == "chain of one.test");
  // With nobody else to ask it waits for its time.
  rig.second = refusal("rateLimited", 429);
  const auto none = get(first);
  REQUIRE_FALSE(none);
  CHECK(limited.hurdle() == Hurdle::limits);
  CHECK(none.error().retry_after_s > 3'600);
  // What is refused is given back, and counted as what it is.
  rig.wanted.identifiers = {"b.test"};
  rig.first = refusal("dns");
  for (int i = 0; i < 5; ++i) {
    REQUIRE_FALSE(get(first));
    CHECK(limited.hurdle() == Hurdle::ca);
  }
  REQUIRE_FALSE(get(first));
  CHECK(limited.hurdle() == Hurdle::limits);
}

TEST_CASE("issuers: what never became an order takes nothing of the limits") {
  Rig rig;
  const auto store = open_memory();
  Ledger ledger(*store, "one.test", [&] { return rig.now_ms; });
  auto cas = rig.cas();
  cas.front().ledger = &ledger;
  Issuers limited(std::move(cas), rig.circuits);
  const Commission first{.wanted = rig.wanted, .key_pem = "key"};
  rig.told.fail_to_keep = true;
  for (int i = 0; i < 20; ++i) {
    REQUIRE_FALSE(limited.obtain(first, rig.told, soon()));
    CHECK(limited.hurdle() != Hurdle::limits);
  }
  rig.told.fail_to_keep = false;
  CHECK(said(limited.obtain(first, rig.told, soon())) == "chain of one.test");
}

TEST_CASE("issuers: after failures a staging CA has to give one first, which is not kept") {
  Rig rig;
  const Commission again{.wanted = rig.wanted, .key_pem = "key", .rehearse = true};
  CHECK(said(rig.get(again)) == "chain of one.test");
  CHECK(rig.log == Log{"staging.test", "one.test"});
  CHECK(rig.told.rehearsed == "staging.test");
  CHECK(rig.told.orders == Log{"https://one.test/order/1"});

  rig.staging = refusal("dns");
  rig.told = {};
  const auto refused = rig.get(again);
  REQUIRE_FALSE(refused);
  CHECK(rig.log == Log{"staging.test"});
  CHECK(rig.issuers.problem().type == "dns");
  CHECK(refused.error().detail ==
        "the staging CA staging.test refuses it, so one.test was not asked: dns: no");
  CHECK(rig.told.rehearsed.empty());

  // Where it says nothing about the name, it keeps nobody from a certificate.
  for (const Behaviour& trouble :
       {down(), refusal("serverInternal", 500), refusal("rateLimited", 429),
        refusal("externalAccountRequired")}) {
    rig.staging = trouble;
    CHECK(said(rig.get(again)) == "chain of one.test");
  }
  // An order that is on its way has come that far.
  rig.staging = refusal("dns");
  CHECK(said(rig.get({.wanted = rig.wanted,
                      .key_pem = "key",
                      .order_url = "u",
                      .order_ca = "one.test",
                      .rehearse = true})) == "chain of one.test");
  CHECK(staging_of("https://acme-v02.api.letsencrypt.org/directory") ==
        "https://acme-staging-v02.api.letsencrypt.org/directory");
  CHECK(staging_of("https://ca.test/directory").empty());
}
