#include "base/text.h"
#include "tls/cert.h"
#include "tls/keys.h"
#include <proxycore/acme.h>
#include <proxycore/host.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace proxycore::acme {

namespace {
constexpr std::array<std::string_view, 9> steps = {"account",  "order",   "present",
                                                   "visible",  "respond", "validate",
                                                   "finalize", "issue",   "download"};
constexpr std::size_t max_names = 100;
// For what is tidied up at the CA after a failure, whatever time there was for the order.
constexpr Millis tidying{15'000};

Result<void> check(const std::vector<std::string>& names) {
  if (names.empty() || names.size() > max_names) {
    return Error{Errc::invalid, "expected 1 to 100 names"};
  }
  for (const std::string& name : names) {
    const std::string_view bare = std::string_view(name).substr(name.starts_with("*.") ? 2 : 0);
    const auto canonical = HostName::canonical(bare);
    if (!canonical || *canonical != bare || base::is_address(bare)) {
      return Error{Errc::invalid, "no name that certificates are for: " + base::shown(name)};
    }
  }
  return {};
}

std::string name_of(const Authorization& authorization) {
  return (authorization.wildcard ? "*." : "") + authorization.identifier;
}

// One authorization that is pending, and how it is met.
struct Task {
  Authorization authorization;
  const Challenge* challenge;
  Solver* solver;
  Proof proof;
};

// What is shown is taken away, however it goes on.
class Shown {
 public:
  Shown() = default;
  Shown(const Shown&) = delete;
  Shown& operator=(const Shown&) = delete;
  ~Shown() {
    for (const Task* task : tasks_) task->solver->clean_up(task->proof);
  }
  void add(const Task& task) { tasks_.push_back(&task); }

 private:
  std::vector<const Task*> tasks_;
};

class Attempt {
 public:
  Attempt(Client& ca, const ObtainOptions& wanted, std::span<Solver* const> solvers,
          Progress& progress, const Deadline& by)
      : ca_(ca), wanted_(wanted), solvers_(solvers), progress_(progress), by_(by) {}

  Result<Obtained> run() {
    PX_CHECK(check(wanted_.names));
    if (ca_.account_url().empty()) PX_CHECK(register_account());
    PX_TRY(Order order, find_order());
    if (order.status == Status::pending) {
      auto authorized = authorize(order);
      if (!authorized) return give_up(std::move(authorized).error());
      PX_TRY(order, settled(order));
    }
    if (order.status == Status::ready) {
      PX_TRY(order, finalize(order));
    }
    if (order.status == Status::processing) {
      PX_CHECK(progress_.on_step(Step::issue, order.url));
      PX_TRY(order, settled(order));
    }
    return download(order);
  }

 private:
  Result<void> register_account() {
    PX_CHECK(progress_.on_step(Step::account, "register"));
    PX_TRY(const Account account, ca_.register_account(wanted_.registration, by_));
    return progress_.on_account(account);
  }

  // The one to go on with if it is worth it, else a new one.
  Result<Order> find_order() {
    const std::string& url = wanted_.resume_order_url;
    if (!url.empty()) {
      PX_CHECK(progress_.on_step(Step::order, "resume " + url));
      auto order = ca_.order(url, by_);
      if (order && is_open(*order)) return order;
      if (!order && is_gone_account(order.error())) PX_CHECK(register_account());
      // An order that is not ours, or not there any more, is replaced as one that failed.
      if (!order && order.error().code != Errc::not_found && order.error().code != Errc::denied) {
        return order;
      }
      PX_CHECK(progress_.on_order({}));
    }
    std::string names;
    for (const std::string& name : wanted_.names) names += (names.empty() ? "" : " ") + name;
    PX_CHECK(progress_.on_step(Step::order, names));
    PX_TRY(Order order, place());
    PX_CHECK(progress_.on_order(order.url));
    return order;
  }

  [[nodiscard]] bool is_open(const Order& order) const {
    std::vector<std::string> ours = wanted_.names;
    std::vector<std::string> theirs = order.identifiers;
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    return ours == theirs && (order.status == Status::pending || order.status == Status::ready ||
                              order.status == Status::processing || order.status == Status::valid);
  }

  [[nodiscard]] bool is_gone_account(const Error& why) const {
    return why.code == Errc::not_found && ca_.problem().type == "accountDoesNotExist";
  }

  Result<Order> place() {
    OrderRequest request{wanted_.names, wanted_.profile, wanted_.replaces};
    auto order = ca_.new_order(request, by_);
    if (!order && is_gone_account(order.error())) {
      PX_CHECK(register_account());
      order = ca_.new_order(request, by_);
    }
    // It cannot be replaced any more, or the CA does not know it: ordered as any other.
    if (!order && !request.replaces.empty() && !ca_.problem().type.empty() &&
        (order.error().code == Errc::conflict || order.error().code == Errc::invalid ||
         order.error().code == Errc::not_found)) {
      request.replaces.clear();
      PX_CHECK(progress_.on_step(Step::order, "without replacing: " + order.error().detail));
      order = ca_.new_order(request, by_);
    }
    replaced_ = order.has_value() && !request.replaces.empty();
    return order;
  }

  Result<void> authorize(const Order& order) {
    for (const std::string& url : order.authorizations) {
      PX_TRY(Authorization authorization, ca_.authorization(url, by_));
      if (authorization.status == Status::valid) continue;
      if (authorization.status != Status::pending) {
        tidy_ = true;
        return Error{Errc::denied,
                     "its authorization is " + std::string(acme::name_of(authorization.status))}
            .within(name_of(authorization));
      }
      pending_.push_back(Task{std::move(authorization), nullptr, nullptr, {}});
    }
    for (Task& task : pending_) PX_CHECK(choose(task));
    PX_TRY(const auto rounds, in_rounds());
    for (const std::vector<Task*>& round : rounds) PX_CHECK(prove(round));
    return {};
  }

  // The first solver that can do what the CA offers.
  Result<void> choose(Task& task) {
    std::string offered;
    for (const Challenge& challenge : task.authorization.challenges) {
      offered += (offered.empty() ? "" : ", ") + challenge.type;
    }
    for (Solver* solver : solvers_) {
      for (const Challenge& challenge : task.authorization.challenges) {
        if (challenge.type != solver->type() || challenge.token.empty()) continue;
        task.challenge = &challenge;
        task.solver = solver;
        task.proof = {task.authorization.identifier, task.authorization.wildcard, challenge.token,
                      ca_.key_authorization(challenge)};
        return {};
      }
    }
    tidy_ = true;
    std::string ours;
    for (const Solver* solver : solvers_)
      ours += (ours.empty() ? "" : ", ") + std::string(solver->type());
    return Error{Errc::denied, "the CA offers " + (offered.empty() ? "nothing" : offered) +
                                   "; set up is " + (ours.empty() ? "nothing" : ours)}
        .within(name_of(task.authorization));
  }

  // Those of one lane are in rounds of their own, one after the other.
  Result<std::vector<std::vector<Task*>>> in_rounds() {
    std::vector<std::vector<Task*>> rounds(1);
    std::map<std::string, std::size_t> next;
    for (Task& task : pending_) {
      auto lane = task.solver->lane(task.proof, by_);
      if (!lane) {
        PX_CHECK(told(Step::present, task));
        return failed(task, std::move(lane).error());
      }
      const std::size_t round = lane->empty() ? 0 : next[*lane]++;
      if (round == rounds.size()) rounds.emplace_back();
      rounds[round].push_back(&task);
    }
    return rounds;
  }

  // Shows all, waits for all, asks the CA about all, and hears about all.
  Result<void> prove(const std::vector<Task*>& round) {
    Shown shown;
    for (Task* task : round) {
      PX_CHECK(told(Step::present, *task));
      shown.add(*task);
      auto done = task->solver->present(task->proof, by_);
      if (!done) return failed(*task, std::move(done).error().within("present"));
    }
    for (Task* task : round) {
      PX_CHECK(told(Step::visible, *task));
      const auto seen = task->solver->await_visible(task->proof, by_);
      if (seen) continue;
      if (seen.error().code == Errc::cancelled || by_.passed()) return seen.error();
      PX_CHECK(progress_.on_step(
          Step::visible,
          name_of(task->authorization) + ": going on all the same: " + seen.error().detail));
    }
    for (Task* task : round) {
      if (task->challenge->status != Status::pending) continue;  // asked before a crash
      PX_CHECK(told(Step::respond, *task));
      PX_CHECK(ca_.respond(*task->challenge, by_));
    }
    return verdicts(round);
  }

  // Of all, so that each name's trouble is told.
  Result<void> verdicts(const std::vector<Task*>& round) {
    std::optional<Error> refused;
    for (Task* task : round) {
      PX_CHECK(told(Step::validate, *task));
      auto valid = ca_.await(task->authorization, by_);
      if (valid) {
        task->authorization.status = Status::valid;
      } else if (valid.error().code != Errc::denied) {
        return valid;
      } else {
        task->authorization.status = Status::invalid;
        if (!refused) {
          refused = std::move(valid).error();
        } else {
          refused->detail += "; " + valid.error().detail;
        }
      }
    }
    if (!refused) return {};
    tidy_ = true;
    return *std::move(refused);
  }

  Result<void> told(Step step, const Task& task) {
    return progress_.on_step(step, name_of(task.authorization));
  }

  // What a solver says. The order is of no use then, if there was time to find that out.
  Error failed(const Task& task, Error why) {
    tidy_ = why.code != Errc::cancelled && !by_.cancelled() && !by_.passed();
    return std::move(why).within(name_of(task.authorization));
  }

  // After authorize() failed.
  Error give_up(Error why) {
    if (!tidy_) return why;
    const Deadline soon = Deadline::in(tidying);
    for (const Task& task : pending_) {
      if (task.authorization.status != Status::pending) continue;
      if (!ca_.deactivate(task.authorization, soon)) break;
    }
    if (auto gone = progress_.on_order({}); !gone) return std::move(gone).error();
    return why;
  }

  // The order once the CA has made up its mind. One that it refuses is not gone on with.
  Result<Order> settled(const Order& order) {
    auto now = ca_.await(order, by_);
    if (!now && now.error().code == Errc::denied) PX_CHECK(progress_.on_order({}));
    return now;
  }

  Result<Order> finalize(const Order& order) {
    PX_CHECK(progress_.on_step(Step::finalize, order.url));
    PX_TRY(const std::string csr, tls::make_csr(wanted_.names, wanted_.key_pem));
    auto now = ca_.finalize(order, csr, by_);
    // It was finalized already, before a crash: what came of it is to be seen.
    if (!now && now.error().code == Errc::conflict) now = ca_.order(order.url, by_);
    if (!now && (now.error().code == Errc::denied || now.error().code == Errc::invalid)) {
      PX_CHECK(progress_.on_order({}));
    }
    return now;
  }

  Result<Obtained> download(const Order& order) {
    PX_CHECK(progress_.on_step(Step::download, order.url));
    if (order.status != Status::valid) {
      return Error{Errc::protocol,
                   "acme: the order is " + std::string(acme::name_of(order.status))};
    }
    PX_TRY(std::string chain, ca_.download(order, wanted_.preferred_issuer, by_));
    auto certificate = tls::Certificate::load({chain, wanted_.key_pem});
    if (!certificate) {
      PX_CHECK(progress_.on_order({}));
      return std::move(certificate).error().within("what the CA issued");
    }
    const std::vector<std::string>& names = (*certificate)->names();
    for (const std::string& name : wanted_.names) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      PX_CHECK(progress_.on_order({}));
      return Error{Errc::protocol, "what the CA issued is not for '" + name + "'"};
    }
    return Obtained{std::move(chain), order.url, replaced_};
  }

  Client& ca_;
  const ObtainOptions& wanted_;
  const std::span<Solver* const> solvers_;
  Progress& progress_;
  const Deadline& by_;
  std::vector<Task> pending_;
  bool tidy_ = false;  // the failure is final: pending authorizations are given up
  bool replaced_ = false;
};
}  // namespace

std::string_view name_of(Step step) noexcept {
  return steps[static_cast<std::size_t>(step)];
}

Result<std::string> Solver::lane(const Proof& /*proof*/, const Deadline& /*by*/) {
  return std::string();
}

Result<void> Progress::on_step(Step /*step*/, std::string_view /*detail*/) {
  return {};
}

Result<void> Progress::on_account(const Account& /*account*/) {
  return {};
}

Result<void> Progress::on_order(std::string_view /*url*/) {
  return {};
}

Result<Obtained> obtain(Client& ca, const ObtainOptions& wanted, std::span<Solver* const> solvers,
                        Progress& progress, const Deadline& by) {
  return Attempt(ca, wanted, solvers, progress, by).run();
}

}  // namespace proxycore::acme
