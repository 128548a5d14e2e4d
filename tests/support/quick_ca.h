// QuickCa: an issuer whose certificates last as long as a test wants, on the test's own clock.
//
// Certificates are real, signed by an Authority; the protocol is left out. What goes wrong, and
// when it proposes renewals, the test says. Thread: its issuers may be used at the same time.
#pragma once

#include "certs/issuer.h"
#include "support/authority.h"
#include <proxycore/result.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

class QuickCa {
 public:
  struct Refusal {
    Error error;
    acme::Problem problem = {};
    certs::Hurdle hurdle = certs::Hurdle::ca;
  };

  std::atomic<std::int64_t> now_ms{std::int64_t{std::time(nullptr)} * 1'000};
  std::int64_t lifetime_s = 90 * 86'400;
  // Asked before a certificate is given; nullopt: it is.
  std::function<std::optional<Refusal>(const certs::Commission&)> refuse = {};
  // After each step; an error ends obtain().
  std::function<Result<void>(const std::string& name, acme::Step step)> at_step = {};
  std::function<Result<acme::RenewalInfo>(std::string_view chain)> propose = {};

  // How often each name got one.
  std::map<std::string, int> given;
  std::vector<std::string> order_urls;  // that were gone on with
  int revoked = 0;
  int asked = 0;  // for proposals

  std::unique_ptr<certs::Issuer> issuer() { return std::make_unique<One>(*this); }

 private:
  class One final : public certs::Issuer {
   public:
    explicit One(QuickCa& ca) : ca_(ca) {}

    Result<std::string> obtain(const certs::Commission& commission, certs::Progress& progress,
                               const Deadline& /*by*/) override {
      problem_ = {};
      hurdle_ = certs::Hurdle::ca;
      progress.on_ca("quick.test");
      if (commission.rehearse) progress.on_rehearsed("staging.quick.test");
      using acme::Step;
      const std::string& name = commission.wanted.name;
      for (const Step step : {Step::order, Step::present, Step::validate, Step::finalize}) {
        PX_CHECK(progress.on_step(step, ""));
        if (step == Step::order && commission.order_url.empty()) {
          PX_CHECK(progress.on_order("https://ca.example.test/order/" + name));
        }
        if (ca_.at_step) PX_CHECK(ca_.at_step(name, step));
      }
      const std::lock_guard lock(ca_.mutex_);
      if (ca_.refuse) {
        if (auto refusal = ca_.refuse(commission)) {
          problem_ = refusal->problem;
          hurdle_ = refusal->hurdle;
          return refusal->error;
        }
      }
      ++ca_.given[name];
      if (!commission.order_url.empty()) ca_.order_urls.push_back(commission.order_url);
      const std::int64_t begin = ca_.now_ms / 1'000 - std::time(nullptr) - 60;
      return ca_.authority_.issue_for(commission.key_pem, {.dns = commission.wanted.identifiers,
                                                           .not_before = begin,
                                                           .not_after = begin + ca_.lifetime_s});
    }
    Result<acme::RenewalInfo> proposal(std::string_view /*ca*/, std::string_view chain,
                                       const Deadline& /*by*/) override {
      const std::lock_guard lock(ca_.mutex_);
      ++ca_.asked;
      if (ca_.propose) return ca_.propose(chain);
      return Error{Errc::not_found, "the CA proposes nothing"};
    }
    Result<void> revoke(std::string_view /*ca*/, const CertBundle& /*bundle*/, int /*reason*/,
                        const Deadline& /*by*/) override {
      const std::lock_guard lock(ca_.mutex_);
      ++ca_.revoked;
      return {};
    }
    [[nodiscard]] const acme::Problem& problem() const noexcept override { return problem_; }
    [[nodiscard]] certs::Hurdle hurdle() const noexcept override { return hurdle_; }

   private:
    QuickCa& ca_;
    acme::Problem problem_;
    certs::Hurdle hurdle_ = certs::Hurdle::ca;
  };

  Authority authority_{Wanted{.common_name = "fake root"}};
  std::mutex mutex_;
};

}  // namespace proxycore::test
