#include "certs/runner.h"

#include "host/keys.h"
#include "store/repo.h"
#include "support/away_store.h"
#include "support/eventually.h"
#include "support/quick_ca.h"
#include "tls/cert.h"
#include <proxycore/cert.h>
#include <proxycore/host.h>
#include <proxycore/store.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::certs;
using namespace proxycore::test;
namespace keys = proxycore::host::keys;

namespace {

constexpr std::int64_t minute = 60'000;
constexpr std::int64_t day = 86'400'000;

Deadline soon() {
  return Deadline::in(Seconds{60});
}

struct Rig {
  std::unique_ptr<Store> store = open_memory();
  QuickCa ca;
  std::mutex mutex;
  std::vector<std::string> told;  // "certificate.issued a.test"
  std::vector<std::string> steps;

  Runner::Options options(std::uint32_t parallel = 1) {
    Runner::Options options;
    options.parallel = parallel;
    options.issuer = [this]() -> Result<std::unique_ptr<Issuer>> { return ca.issuer(); };
    options.seal = [](std::string_view, std::string_view text) -> Result<std::string> {
      return "sealed " + std::string(text);
    };
    options.unseal = [](std::string_view, std::string_view text) -> Result<std::string> {
      return std::string(text.substr(7));
    };
    options.happened = [this](const Happening& happening) {
      const std::lock_guard lock(mutex);
      told.push_back(std::string(happening.event) + " " + happening.story.name);
    };
    options.progress = [this](std::string_view, std::string_view step, std::string_view) {
      const std::lock_guard lock(mutex);
      steps.emplace_back(step);
    };
    options.now_ms = [this] { return ca.now_ms.load(); };
    options.between_orders = Millis{0};
    options.lease = Seconds{5};
    return options;
  }
  void host(const std::string& name, const std::string& challenge_type = {}) {
    const Host one{
        .host = name, .ip = "127.0.0.1", .target_port = 80, .challenge_type = challenge_type};
    REQUIRE(save(*store, one, soon()));
  }
  Story story(std::string_view name) {
    auto kept = load_story(*store, name, soon());
    REQUIRE(kept);
    return *std::move(kept);
  }
  std::string serial(std::string_view name) { return story(name).serial; }
};

QuickCa::Refusal refusal(std::string_view type, std::uint32_t retry_after_s = 0) {
  return {.error = {Errc::denied, std::string(type) + ": no such luck", retry_after_s},
          .problem = {.status = 403, .type = std::string(type)}};
}

}  // namespace

TEST_CASE("runner: a new host gets a certificate, which is kept and told") {
  Rig rig;
  rig.host("app.example.test");
  Runner runner(*rig.store, rig.options());
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->issued == 1);
  CHECK(CertStore(*rig.store).find("app.example.test", soon()));
  const Story story = rig.story("app.example.test");
  CHECK(story.state == CertificateState::valid);
  CHECK(story.host == "app.example.test");
  CHECK(story.failures == 0);
  CHECK(story.order_url.empty());
  CHECK(story.order_key.empty());
  REQUIRE(story.attempts.size() == 1);
  CHECK(story.attempts.front().ok);
  CHECK(story.next_ms > rig.ca.now_ms + 59 * day);
  CHECK(rig.told == std::vector<std::string>{"certificate.issued app.example.test"});
  // There is nothing to do until then.
  CHECK(runner.run_once(soon())->issued == 0);
  CHECK(rig.ca.given["app.example.test"] == 1);
  CHECK(runner.metrics().find("proxycore_renew_names{state=\"valid\"} 1") != std::string::npos);
}

TEST_CASE("runner: a certificate that is there already is taken over, not got again") {
  Rig rig;
  rig.host("app.example.test");
  const std::int64_t life = 90 * day / 1'000;
  REQUIRE(
      CertStore(*rig.store)
          .put("app.example.test", lone({.dns = {"app.example.test"}, .not_after = life}), soon()));
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.ca.given.empty());
  CHECK(rig.story("app.example.test").state == CertificateState::valid);
}

TEST_CASE("runner: one that is for other names, or that has ended, is none") {
  Rig rig;
  rig.host("app.example.test");
  rig.host("old.example.test");
  const auto put = [&](const std::string& name, const CertBundle& bundle) {
    const store::Certificate kept{
        .name = name, .fullchain_pem = bundle.chain_pem, .privkey_pem = bundle.key_pem};
    REQUIRE(store::save(*rig.store, kept, soon()));
  };
  put("app.example.test", lone({.dns = {"www.example.test"}}));
  put("old.example.test", lone({.dns = {"old.example.test"}, .not_before = -100, .not_after = -1}));
  Runner runner(*rig.store, rig.options());
  CHECK(runner.run_once(soon())->issued == 2);
}

TEST_CASE("runner: a failure is kept with the CA's words, and repeated ever more rarely") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.refuse = [](const Commission&) { return refusal("dns"); };
  Runner runner(*rig.store, rig.options());
  std::vector<std::int64_t> pauses;
  for (int i = 0; i < 6; ++i) {
    REQUIRE(runner.run_once(soon())->failed == 1);
    const Story story = rig.story("app.example.test");
    CHECK(story.state == CertificateState::failing);
    CHECK(story.failures == static_cast<std::uint32_t>(i) + 1);
    CHECK(story.attempts.front().words == "dns: no such luck");
    CHECK(story.attempts.front().step == "finalize");
    pauses.push_back(story.next_ms - rig.ca.now_ms);
    // Not before its time, not even by a runner that knows nothing yet.
    Runner other(*rig.store, rig.options());
    CHECK(other.run_once(soon())->failed == 0);
    rig.ca.now_ms = story.next_ms;
  }
  CHECK(std::is_sorted(pauses.begin(), pauses.end()));
  CHECK(pauses.front() <= 2 * minute);
  CHECK(pauses.back() >= 5 * 3'600'000);
  rig.ca.refuse = {};
  CHECK(runner.run_once(soon())->issued == 1);
  CHECK(rig.story("app.example.test").failures == 0);
}

TEST_CASE("runner: one failing name never stops another") {
  Rig rig;
  for (const char* name : {"a.example.test", "b.example.test", "c.example.test"}) rig.host(name);
  rig.ca.refuse = [](const Commission& commission) -> std::optional<QuickCa::Refusal> {
    if (commission.wanted.name == "b.example.test") return refusal("caa");
    return std::nullopt;
  };
  Runner runner(*rig.store, rig.options(3));
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->issued == 2);
  CHECK(summary->failed == 1);
}

TEST_CASE("runner: Retry-After of the CA is obeyed") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.refuse = [](const Commission&) { return refusal("rateLimited", 7'200); };
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.story("app.example.test").next_ms == rig.ca.now_ms + 7'200'000);
  CHECK(rig.story("app.example.test").why == "the CA wants to be asked then");
}

TEST_CASE("runner: a CA that is down is left alone by all names, which are not blamed") {
  Rig rig;
  for (const char* name : {"a.example.test", "b.example.test", "c.example.test"}) rig.host(name);
  int asked = 0;
  rig.ca.refuse = [&](const Commission&) {
    ++asked;
    return QuickCa::Refusal{.error = {Errc::busy, "503", 600}, .problem = {.status = 503}};
  };
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  CHECK(asked == 1);
  for (const char* name : {"a.example.test", "b.example.test", "c.example.test"}) {
    CAPTURE(name);
    CHECK(rig.story(name).failures == 0);
    CHECK(rig.story(name).next_ms == rig.ca.now_ms + 600'000);
  }
  rig.ca.refuse = {};
  rig.ca.now_ms += 600'000;
  CHECK(runner.run_once(soon())->issued == 3);
}

TEST_CASE("runner: where limits leave no room a name waits, and nothing has failed") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.refuse = [](const Commission&) -> std::optional<QuickCa::Refusal> {
    return QuickCa::Refusal{.error = {Errc::limit, "the rate limits leave no room", 7'200},
                            .hurdle = Hurdle::limits};
  };
  Runner runner(*rig.store, rig.options());
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->failed == 0);
  CHECK(summary->waiting == 1);
  const Story held = rig.story("app.example.test");
  CHECK(held.state == CertificateState::waiting);
  CHECK(held.failures == 0);
  CHECK(held.attempts.empty());
  CHECK(held.why == "the rate limits leave no room");
  CHECK(held.next_ms == rig.ca.now_ms + 120 * minute);
  rig.ca.refuse = {};
  rig.ca.now_ms += 119 * minute;
  Runner other(*rig.store, rig.options());
  CHECK(other.run_once(soon())->issued == 0);
  rig.ca.now_ms += 2 * minute;
  CHECK(other.run_once(soon())->issued == 1);
}

TEST_CASE("runner: what cannot be kept beside the certificate is no fault of the CA's") {
  Rig rig;
  rig.host("app.example.test");
  rig.host("www.example.test");
  bool away = true;
  rig.ca.refuse = [&](const Commission&) -> std::optional<QuickCa::Refusal> {
    if (!std::exchange(away, false)) return std::nullopt;
    return QuickCa::Refusal{.error = {Errc::io, "disk full"}, .hurdle = Hurdle::ours};
  };
  Runner runner(*rig.store, rig.options());
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  // The other name does not wait for anything.
  CHECK(summary->issued == 1);
  CHECK(summary->failed == 0);
}

TEST_CASE("runner: the story tells which CA gave a certificate, and that it was tried before") {
  Rig rig;
  rig.host("app.example.test");
  std::vector<std::string> asked;
  rig.ca.refuse = [&](const Commission& commission) -> std::optional<QuickCa::Refusal> {
    asked.push_back(commission.ca + (commission.is_renewal ? " renewal" : "") +
                    (commission.rehearse ? " rehearsed" : ""));
    if (asked.size() > 2) return std::nullopt;
    return refusal("dns");
  };
  Runner runner(*rig.store, rig.options());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(runner.run_once(soon()));
    rig.ca.now_ms += 10 * minute;
  }
  const Story story = rig.story("app.example.test");
  CHECK(story.ca == "quick.test");
  CHECK(story.order_ca.empty());
  REQUIRE(story.attempts.size() == 4);
  CHECK(story.attempts[0].what == "issue");
  CHECK(story.attempts[1].what == "rehearse");
  CHECK(story.attempts[1].words == "at the staging CA staging.quick.test");
  rig.ca.now_ms += 70 * day;
  REQUIRE(runner.run_once(soon()));
  CHECK(asked == std::vector<std::string>{"", "", " rehearsed", "quick.test renewal"});
}

TEST_CASE("runner: an order is gone on with, with its key, after the runner was killed") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.at_step = [](const std::string&, acme::Step step) -> Result<void> {
    if (step == acme::Step::validate) return Error{Errc::cancelled, "killed"};
    return {};
  };
  {
    Runner runner(*rig.store, rig.options());
    REQUIRE(runner.run_once(soon()));
  }
  const Story left = rig.story("app.example.test");
  CHECK(left.order_url == "https://ca.example.test/order/app.example.test");
  CHECK_FALSE(left.order_key.empty());
  CHECK(left.failures == 0);
  rig.ca.at_step = {};
  rig.ca.now_ms += minute;
  Runner runner(*rig.store, rig.options());
  CHECK(runner.run_once(soon())->issued == 1);
  CHECK(rig.ca.order_urls == std::vector<std::string>{left.order_url});
}

TEST_CASE("runner: what the CA refused is not gone on with") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.refuse = [](const Commission&) { return refusal("unauthorized"); };
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.story("app.example.test").order_url.empty());
}

TEST_CASE("runner: two runners on one store get one certificate") {
  Rig rig;
  for (int i = 0; i < 20; ++i) rig.host("h" + std::to_string(i) + ".example.test");
  Runner one(*rig.store, rig.options(2));
  Runner other(*rig.store, rig.options(2));
  std::thread thread([&] { CHECK(other.run_once(soon())); });
  CHECK(one.run_once(soon()));
  thread.join();
  // Whoever came second to a name looks at it again later.
  rig.ca.now_ms += 2 * minute;
  CHECK(one.run_once(soon()));
  CHECK(rig.ca.given.size() == 20);
  for (const auto& given : rig.ca.given) {
    CAPTURE(given.first);
    CHECK(given.second == 1);
  }
}

TEST_CASE("runner: whoever lost its lease keeps no certificate") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.at_step = [&](const std::string& name, acme::Step step) -> Result<void> {
    if (step != acme::Step::finalize) return {};
    // Another runner has gone on meanwhile.
    Story later = rig.story(name);
    later.fence += 1;
    return save_story(*rig.store, later, soon());
  };
  Runner runner(*rig.store, rig.options());
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->issued == 0);
}

TEST_CASE("runner: a wildcard's host record says how far it is, as older pages read it") {
  Rig rig;
  rig.host("*.example.test", "DNS-01-wildcard");
  Runner runner(*rig.store, rig.options());
  rig.ca.refuse = [](const Commission&) { return refusal("dns"); };
  REQUIRE(runner.run_once(soon()));
  auto record = rig.store->get(host::keys::host("*.example.test"), soon());
  REQUIRE(record);
  CHECK(record->at("wildcard_status") == "LE failed");
  rig.ca.refuse = {};
  rig.ca.now_ms += 2 * minute;
  REQUIRE(runner.run_once(soon()));
  record = rig.store->get(host::keys::host("*.example.test"), soon());
  CHECK(record->at("wildcard_status") == "Done");
  CHECK(record->at("is_wildcard") == "true");
  const Story story = rig.story("*.example.test");
  CHECK(record->at("wildcard_expires") == std::to_string(story.not_after * 1'000));
  CHECK(record->at("wildcard_issued") == std::to_string(story.not_before * 1'000));
  CHECK(record->at("ip") == "127.0.0.1");
}

TEST_CASE("runner: a visitor's wish is met at once, only for what a host allows") {
  Rig rig;
  rig.host("**.example.test");
  Runner runner(*rig.store, rig.options());
  const auto wish = [&](const std::string& name) {
    REQUIRE(rig.store->create(host::keys::wish(name), {{"name", name}}, Seconds{60}, soon()));
  };
  wish("a.b.example.test");
  wish("evil.test");
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->issued == 1);
  CHECK(rig.ca.given.size() == 1);
  CHECK(rig.story("a.b.example.test").wished);
  CHECK(rig.story("a.b.example.test").host == "**.example.test");
  CHECK_FALSE(rig.store->get(host::keys::wish("a.b.example.test"), soon()));
  CHECK_FALSE(rig.store->get(host::keys::wish("evil.test"), soon()));
  // It is renewed as others are, as long as its host is there.
  rig.ca.now_ms += 70 * day;
  CHECK(runner.run_once(soon())->renewed == 1);
  REQUIRE(remove_host(*rig.store, "**.example.test", soon()));
  rig.ca.now_ms += 70 * day;
  CHECK(runner.run_once(soon())->renewed == 0);
  CHECK(rig.story("a.b.example.test").state == CertificateState::idle);
}

TEST_CASE("runner: a wish for a name that a wildcard's certificate is to cover brings that one") {
  Rig rig;
  rig.host("*.example.test", "DNS-01-wildcard");
  Runner runner(*rig.store, rig.options());
  REQUIRE(rig.store->create(host::keys::wish("a.example.test"), {{"name", "a.example.test"}},
                            Seconds{60}, soon()));
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.ca.given == std::map<std::string, int>{{"*.example.test", 1}});
  CHECK_FALSE(rig.store->get(host::keys::wish("a.example.test"), soon()));
}

TEST_CASE("runner: a second certificate with an RSA key is got beside each, and renewed with it") {
  Rig rig;
  rig.host("app.other.test");
  rig.host("*.example.test", "DNS-01-wildcard");
  auto options = rig.options();
  options.acme.rsa_companion = true;
  Runner runner(*rig.store, std::move(options));
  CHECK(runner.run_once(soon())->issued == 4);
  const auto types_of = [&](std::string_view name) {
    std::string types;
    const auto bundles = CertStore(*rig.store).find(name, soon());
    REQUIRE(bundles);
    for (const CertBundle& bundle : *bundles) {
      const auto certificate = tls::Certificate::load(bundle);
      REQUIRE(certificate);
      CHECK((*certificate)->matches(name));
      types += (*certificate)->key_type() == tls::KeyType::rsa ? "rsa " : "ecdsa ";
    }
    return types;
  };
  CHECK(types_of("app.other.test") == "ecdsa rsa ");
  CHECK(types_of("*.example.test") == "ecdsa rsa ");
  CHECK(rig.story("rsa:app.other.test").state == CertificateState::valid);
  CHECK(rig.serial("rsa:app.other.test") != rig.serial("app.other.test"));

  rig.ca.now_ms += 70 * day;
  CHECK(runner.run_once(soon())->renewed == 4);
  CHECK(rig.store->get(keys::previous("app.other.test"), soon()));
  CHECK(rig.store->get(keys::previous("rsa:app.other.test"), soon()));
  CHECK(runner.run_once(soon())->renewed == 0);

  REQUIRE(runner.revoke("app.other.test", 4, soon()));
  CHECK(rig.ca.revoked == 2);
  CHECK(CertStore(*rig.store).find("app.other.test", soon()).error().code == Errc::not_found);
  CHECK_FALSE(rig.store->get(keys::previous("rsa:app.other.test"), soon()));
  CHECK(runner.revoke("app.other.test", 4, soon()).error().code == Errc::not_found);

  // Once it is wanted no more, nothing is done about it.
  Runner without(*rig.store, rig.options());
  REQUIRE(without.run_once(soon()));
  CHECK(rig.story("rsa:*.example.test").state == CertificateState::idle);
}

TEST_CASE("runner: revoked with a compromised key, a name gets a new certificate at once") {
  Rig rig;
  rig.host("app.example.test");
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  const std::string serial = rig.serial("app.example.test");
  REQUIRE(runner.revoke("app.example.test", 1, soon()));
  CHECK(rig.ca.revoked == 1);
  CHECK_FALSE(CertStore(*rig.store).find("app.example.test", soon()));
  CHECK(runner.run_once(soon())->issued == 1);
  CHECK(rig.serial("app.example.test") != serial);
}

TEST_CASE("runner: issue() gets one now, and says why it cannot") {
  Rig rig;
  rig.host("app.example.test");
  Runner runner(*rig.store, rig.options());
  const auto first = runner.issue("app.example.test", soon());
  REQUIRE(first);
  const auto second = runner.issue("app.example.test", soon());
  REQUIRE(second);
  CHECK(first->serial != second->serial);
  CHECK(second->attempts.front().what == "renew");
  // The one before is kept until it ends.
  CHECK(rig.store->get(host::keys::previous("app.example.test"), soon()));
  const auto none = runner.issue("other.test", soon());
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
  rig.ca.refuse = [](const Commission&) { return refusal("caa"); };
  const auto refused = runner.issue("app.example.test", soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().detail == "caa: no such luck");
  // What is there goes on.
  CHECK(CertStore(*rig.store).find("app.example.test", soon()));
}

TEST_CASE("runner: it renews when the CA proposes, and looks again when that is due (RFC 9773)") {
  Rig rig;
  rig.host("app.example.test");
  const std::int64_t begin = rig.ca.now_ms;
  std::int64_t start_s = (begin + 40 * day) / 1'000;
  rig.ca.propose = [&](std::string_view) -> Result<acme::RenewalInfo> {
    return acme::RenewalInfo{.start = start_s, .end = start_s + 86'400, .retry_after_s = 21'600};
  };
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  rig.ca.now_ms += 3'600'000;
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.ca.asked == 1);
  Story story = rig.story("app.example.test");
  CHECK(story.next_ms >= start_s * 1'000);
  CHECK(story.next_ms <= (start_s + 86'400) * 1'000);
  CHECK(story.why == "the CA proposes this time");
  // The chosen moment stays while the window does.
  rig.ca.now_ms += 21'600'000;
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.ca.asked == 2);
  CHECK(rig.story("app.example.test").next_ms == story.next_ms);
  // The CA is in a hurry now: a window that has passed means at once.
  start_s = (begin - day) / 1'000 - 86'400;
  rig.ca.now_ms += 21'600'000;
  CHECK(runner.run_once(soon())->renewed == 1);
}

// What happens in so many days to a name whose certificates last so long.
static void live(Rig& rig, std::int64_t days, std::int64_t lifetime_days,
                 const std::function<void(std::int64_t now)>& each_time = {}) {
  rig.ca.lifetime_s = lifetime_days * day / 1'000;
  Runner runner(*rig.store, rig.options());
  const std::int64_t end = rig.ca.now_ms + days * day;
  while (rig.ca.now_ms < end) {
    if (each_time) each_time(rig.ca.now_ms);
    REQUIRE(runner.run_once(soon()));
    for (const auto& [name, times] : rig.ca.given) {
      const Story story = rig.story(name);
      REQUIRE(story.not_after * 1'000 > rig.ca.now_ms);
    }
    const auto next = runner.next_ms();
    REQUIRE(next);
    REQUIRE(*next > rig.ca.now_ms);
    rig.ca.now_ms = std::min(*next, end);
  }
}

TEST_CASE("runner: a year passes unattended with certificates of 90, 45 and 6 days") {
  struct Life {
    int days;
    int least;  // certificates
    int most;
  };
  for (const Life life : {Life{90, 6, 7}, Life{45, 12, 14}, Life{6, 115, 135}}) {
    CAPTURE(life.days);
    Rig rig;
    rig.host("app.example.test");
    live(rig, 365, life.days);
    CHECK(rig.ca.given["app.example.test"] >= life.least);
    CHECK(rig.ca.given["app.example.test"] <= life.most);
  }
}

TEST_CASE("runner: a CA that is out of order for a week costs no certificate") {
  Rig rig;
  rig.host("app.example.test");
  const std::int64_t begin = rig.ca.now_ms;
  rig.ca.refuse = [&](const Commission&) -> std::optional<QuickCa::Refusal> {
    const std::int64_t past = rig.ca.now_ms - begin;
    if (past < 58 * day || past > 65 * day) return std::nullopt;
    return QuickCa::Refusal{.error = {Errc::refused, "nobody listens"}};
  };
  live(rig, 200, 90);
  CHECK(rig.ca.given["app.example.test"] >= 3);
}

TEST_CASE("runner: a clock that jumps back or ahead loses nothing") {
  Rig rig;
  rig.host("app.example.test");
  Runner runner(*rig.store, rig.options());
  REQUIRE(runner.run_once(soon()));
  rig.ca.now_ms -= 30 * day;
  REQUIRE(runner.run_once(soon()));
  rig.ca.now_ms += 30 * day;
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.story("app.example.test").state == CertificateState::valid);
  rig.ca.now_ms += 400 * day;
  CHECK(runner.run_once(soon())->issued == 1);
}

TEST_CASE("runner: while it runs, a new host has its certificate in a moment") {
  Rig rig;
  Runner runner(*rig.store, rig.options(2));
  std::stop_source stop;
  std::thread thread([&] { CHECK(runner.run(stop.get_token())); });
  rig.host("app.example.test");
  CHECK(eventually(
      [&] { return CertStore(*rig.store).find("app.example.test", soon()).has_value(); }));
  stop.request_stop();
  thread.join();
}

TEST_CASE("runner: a thousand names of one night take little of our time") {
  Rig rig;
  std::vector<std::pair<std::string, Record>> hosts;
  constexpr int count = 1'000;
  for (int i = 0; i < count; ++i) {
    const std::string name = "h" + std::to_string(i) + ".example.test";
    hosts.emplace_back(host::keys::host(name),
                       Record{{"host", name}, {"ip", "127.0.0.1"}, {"targetPort", "80"}});
  }
  REQUIRE(rig.store->put_all(hosts, {}, soon()));
  Runner runner(*rig.store, rig.options(2));
  const auto summary = runner.run_once(Deadline::in(Seconds{600}));
  REQUIRE(summary);
  CHECK(summary->issued == count);
}

namespace {

// A name whose certificate is due, in a store that does as it is told.
struct FaultyRig : Rig {
  AwayStore* away = nullptr;

  FaultyRig() {
    auto made = std::make_unique<AwayStore>();
    away = made.get();
    store = std::move(made);
  }
  void make_due(const std::string& name) {
    host(name);
    Runner runner(*store, options());
    REQUIRE(runner.run_once(soon())->issued == 1);
    ca.now_ms = story(name).next_ms + minute;
  }
  // There is one that servers can use.
  void check_usable(std::string_view name) const {
    const auto kept = CertStore(*store).find(name, soon());
    REQUIRE(kept);
    CHECK(tls::Certificate::load(kept->front()));
  }
  // What happens unattended in so many turns at most, until there is a new certificate.
  void go_on(Runner& runner, std::string_view name, const std::string& old_serial) {
    for (int turn = 0; turn < 5 && serial(name) == old_serial; ++turn) {
      const auto next = runner.next_ms();
      REQUIRE(next);
      ca.now_ms = std::max(*next, ca.now_ms.load());
      REQUIRE(runner.run_once(soon()));
    }
    const Story now = story(name);
    CHECK(now.serial != old_serial);
    CHECK(now.state == CertificateState::valid);
    CHECK(now.failures == 0);
    CHECK(now.order_url.empty());
    CHECK(now.order_key.empty());
    CHECK(now.next_ms > ca.now_ms);
    check_usable(name);
  }
};

}  // namespace

TEST_CASE("runner: a write that fails, whichever it is, costs neither certificate nor key") {
  const std::string name = "app.example.test";
  // The disk is full for one write, or from one on.
  for (const bool for_good : {false, true}) {
    bool reached = true;
    for (int failing = 0; reached; ++failing) {
      CAPTURE(for_good);
      CAPTURE(failing);
      REQUIRE(failing < 50);
      FaultyRig rig;
      rig.make_due(name);
      const std::string old = rig.serial(name);
      Runner runner(*rig.store, rig.options());
      int writes = 0;
      reached = false;
      rig.away->before_write = [&]() -> Result<void> {
        const bool fails = for_good ? writes >= failing : writes == failing;
        ++writes;
        if (!fails) return {};
        reached = true;
        return Error{Errc::io, "sqlite: database or disk is full"};
      };
      REQUIRE(runner.run_once(soon()));
      rig.away->before_write = {};
      rig.check_usable(name);
      const bool was_given = rig.ca.given[name] == 2;
      rig.go_on(runner, name, old);
      // What the CA gave, and was not kept, is got by the same order, not ordered again.
      if (was_given && rig.ca.given[name] == 3) CHECK(rig.ca.order_urls.size() == 1);
      CHECK(rig.ca.given[name] <= 3);
    }
  }
}

TEST_CASE("runner: a name that older software is at is nobody's failure, and looked at soon") {
  Rig rig;
  rig.host("app.example.test");
  rig.ca.refuse = [](const Commission&) {
    return QuickCa::Refusal{.error = {Errc::conflict, "app.example.test: somebody is at it"}};
  };
  Runner runner(*rig.store, rig.options());
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->failed == 0);
  const Story story = rig.story("app.example.test");
  CHECK(story.failures == 0);
  CHECK(story.attempts.empty());
  CHECK(story.why == "app.example.test: somebody is at it");
  CHECK(rig.told.empty());
  rig.ca.refuse = {};
  rig.ca.now_ms += minute;
  CHECK(runner.run_once(soon())->issued == 1);
}

TEST_CASE("runner: a store that is away in the middle of an order loses nothing") {
  FaultyRig rig;
  rig.make_due("app.example.test");
  const std::string old = rig.serial("app.example.test");
  rig.ca.at_step = [&](const std::string&, acme::Step step) -> Result<void> {
    if (step == acme::Step::finalize) rig.away->away = true;
    return {};
  };
  Runner runner(*rig.store, rig.options());
  CHECK(runner.run_once(soon())->renewed == 0);
  CHECK(rig.ca.given["app.example.test"] == 2);
  // Nothing can be done meanwhile, and nothing is asked of the CA.
  rig.ca.now_ms += 10 * minute;
  CHECK_FALSE(runner.run_once(soon()));
  CHECK(rig.ca.given["app.example.test"] == 2);
  rig.away->away = false;
  rig.ca.at_step = {};
  rig.check_usable("app.example.test");
  const std::string order_url = rig.story("app.example.test").order_url;
  CHECK_FALSE(order_url.empty());
  rig.go_on(runner, "app.example.test", old);
  CHECK(rig.ca.order_urls == std::vector<std::string>{order_url});
}

TEST_CASE("runner: a DNS server that is down keeps nobody else from a certificate") {
  Rig rig;
  rig.host("*.example.test", "DNS-01-wildcard");
  rig.host("plain.other.test");
  rig.ca.at_step = [](const std::string& name, acme::Step step) -> Result<void> {
    if (step != acme::Step::present || !name.starts_with('*')) return {};
    return Error{Errc::timeout, "dns: 192.0.2.1:53: no answer"};
  };
  Runner runner(*rig.store, rig.options());
  const auto summary = runner.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->issued == 1);
  CHECK(summary->failed == 1);
  const Story story = rig.story("*.example.test");
  CHECK(story.state == CertificateState::failing);
  CHECK(story.attempts.front().words == "dns: 192.0.2.1:53: no answer");
  CHECK(story.next_ms <= rig.ca.now_ms + 2 * minute);
  rig.ca.at_step = {};
  rig.ca.now_ms = story.next_ms;
  CHECK(runner.run_once(soon())->issued == 1);
}

TEST_CASE("runner: what is to wait until after a jump of the clock does not wait when it is back") {
  FaultyRig rig;
  rig.make_due("old.example.test");
  rig.ca.now_ms -= 30 * day;
  rig.host("new.example.test");
  const std::int64_t begin = rig.ca.now_ms;
  const std::string old = rig.serial("old.example.test");
  // Far ahead, whatever the CA shows has ended long ago.
  bool down = true;
  rig.ca.refuse = [&](const Commission&) -> std::optional<QuickCa::Refusal> {
    if (!down) return std::nullopt;
    return QuickCa::Refusal{.error = {Errc::denied, "its certificate has ended"}};
  };
  SUBCASE("by failures of the names") {}
  SUBCASE("because the CA is left alone") {
    rig.ca.refuse = [&](const Commission&) -> std::optional<QuickCa::Refusal> {
      if (!down) return std::nullopt;
      return QuickCa::Refusal{.error = {Errc::refused, "nobody listens"}};
    };
  }
  Runner runner(*rig.store, rig.options());
  rig.ca.now_ms += 4'000 * day;
  REQUIRE(runner.run_once(soon()));
  down = false;
  rig.ca.now_ms = begin + minute;
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.story("new.example.test").state == CertificateState::valid);
  // That one is not due yet; when it is, it is seen to.
  CHECK(rig.serial("old.example.test") == old);
  CHECK(rig.story("old.example.test").state == CertificateState::valid);
  rig.ca.now_ms = begin + 31 * day;
  REQUIRE(runner.run_once(soon()));
  CHECK(rig.serial("old.example.test") != old);
}

TEST_CASE("runner: one whose lease ran out while the store was away keeps nothing over another's") {
  FaultyRig rig;
  const std::string name = "app.example.test";
  rig.host(name);
  Runner::Options options = rig.options();
  options.lease = Seconds{1};
  Runner one(*rig.store, options);
  Runner other(rig.away->here(), options);
  std::string others;
  bool first = true;
  rig.ca.at_step = [&](const std::string&, acme::Step step) -> Result<void> {
    if (step != acme::Step::finalize || !std::exchange(first, false)) return {};
    rig.away->away = true;
    CHECK(eventually([&] {
      rig.ca.now_ms += minute;
      const auto summary = other.run_once(soon());
      return summary && summary->issued == 1;
    }));
    others = load_story(rig.away->here(), name, soon())->serial;
    rig.away->away = false;
    return {};
  };
  const auto summary = one.run_once(soon());
  REQUIRE(summary);
  CHECK(summary->issued == 0);
  CHECK(summary->failed == 0);
  CHECK(rig.serial(name) == others);
  rig.check_usable(name);
  // And there is peace.
  rig.ca.now_ms += minute;
  CHECK(one.run_once(soon())->issued == 0);
  CHECK(rig.serial(name) == others);
  CHECK(rig.story(name).state == CertificateState::valid);
}
