#include "certs/issuers.h"

#include "base/log.h"
#include "certs/renewal.h"
#include "tls/keys.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace log = base::log;

constexpr std::int64_t second = 1'000;
constexpr std::int64_t hour = 3'600 * second;
// What is to be written down after a refusal may take.
constexpr Millis per_note{10'000};
// Nobody is left alone for longer, whatever it asks; what is said to be later was said by a clock
// that was ahead.
constexpr std::int64_t longest_pause = 168 * hour;

double random_share() {
  thread_local std::mt19937_64 numbers{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(numbers);
}

// Our account is not welcome there, whatever the name.
bool is_account(const acme::Problem& problem) {
  constexpr std::array<std::string_view, 6> types = {
      "userActionRequired", "externalAccountRequired", "accountDoesNotExist",
      "unsupportedContact", "invalidContact",          "agreementRequired"};
  return std::find(types.begin(), types.end(), problem.type) != types.end();
}

}  // namespace

Circuits::Circuits(std::vector<std::string> cas, std::function<std::int64_t()> now_ms)
    : now_ms_(std::move(now_ms)) {
  for (std::string& name : cas) cas_.push_back({.name = std::move(name)});
}

bool Circuits::is_open(const One& one) const {
  const std::int64_t now = now_ms_();
  return one.until_ms > now && one.until_ms <= now + longest_pause;
}

bool Circuits::is_closed(std::size_t ca) const {
  const std::lock_guard lock(mutex_);
  return !is_open(cas_[ca]);
}

void Circuits::gave(std::size_t ca) {
  const std::lock_guard lock(mutex_);
  cas_[ca].until_ms = 0;
  cas_[ca].in_a_row = 0;
  ++cas_[ca].given;
}

void Circuits::refused(std::size_t ca) {
  const std::lock_guard lock(mutex_);
  ++cas_[ca].refusals;
}

void Circuits::troubled(std::size_t ca, std::uint32_t retry_after_s) {
  const std::lock_guard lock(mutex_);
  One& one = cas_[ca];
  ++one.troubles;
  // Those that were on their way together are one trouble.
  if (!is_open(one)) ++one.in_a_row;
  const std::int64_t asked = std::min(std::int64_t{retry_after_s} * second, longest_pause);
  const std::int64_t pause = std::min(pause_after(one.in_a_row, {}, random_share()), hour);
  one.until_ms = std::max(one.until_ms, now_ms_() + std::max(asked, pause));
}

std::string Circuits::metrics() const {
  std::string text =
      "# HELP proxycore_renew_ca_answers_total What became of requests to a CA.\n"
      "# TYPE proxycore_renew_ca_answers_total counter\n";
  const std::lock_guard lock(mutex_);
  for (const One& one : cas_) {
    const auto line = [&](std::string_view result, std::uint64_t count) {
      text += fmt::format("proxycore_renew_ca_answers_total{{ca=\"{}\",result=\"{}\"}} {}\n",
                          one.name, result, count);
    };
    line("given", one.given);
    line("refused", one.refusals);
    line("out_of_order", one.troubles);
  }
  text +=
      "# HELP proxycore_renew_ca_resting Whether a CA is left alone for a while.\n"
      "# TYPE proxycore_renew_ca_resting gauge\n";
  for (const One& one : cas_) {
    text +=
        fmt::format("proxycore_renew_ca_resting{{ca=\"{}\"}} {}\n", one.name, is_open(one) ? 1 : 0);
  }
  return text;
}

// Passes on what happens, and remembers what it takes to know whose fault an error is.
class Issuers::Watched final : public Progress {
 public:
  explicit Watched(Progress& outer) : outer_(outer) {}

  Result<void> on_step(acme::Step step, std::string_view detail) override {
    step_ = acme::name_of(step);
    return seen(outer_.on_step(step, detail));
  }
  Result<void> on_account(const acme::Account& account) override {
    return seen(outer_.on_account(account));
  }
  Result<void> on_order(std::string_view url) override {
    auto kept = seen(outer_.on_order(url));
    ordered_ = kept && !url.empty();
    return kept;
  }

  [[nodiscard]] std::string_view step() const noexcept { return step_; }
  // Whether it was ended from outside.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  // Whether there is an order to go on with.
  [[nodiscard]] bool ordered() const noexcept { return ordered_; }

 private:
  Result<void> seen(Result<void> result) {
    ended_ = ended_ || !result;
    return result;
  }

  Progress& outer_;
  std::string_view step_ = "start";
  bool ended_ = false;
  bool ordered_ = false;
};

namespace {

// What happens at a staging CA is shown, and nothing of it kept.
class Rehearsal final : public Progress {
 public:
  explicit Rehearsal(Progress& outer) : outer_(outer) {}

  Result<void> on_step(acme::Step step, std::string_view detail) override {
    step_ = acme::name_of(step);
    auto done =
        outer_.on_step(step, fmt::format("staging{}{}", detail.empty() ? "" : ": ", detail));
    ended_ = ended_ || !done;
    return done;
  }
  [[nodiscard]] std::string_view step() const noexcept { return step_; }
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  Progress& outer_;
  std::string_view step_ = "start";
  bool ended_ = false;
};

}  // namespace

std::vector<std::size_t> Issuers::order_for(const Commission& commission) const {
  std::vector<std::size_t> order;
  const auto add = [&](std::size_t which) {
    if (std::find(order.begin(), order.end(), which) == order.end()) order.push_back(which);
  };
  const auto add_named = [&](std::string_view name) {
    for (std::size_t i = 0; i < cas_.size(); ++i) {
      if (cas_[i].name == name) return add(i);
    }
  };
  if (!commission.order_url.empty()) add_named(commission.order_ca);
  add_named(commission.ca);
  for (std::size_t i = 0; i < cas_.size(); ++i) add(i);
  // If all are to be left alone, whoever asks all the same has a reason.
  const auto is_closed = [this](std::size_t which) { return circuits_.is_closed(which); };
  if (std::any_of(order.begin(), order.end(), is_closed)) {
    std::erase_if(order, [&](std::size_t which) { return !is_closed(which); });
  }
  return order;
}

Result<std::string> Issuers::obtain(const Commission& commission, Progress& progress,
                                    const Deadline& by) {
  problem_ = {};
  hurdle_ = Hurdle::ca;
  const std::vector<std::size_t> order = order_for(commission);
  std::string words;
  std::optional<Failure> telling;  // the one that says most about the name
  for (const std::size_t which : order) {
    Failure failure{.error = Error{Errc::busy}};
    auto chain = ask(which, commission, progress, by, failure);
    if (chain) return chain;
    words +=
        fmt::format("{}{}: {}", words.empty() ? "" : "; ", cas_[which].name, failure.error.detail);
    const bool is_final = failure.is_final;
    const bool is_only = order.size() == 1;
    // What passes by itself tells more than what somebody has to see to.
    const bool tells_more =
        !telling || is_final ||
        (!telling->is_name && (failure.is_name || is_account(telling->problem)));
    if (tells_more) telling = std::move(failure);
    if (is_final || is_only) {
      if (which == order.front()) words = telling->error.detail;
      break;
    }
    log::warning("certificate.next_ca", {{"name", commission.wanted.name}, {"why", words}});
  }
  problem_ = std::move(telling->problem);
  hurdle_ = telling->hurdle;
  telling->error.detail = std::move(words);
  return std::move(telling->error);
}

Result<std::string> Issuers::ask(std::size_t which, const Commission& commission,
                                 Progress& progress, const Deadline& by, Failure& failure) {
  Ca& ca = cas_[which];
  progress.on_ca(ca.name);
  Commission own = commission;
  if (!own.order_ca.empty() && own.order_ca != ca.name) own.order_url.clear();
  if (!own.ca.empty() && own.ca != ca.name) own.replaces.clear();
  if (commission.rehearse && ca.staging && own.order_url.empty()) {
    auto rehearsed = rehearse(ca, commission, progress, by, failure);
    if (!rehearsed) return std::move(rehearsed).error();
  }
  return order_at(which, own, progress, by, failure);
}

Result<std::string> Issuers::order_at(std::size_t which, const Commission& commission,
                                      Progress& progress, const Deadline& by, Failure& failure) {
  Ca& ca = cas_[which];
  const bool is_renewal = commission.is_renewal && commission.ca == ca.name;
  const Ledger::Entry entry{.names = commission.wanted.identifiers,
                            .is_renewal = is_renewal,
                            .is_proposed = is_renewal && !commission.replaces.empty()};
  // An order that is on its way was counted when it began.
  Ledger* const ledger = commission.order_url.empty() ? ca.ledger : nullptr;
  if (ledger != nullptr) {
    if (auto room = ledger->take(entry, by); !room) {
      const bool is_limit = room.error().code == Errc::limit;
      failure = {.error = std::move(room).error(),
                 .hurdle = is_limit ? Hurdle::limits : Hurdle::ours,
                 .is_final = !is_limit,
                 .is_name = true};
      return failure.error;
    }
  }
  Watched watched(progress);
  auto chain = ca.issuer->obtain(commission, watched, by);
  if (chain) {
    circuits_.gave(which);
    return chain;
  }
  failure = {
      .error = chain.error(), .problem = ca.issuer->problem(), .hurdle = ca.issuer->hurdle()};
  const bool is_over = by.cancelled() || by.passed() || chain.error().code == Errc::cancelled;
  failure.is_final = watched.ended() || is_over || failure.hurdle == Hurdle::ours;
  const Deadline soon = Deadline::in(per_note);
  if (ledger != nullptr && !(failure.is_final && watched.ordered())) ledger->give_back(entry, soon);
  if (failure.is_final) return chain;
  const Blame blame = blame_of(failure.problem, failure.error, watched.step());
  if (blame == Blame::issuer || is_account(failure.problem)) {
    circuits_.troubled(which, failure.error.retry_after_s);
    return chain;
  }
  circuits_.refused(which);
  failure.is_name = true;
  // Another CA's limits may leave room.
  failure.is_final = failure.problem.type != "rateLimited";
  if (ca.ledger != nullptr && watched.step() == acme::name_of(acme::Step::validate)) {
    const std::string& name = failure.problem.identifier;
    ca.ledger->failed(name.empty() ? commission.wanted.identifiers.front() : name, soon);
  }
  return chain;
}

Result<void> Issuers::rehearse(Ca& ca, const Commission& commission, Progress& progress,
                               const Deadline& by, Failure& failure) {
  PX_TRY(std::string key, tls::generate_key(tls::KeyType::ecdsa));
  const Commission trial{.wanted = commission.wanted, .key_pem = std::move(key)};
  Rehearsal rehearsal(progress);
  auto chain = ca.staging->obtain(trial, rehearsal, by);
  if (chain) {
    progress.on_rehearsed(ca.staging_name);
    return {};
  }
  Error error = std::move(chain).error();
  const acme::Problem& problem = ca.staging->problem();
  const bool is_over = by.cancelled() || by.passed() || error.code == Errc::cancelled;
  const bool is_ours = rehearsal.ended() || is_over || ca.staging->hurdle() == Hurdle::ours;
  // A staging CA that is out of order, or has limits of its own, says nothing about the name.
  const bool is_name =
      blame_of(problem, error, rehearsal.step()) == Blame::name && problem.type != "rateLimited";
  if (!is_ours && !is_name) {
    log::warning("certificate.staging", {{"ca", ca.staging_name}, {"why", error.message()}});
    return {};
  }
  failure = {.error = error,
             .problem = problem,
             .hurdle = ca.staging->hurdle(),
             .is_final = true,
             .is_name = !is_ours};
  if (!is_ours) {
    failure.error = std::move(error).within(
        fmt::format("the staging CA {} refuses it, so {} was not asked", ca.staging_name, ca.name));
  }
  return failure.error;
}

Result<Issuers::Ca*> Issuers::named(std::string_view ca) {
  if (ca.empty()) return &cas_.front();
  for (Ca& one : cas_) {
    if (one.name == ca) return &one;
  }
  return Error{Errc::not_found, fmt::format("the CA {} is not in the configuration any more", ca)};
}

Result<acme::RenewalInfo> Issuers::proposal(std::string_view ca, std::string_view chain_pem,
                                            const Deadline& by) {
  PX_TRY(Ca* const one, named(ca));
  return one->issuer->proposal(ca, chain_pem, by);
}

Result<void> Issuers::revoke(std::string_view ca, const CertBundle& bundle, int reason,
                             const Deadline& by) {
  PX_TRY(Ca* const one, named(ca));
  return one->issuer->revoke(ca, bundle, reason, by);
}

std::string_view staging_of(std::string_view directory) noexcept {
  if (directory == "https://acme-v02.api.letsencrypt.org/directory") {
    return "https://acme-staging-v02.api.letsencrypt.org/directory";
  }
  return {};
}

}  // namespace proxycore::certs
