// Issuers: several CAs as one, asked in their order.
//
// A CA that is out of order, or refuses the account, is passed over for a while (its circuit is
// open), and the next one is asked within the same attempt; what a CA says about a name is the
// answer, as the next one would find the same. Who gave a certificate renews it, if it can. A name
// that has failed before is tried at the CA's staging directory first, so that the limits of the CA
// itself are not spent on what is bound to fail.
// Not here: when a name is tried (runner), the limits (ledger). Source: CAs' integration guides.
// Owner: Renewer; one Issuers for each thread, Circuits for all. Thread: its owner's; Circuits:
// any.
#pragma once

#include "certs/issuer.h"
#include "certs/ledger.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::certs {

// What is known of the CAs, in their order.
class Circuits {
 public:
  // `now_ms`: the wall clock.
  Circuits(std::vector<std::string> cas, std::function<std::int64_t()> now_ms);

  [[nodiscard]] bool is_closed(std::size_t ca) const;
  void gave(std::size_t ca);
  void refused(std::size_t ca);
  // Opens it: for a minute, and longer each time in a row, up to an hour; or as long as it asked.
  void troubled(std::size_t ca, std::uint32_t retry_after_s);

  // In the text format of metrics.
  [[nodiscard]] std::string metrics() const;

 private:
  struct One {
    std::string name;
    std::int64_t until_ms = 0;  // nothing is asked of it before
    std::uint32_t in_a_row = 0;
    std::uint64_t given = 0;
    std::uint64_t refusals = 0;
    std::uint64_t troubles = 0;
  };

  [[nodiscard]] bool is_open(const One& one) const;

  const std::function<std::int64_t()> now_ms_;
  mutable std::mutex mutex_;  // guards the next
  std::vector<One> cas_;
};

class Issuers final : public Issuer {
 public:
  struct Ca {
    std::string name;  // the host of its directory
    std::unique_ptr<Issuer> issuer;
    std::string staging_name = {};
    std::unique_ptr<Issuer> staging = {};  // null: it has none
    Ledger* ledger = nullptr;              // null: its limits are not known; outlives us
  };
  // At least one; `circuits` has as many, and outlives it.
  Issuers(std::vector<Ca> cas, Circuits& circuits) : cas_(std::move(cas)), circuits_(circuits) {}

  Result<std::string> obtain(const Commission& commission, Progress& progress,
                             const Deadline& by) override;
  Result<acme::RenewalInfo> proposal(std::string_view ca, std::string_view chain_pem,
                                     const Deadline& by) override;
  Result<void> revoke(std::string_view ca, const CertBundle& bundle, int reason,
                      const Deadline& by) override;
  [[nodiscard]] const acme::Problem& problem() const noexcept override { return problem_; }
  [[nodiscard]] Hurdle hurdle() const noexcept override { return hurdle_; }

 private:
  class Watched;
  // Why a CA gave none.
  struct Failure {
    Error error;
    acme::Problem problem = {};
    Hurdle hurdle = Hurdle::ca;
    bool is_final = false;  // the next one would do no better
    bool is_name = false;   // it is the name's, not the CA's
  };

  // In the order in which they are asked.
  [[nodiscard]] std::vector<std::size_t> order_for(const Commission& commission) const;
  Result<std::string> ask(std::size_t which, const Commission& commission, Progress& progress,
                          const Deadline& by, Failure& failure);
  Result<std::string> order_at(std::size_t which, const Commission& commission, Progress& progress,
                               const Deadline& by, Failure& failure);
  Result<void> rehearse(Ca& ca, const Commission& commission, Progress& progress,
                        const Deadline& by, Failure& failure);
  Result<Ca*> named(std::string_view ca);

  std::vector<Ca> cas_;
  Circuits& circuits_;
  acme::Problem problem_;
  Hurdle hurdle_ = Hurdle::ca;
};

// The staging directory that goes with a CA's; empty: none that is known.
std::string_view staging_of(std::string_view directory) noexcept;

}  // namespace proxycore::certs
