// Runner: sees to it that every host has the certificate it wants, and that none of them ends.
//
// It knows which names want what and when something is to be done next (schedule), and works that
// off on a few threads. Whoever works on a name holds its lease, so that any number of runners may
// share a store; what was learned is in the name's story before and after each try, so that a
// runner that is killed leaves nothing that the next one cannot go on with.
// Not here: what a certificate is got by (issuer), when one is due (renewal), who wants one (plan).
// Owner: Renewer. Thread: any, for every function.
#pragma once

#include "certs/cert_store.h"
#include "certs/issuer.h"
#include "certs/plan.h"
#include "certs/renewal.h"
#include "certs/schedule.h"
#include "certs/story.h"
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/host.h>
#include <proxycore/host_trie.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace proxycore::certs {

// Something that whoever wants to is told of (notice).
struct Happening {
  std::string_view event;  // "certificate.issued", "certificate.failed", "certificate.revoked"
  const Story& story;
  std::string_view words = {};
};

class Runner {
 public:
  struct Options {
    Config::Acme acme = {};
    std::uint32_t parallel = 4;
    std::vector<Host> declared = {};  // hosts of the configuration
    // One for each thread. An error ends the try, not the runner.
    std::function<Result<std::unique_ptr<Issuer>>()> issuer;
    // The key of a certificate that is on its way, for the store; and back. `place`: where it is.
    std::function<Result<std::string>(std::string_view place, std::string_view text)> seal;
    std::function<Result<std::string>(std::string_view place, std::string_view text)> unseal;
    // Every ten minutes: clears away what was left over by whoever works no more.
    std::function<void(const std::function<bool(std::string_view name)>& is_worked_on,
                       const Deadline& by)>
        sweep = {};
    std::function<void(const Happening& happening)> happened = {};  // must not block
    Renewer::Progress progress = {};
    std::function<std::int64_t()> now_ms;
    Millis between_orders{1'000};  // so that no CA is flooded
    Seconds lease{60};
  };

  // The store outlives it.
  Runner(Store& store, Options options);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();

  // Until `stop`. Errors: those of Store::watch.
  Result<void> run(const std::stop_token& stop);
  // What is due now, and nothing else. Errors: those of the store.
  Result<Renewer::Summary> run_once(const Deadline& by);
  // In place of Options::declared.
  void declare(std::vector<Host> hosts);
  // When the next thing is due, as far as is known; nullopt: never.
  [[nodiscard]] std::optional<std::int64_t> next_ms() const;

  Result<Story> issue(std::string_view name, const Deadline& by);
  Result<void> revoke(std::string_view name, int reason, const Deadline& by);

  [[nodiscard]] std::string metrics() const;

 private:
  class Held;
  class Steps;

  struct Task {
    Wanted wanted;
    bool wished = false;    // because somebody asked for it
    bool at_once = false;   // whatever its time
    std::string wish = {};  // the name that a visitor waits for; empty: nobody does
  };
  enum class Done : std::uint8_t { nothing, issued, renewed, failed };
  struct Outcome {
    Done done = Done::nothing;
    std::int64_t next_ms = 0;
    std::optional<Error> error = {};  // of what failed, or kept it from being tried
  };
  // A name, as it was when it was last looked at.
  struct Known {
    Task task;
    CertificateState state = CertificateState::waiting;
    std::int64_t not_after = 0;
    std::uint32_t failures = 0;
  };
  struct Counters {
    std::atomic<std::uint64_t> issued = 0;
    std::atomic<std::uint64_t> renewed = 0;
    std::atomic<std::uint64_t> failed = 0;
    std::atomic<std::uint64_t> rests = 0;
  };

  // Which hosts there are, what they want, and when.
  Result<void> look_at_hosts(const Deadline& by);
  Result<void> look_at_wishes(const Deadline& by);
  [[nodiscard]] Result<Task> task_for(std::string_view name) const;
  [[nodiscard]] Circumstances circumstances() const;
  void plan(Host&& host, const Circumstances& around);
  // Under mutex_. What goes beside it is wanted with it.
  void want(const Task& task);
  [[nodiscard]] std::optional<Task> beside(const Task& task) const;

  void sweep(const std::stop_token& stop);
  // Works off what is due; `until_idle`: and returns when nothing is.
  void work(bool until_idle, const Deadline& by);
  Outcome attempt(Issuer& issuer, const Task& task, const Deadline& by);
  std::optional<Outcome> settled(Issuer& issuer, const Task& task, Story& story, std::string& chain,
                                 const Deadline& by);
  Outcome order(Issuer& issuer, const Task& task, Story& story, const std::string& chain,
                Held& held, const Deadline& by);
  Outcome succeeded(const Task& task, Story& story, const CertBundle& bundle, std::string_view what,
                    const Deadline& by);
  Outcome held_back(Story& story, const Error& error, const Deadline& by);
  Outcome failed(const Task& task, Story& story, const Issuer& issuer, std::string_view what,
                 std::string_view step, const Error& error, const Deadline& by);
  void note(const Task& task, const Story& story);

  Result<void> revoke_one(Slot slot, std::string_view name, int reason, const Deadline& by);
  void ask_for_proposal(Issuer& issuer, const std::string& chain, Story& story, const Deadline& by);
  [[nodiscard]] Due due_of(const Story& story) const;
  // When a name is looked at again: its time, or earlier, because the CA is to be asked.
  [[nodiscard]] std::int64_t look_ms(const Story& story) const;
  void show_status(const Task& task, std::string_view status, const Story* valid,
                   const Deadline& by);
  Result<void> wait_for_turn(const Deadline& by);
  void rest(std::int64_t until_ms, std::string_view why);
  Result<std::unique_ptr<Held>> hold(std::string_view name, const Deadline& by);
  void keep_holding(const std::stop_token& stop);
  [[nodiscard]] bool is_worked_on(std::string_view name) const;
  double random();

  Store& store_;
  const Options options_;
  Counters counters_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_;
  std::vector<Host> declared_;
  Schedule schedule_;
  std::map<std::string, Known, std::less<>> known_;
  std::set<std::string, std::less<>> working_;
  std::vector<Host> patterns_;
  HostTrie<std::uint32_t> trie_;                  // of patterns_
  std::set<std::string, std::less<>> zones_;      // that DNS providers have
  std::set<std::string, std::less<>> wildcards_;  // those with a valid certificate
  std::mt19937_64 numbers_;
  std::int64_t rests_until_ms_ = 0;  // nothing is asked of the CA before
  std::string rests_why_;
  std::uint32_t rests_ = 0;  // in a row
  Deadline::Clock::time_point next_order_ = {};
  bool hosts_changed_ = true;
  bool wishes_changed_ = true;
  Renewer::Summary summary_ = {};  // of run_once

  mutable std::mutex held_mutex_;
  std::list<Held*> held_;  // under held_mutex_
  std::jthread keeper_;    // renews the leases
};

}  // namespace proxycore::certs
