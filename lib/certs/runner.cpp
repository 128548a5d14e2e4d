#include "certs/runner.h"

#include "base/log.h"
#include "base/text.h"
#include "certs/cert_store.h"
#include "host/host_record.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include "store/repo.h"
#include "tls/cert.h"
#include "tls/keys.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace keys = host::keys;
namespace fields = host::fields;
namespace log = base::log;

constexpr std::int64_t second = 1'000;
constexpr std::int64_t minute = 60 * second;
constexpr std::int64_t hour = 60 * minute;
constexpr std::int64_t day = 24 * hour;

// What one certificate may take, the CA's and the DNS's patience included.
constexpr Millis per_certificate{30 * minute};
// What is left over in zones is cleared away so often, and for so long.
constexpr Millis between_sweeps{10 * minute};
constexpr Millis per_sweep{10 * minute};
// What a look at the store may take.
constexpr Millis per_look{60'000};
// From then on a staging CA is asked first.
constexpr std::uint32_t failures_before_rehearsal = 2;
// Nobody waits longer, whatever a CA says. What is said to be later was said by a clock that was
// ahead.
constexpr std::int64_t longest_pause = 7 * day;

bool is_pause(std::int64_t until_ms, std::int64_t now) {
  return until_ms > now && until_ms <= now + longest_pause;
}

bool covers_all(const tls::Certificate& certificate, const std::vector<std::string>& identifiers) {
  return std::all_of(identifiers.begin(), identifiers.end(),
                     [&](const std::string& name) { return certificate.matches(name); });
}

// Where in its time a certificate is renewed, in [0, 1): the same each time for one name.
double spread_of(std::string_view name) {
  constexpr std::size_t parts = 10'000;
  return static_cast<double>(std::hash<std::string_view>{}(name) % parts) / parts;
}

std::optional<Validity> validity_of(const Story& story) {
  if (story.not_after == 0) return std::nullopt;
  return Validity{story.not_before, story.not_after};
}

Slot slot_of(const Wanted& wanted) {
  return wanted.rsa ? Slot::rsa : Slot::usual;
}

void adopt(const tls::Certificate& certificate, Story& story) {
  const bool same = story.serial == certificate.serial();
  story.not_before = certificate.not_before();
  story.not_after = certificate.not_after();
  story.issuer = certificate.issuer();
  if (same) return;
  story.serial = certificate.serial();
  story.ca.clear();  // whoever gave it will say so
  story.failures = 0;
  story.window_start_ms = story.window_end_ms = story.chosen_ms = story.ask_ms = 0;
}

}  // namespace

// A name that this runner works on: nobody else does, as long as the lease is renewed in time.
class Runner::Held {
 public:
  Held(Runner& runner, std::string_view name, std::unique_ptr<Lease> lease,
       const std::stop_token& outer)
      : runner_(runner),
        name_(name),
        lease_(std::move(lease)),
        forward_(outer, [this] { stop_.request_stop(); }) {
    const std::lock_guard lock(runner_.held_mutex_);
    at_ = runner_.held_.insert(runner_.held_.end(), this);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    const std::lock_guard lock(runner_.held_mutex_);
    runner_.held_.erase(at_);
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::uint64_t token() const noexcept { return lease_->token(); }
  // What is done under it ends when it is lost.
  [[nodiscard]] Deadline within(const Deadline& by) const { return {by.at(), stop_.get_token()}; }
  // Under held_mutex_.
  void renew(const Deadline& by) {
    const auto renewed = lease_->renew(by);
    if (!renewed && renewed.error().code == Errc::conflict) stop_.request_stop();
  }

 private:
  Runner& runner_;
  const std::string name_;
  const std::unique_ptr<Lease> lease_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> forward_;
  std::list<Held*>::iterator at_;
};

// Tells, and keeps, how far a certificate has come.
class Runner::Steps final : public Progress {
 public:
  Steps(Runner& runner, const Task& task, Story& story, const Deadline& by)
      : runner_(runner), task_(task), story_(story), by_(by) {}

  Result<void> on_step(acme::Step step, std::string_view detail) override {
    step_ = acme::name_of(step);
    if (by_.cancelled()) return Error{Errc::cancelled, "it was stopped"};
    if (runner_.options_.progress) runner_.options_.progress(story_.name, step_, detail);
    using acme::Step;
    if (step == Step::present) runner_.show_status(task_, "Adding record", nullptr, by_);
    if (step == Step::visible) runner_.show_status(task_, "1 Checking DNS", nullptr, by_);
    if (step == Step::respond) runner_.show_status(task_, "DNS check found", nullptr, by_);
    if (step == Step::finalize) runner_.show_status(task_, "DNS remove record", nullptr, by_);
    return {};
  }
  Result<void> on_order(std::string_view url) override {
    story_.order_url = url;
    auto saved = save_story(runner_.store_, story_, by_);
    unsaved_ = !saved;
    return saved;
  }

  void on_ca(std::string_view ca) override {
    if (!story_.order_ca.empty() && story_.order_ca != ca) story_.order_url.clear();
    story_.order_ca = ca;
  }
  void on_rehearsed(std::string_view ca) override {
    add_attempt(story_, {.at_ms = runner_.options_.now_ms(),
                         .what = "rehearse",
                         .ok = true,
                         .step = "done",
                         .words = fmt::format("at the staging CA {}", ca)});
  }

  [[nodiscard]] std::string_view step() const noexcept { return step_; }
  // Whether it ended because the story could not be kept, for which no one else is to blame.
  [[nodiscard]] bool unsaved() const noexcept { return unsaved_; }

 private:
  Runner& runner_;
  const Task& task_;
  Story& story_;
  const Deadline& by_;
  std::string_view step_ = "start";  // the CA has not been asked yet
  bool unsaved_ = false;
};

Runner::Runner(Store& store, Options options)
    : store_(store),
      options_(std::move(options)),
      declared_(options_.declared),
      numbers_(std::random_device{}()) {
  keeper_ = std::jthread([this](const std::stop_token& stop) { keep_holding(stop); });
}

Runner::~Runner() {
  keeper_.request_stop();
}

void Runner::declare(std::vector<Host> hosts) {
  const std::lock_guard lock(mutex_);
  declared_ = std::move(hosts);
  hosts_changed_ = true;
  wake_.notify_all();
}

double Runner::random() {
  const std::lock_guard lock(mutex_);
  return std::uniform_real_distribution<double>(0, 1)(numbers_);
}

// ---- which names want what

Circumstances Runner::circumstances() const {
  const bool dns = options_.acme.challenge.front() == "dns-01";
  return {.preferred = dns ? Method::dns01 : Method::http01,
          .has_zone =
              [this](std::string_view name) {
                while (zones_.find(name) == zones_.end()) {
                  const std::size_t dot = name.find('.');
                  if (dot == std::string_view::npos) return false;
                  name.remove_prefix(dot + 1);
                }
                return true;
              },
          .has_wildcard =
              [this](std::string_view pattern) {
                return wildcards_.find(pattern) != wildcards_.end();
              }};
}

std::optional<Runner::Task> Runner::beside(const Task& task) const {
  if (!options_.acme.rsa_companion || options_.acme.key_type == "rsa") return std::nullopt;
  if (task.wanted.rsa) return std::nullopt;
  Task other{.wanted = task.wanted, .wished = task.wished};
  other.wanted.rsa = true;
  return other;
}

void Runner::want(const Task& task) {
  known_[task.wanted.id()].task = task;
  if (const auto other = beside(task)) known_[other->wanted.id()].task = *other;
}

void Runner::plan(Host&& host, const Circumstances& around) {
  std::string why;
  if (auto wanted = wanted_by(host, around, why)) want({.wanted = *std::move(wanted)});
  if (host.is_cache || host.host.find('*') == std::string::npos) return;
  const auto index = static_cast<std::uint32_t>(patterns_.size());
  if (trie_.insert(host.host, index)) patterns_.push_back(std::move(host));
}

Result<void> Runner::look_at_hosts(const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  std::map<std::string, Story, std::less<>> stories;
  PX_CHECK(for_each_story(
      store_, [&](Story&& story) { stories.insert_or_assign(story.name, std::move(story)); }, by));
  std::vector<Host> hosts;
  {
    const std::lock_guard lock(mutex_);
    hosts = declared_;
  }
  PX_CHECK(store_.scan(
      keys::host_prefix,
      [&](std::string_view, Record&& record) {
        if (host::is_cache_row(record)) return;
        if (auto host = host::host_from(record)) hosts.push_back(*std::move(host));
      },
      by));

  std::set<std::string, std::less<>> zones;
  PX_CHECK(store::for_each<store::Domain>(
      store_, [&](store::Domain&& domain) { zones.insert(std::move(domain.name)); },
      [](std::string_view, const Error&) {}, by));

  std::vector<Story> left;  // which nobody wants any more
  {
    const std::lock_guard lock(mutex_);
    wildcards_.clear();
    for (const auto& [name, story] : stories) {
      if (name.starts_with("*.") && story.not_after * second > now) wildcards_.insert(name);
    }
    known_.clear();
    patterns_.clear();
    trie_ = HostTrie<std::uint32_t>();
    zones_ = std::move(zones);
    const Circumstances around = circumstances();
    for (Host& host : hosts) plan(std::move(host), around);
    for (auto& [name, story] : stories) {
      const auto at = known_.find(name);
      if (at == known_.end() && story.wished && !name.starts_with(Wanted::rsa_mark)) {
        const auto* found = trie_.match(name);
        if (found != nullptr) {
          if (auto wanted = wanted_for(name, patterns_[*found], around)) {
            want({.wanted = *std::move(wanted), .wished = true});
          }
        }
      }
    }
    Schedule next;
    for (auto& [name, known] : known_) {
      const auto story = stories.find(name);
      if (story == stories.end()) {
        next.set(name, now);
        continue;
      }
      known.state = story->second.state;
      known.not_after = story->second.not_after;
      known.failures = story->second.failures;
      known.task.wished = known.task.wished || story->second.wished;
      // What nobody wanted for a while is looked at anew.
      next.set(name, story->second.state == CertificateState::idle ? now : look_ms(story->second));
    }
    schedule_ = std::move(next);
    for (auto& [name, story] : stories) {
      if (known_.find(name) != known_.end() || story.state == CertificateState::idle) continue;
      if (working_.find(name) == working_.end()) left.push_back(std::move(story));
    }
    wake_.notify_all();
  }
  for (Story& story : left) {
    story.state = CertificateState::idle;
    story.next_ms = 0;
    story.why = "no host wants a certificate of its own for it";
    (void)save_story(store_, story, by);
  }
  return {};
}

Result<Runner::Task> Runner::task_for(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  if (const auto known = known_.find(name); known != known_.end()) return known->second.task;
  const Circumstances around = circumstances();
  // A pattern stands for the certificate that it wants: "*.x" of "**.x".
  for (const Host& host : patterns_) {
    if (host.host != name) continue;
    std::string why;
    if (auto wanted = wanted_by(host, around, why)) return Task{.wanted = *std::move(wanted)};
    return Error{Errc::not_found, fmt::format("{}: {}", name, why)};
  }
  // That of the level that it is on is on its way.
  if (const auto above = known_.find(parent_wildcard(name)); above != known_.end()) {
    return above->second.task;
  }
  if (const auto* found = trie_.match(name)) {
    if (auto wanted = wanted_for(name, patterns_[*found], around)) {
      return Task{.wanted = *std::move(wanted), .wished = true};
    }
    return Error{Errc::not_found,
                 fmt::format("{}: '{}' wants no certificate for it", name, patterns_[*found].host)};
  }
  return Error{Errc::not_found,
               fmt::format("{}: no host wants a certificate of its own for it", name)};
}

Result<void> Runner::look_at_wishes(const Deadline& by) {
  std::vector<std::pair<std::string, bool>> wishes;
  PX_CHECK(store_.scan(
      keys::wish_prefix,
      [&](std::string_view key, Record&& record) {
        wishes.emplace_back(key.substr(keys::wish_prefix.size()),
                            fields::boolean(record, "at_once", false));
      },
      by));
  for (const auto& [name, at_once] : wishes) {
    auto task = task_for(name);
    if (!task) {
      log::info("certificate.unwanted", {{"name", name}, {"why", task.error().detail}});
      (void)store_.erase(keys::wish(name), by);
      continue;
    }
    const std::lock_guard lock(mutex_);
    const std::string kept = task->wanted.id();
    if (working_.find(kept) != working_.end()) continue;
    task->at_once = at_once;
    task->wish = name;
    if (const auto other = beside(*task)) {
      const std::string id = other->wanted.id();
      if (known_.try_emplace(id, Known{.task = *other}).second) {
        schedule_.set(id, options_.now_ms());
      }
    }
    known_[kept].task = *std::move(task);
    // Before all others: somebody waits.
    schedule_.set(kept, 0);
    wake_.notify_all();
  }
  return {};
}

// ---- working it off

Result<void> Runner::run(const std::stop_token& stop) {
  const auto changed = [this](bool Runner::*what) {
    return [this, what](std::string_view) {
      const std::lock_guard lock(mutex_);
      this->*what = true;
      wake_.notify_all();
    };
  };
  PX_TRY(const auto hosts, store_.watch(keys::host_prefix, changed(&Runner::hosts_changed_)));
  PX_TRY(const auto wishes, store_.watch(keys::wish_prefix, changed(&Runner::wishes_changed_)));
  const auto by = [&](Millis span) { return Deadline::in(span, stop); };

  std::vector<std::jthread> threads;
  for (std::uint32_t i = 0; i < options_.parallel; ++i) {
    threads.emplace_back([this, stop] { work(false, Deadline::never(stop)); });
  }
  threads.emplace_back([this, stop] { sweep(stop); });
  auto look_again = Deadline::Clock::now();
  while (!stop.stop_requested()) {
    bool hosts_due = false;
    bool wishes_due = false;
    {
      std::unique_lock lock(mutex_);
      // A store that was away is asked again after a while.
      wake_.wait_until(lock, stop, look_again, [&] { return hosts_changed_ || wishes_changed_; });
      hosts_due = std::exchange(hosts_changed_, false) || Deadline::Clock::now() >= look_again;
      wishes_due = std::exchange(wishes_changed_, false) || hosts_due;
    }
    if (stop.stop_requested()) break;
    if (hosts_due) {
      const auto began = Deadline::Clock::now();
      const auto looked = look_at_hosts(by(per_look));
      if (!looked) log::warning("renew.hosts", {{"why", looked.error().message()}});
      const auto took = Deadline::Clock::now() - began;
      look_again = Deadline::Clock::now() + (looked ? Millis{hour} : Millis{10 * second});
      // A look may take a twentieth of the time, however often hosts change.
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::min<Deadline::Clock::duration>(20 * took, Millis{minute}),
                     [&] { return wishes_changed_; });
      wishes_due = wishes_due || std::exchange(wishes_changed_, false);
    }
    if (wishes_due) {
      const auto looked = look_at_wishes(by(per_look));
      if (!looked) log::warning("renew.wishes", {{"why", looked.error().message()}});
    }
  }
  return {};
}

void Runner::sweep(const std::stop_token& stop) {
  if (!options_.sweep) return;
  const auto is_held = [this](std::string_view name) { return is_worked_on(name); };
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    lock.unlock();
    options_.sweep(is_held, Deadline::in(per_sweep, stop));
    lock.lock();
    wake_.wait_for(lock, stop, between_sweeps, [] { return false; });
  }
}

Result<Renewer::Summary> Runner::run_once(const Deadline& by) {
  {
    const std::lock_guard lock(mutex_);
    summary_ = {};
  }
  PX_CHECK(look_at_hosts(by));
  PX_CHECK(look_at_wishes(by));
  if (options_.sweep) {
    options_.sweep([this](std::string_view name) { return is_worked_on(name); }, by);
  }
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < options_.parallel; ++i) {
      threads.emplace_back([this, by] { work(true, by); });
    }
  }
  const std::lock_guard lock(mutex_);
  summary_.waiting = schedule_.size();
  return summary_;
}

std::optional<std::int64_t> Runner::next_ms() const {
  const std::lock_guard lock(mutex_);
  return schedule_.next_ms();
}

void Runner::work(bool until_idle, const Deadline& by) {
  std::unique_ptr<Issuer> issuer;
  while (!by.cancelled() && !by.passed()) {
    std::string name;
    Task task;
    {
      std::unique_lock lock(mutex_);
      auto taken = schedule_.take(options_.now_ms());
      if (!taken) {
        if (until_idle) return;
        const auto next = schedule_.next_ms();
        // The wall clock may jump: looked at again every minute.
        const std::int64_t wait = next ? *next - options_.now_ms() : minute;
        wake_.wait_for(lock, by.stop(), Millis{std::clamp<std::int64_t>(wait, 1, minute)}, [&] {
          const auto now_next = schedule_.next_ms();
          return now_next && *now_next <= options_.now_ms();
        });
        continue;
      }
      name = *std::move(taken);
      const auto known = known_.find(name);
      if (known == known_.end() || !working_.insert(name).second) continue;
      task = known->second.task;
      known->second.task.at_once = false;
      known->second.task.wish.clear();
    }
    Outcome outcome{.next_ms = options_.now_ms() + minute};
    if (!issuer) {
      auto made = options_.issuer();
      if (made) {
        issuer = *std::move(made);
      } else {
        outcome.error = made.error();
        log::error("renew.issuer", {{"why", made.error().message()}});
      }
    }
    if (issuer) outcome = attempt(*issuer, task, by);
    if (!task.wish.empty()) (void)store_.erase(keys::wish(task.wish), Deadline::in(per_look));

    const std::lock_guard lock(mutex_);
    working_.erase(name);
    if (outcome.done == Done::issued) ++summary_.issued;
    if (outcome.done == Done::renewed) ++summary_.renewed;
    if (outcome.done == Done::failed) ++summary_.failed;
    if (known_.find(name) != known_.end()) schedule_.set(name, outcome.next_ms);
    wake_.notify_all();
  }
}

Result<Story> Runner::issue(std::string_view name, const Deadline& by) {
  PX_CHECK(look_at_hosts(by));
  PX_TRY(Task task, task_for(name));
  task.at_once = true;
  PX_TRY(const auto issuer, options_.issuer());
  const Outcome outcome = attempt(*issuer, task, by);
  if (outcome.error) return *outcome.error;
  return load_story(store_, task.wanted.id(), by);
}

Runner::Outcome Runner::attempt(Issuer& issuer, const Task& task, const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  const std::string name = task.wanted.id();
  const auto later = [&](Error error) {
    return Outcome{.next_ms = now + minute, .error = std::move(error)};
  };
  auto held = hold(name, by);
  if (!held) return later(std::move(held).error());
  const Deadline until = (*held)->within(by);

  Story story;
  auto kept = load_story(store_, name, until);
  if (kept) {
    story = *std::move(kept);
  } else if (kept.error().code == Errc::invalid) {
    log::warning("certificate.story", {{"name", name}, {"why", kept.error().detail}});
  } else if (kept.error().code != Errc::not_found) {
    return later(std::move(kept).error());
  }
  story.name = name;
  story.identifiers = task.wanted.identifiers;
  story.host = task.wanted.host;
  story.wished = task.wished;
  story.fence = (*held)->token();

  std::string chain;
  if (auto outcome = settled(issuer, task, story, chain, until)) {
    note(task, story);
    return *std::move(outcome);
  }
  Outcome outcome = order(issuer, task, story, chain, **held, by);
  note(task, story);
  return outcome;
}

// What needs no order now. `chain` becomes that of the present certificate, if there is one.
std::optional<Runner::Outcome> Runner::settled(Issuer& issuer, const Task& task, Story& story,
                                               std::string& chain, const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  const auto saved = [&](std::int64_t next) {
    const auto done = save_story(store_, story, by);
    Outcome outcome{.next_ms = next};
    if (!done) outcome = {.next_ms = now + minute, .error = done.error()};
    return outcome;
  };

  auto found = load(store_, slot_of(task.wanted), task.wanted.name, by);
  if (!found && found.error().code != Errc::not_found && found.error().code != Errc::invalid) {
    return Outcome{.next_ms = now + minute, .error = found.error()};
  }
  std::shared_ptr<const tls::Certificate> certificate;
  if (found) {
    const auto loaded = tls::Certificate::load({found->fullchain_pem, found->privkey_pem});
    if (loaded) certificate = *loaded;
  }
  const bool valid = certificate && certificate->not_after() * second > now &&
                     covers_all(*certificate, story.identifiers);
  if (valid) {
    chain = found->fullchain_pem;
    adopt(*certificate, story);
    if (options_.acme.renew == "ari" && !is_pause(story.ask_ms, now) && !task.at_once) {
      ask_for_proposal(issuer, chain, story, by);
    }
    const Due due = due_of(story);
    if (!task.at_once && due.at_ms > now) {
      story.state = CertificateState::valid;
      story.next_ms = due.at_ms;
      story.why = due.why;
      story.order_url.clear();
      story.order_ca.clear();
      story.order_key.clear();
      return saved(look_ms(story));
    }
  } else {
    story.not_before = story.not_after = 0;
    story.serial.clear();
    story.issuer.clear();
    story.ca.clear();
  }
  if (task.at_once) return std::nullopt;

  if (story.failures > 0 && is_pause(story.next_ms, now)) return saved(story.next_ms);
  {
    const std::lock_guard lock(mutex_);
    if (!is_pause(rests_until_ms_, now)) return std::nullopt;
    story.why = rests_why_;
    story.next_ms = rests_until_ms_;
  }
  return saved(story.next_ms);
}

Runner::Outcome Runner::order(Issuer& issuer, const Task& task, Story& story,
                              const std::string& chain, Held& held, const Deadline& by) {
  const std::string_view what = story.not_after != 0 ? "renew" : "issue";
  const Deadline until =
      held.within(Deadline(std::min(by.at(), Deadline::Clock::now() + per_certificate), by.stop()));
  const auto without_ca = [&](const Error& error) {
    return Outcome{.next_ms = options_.now_ms() + minute, .error = error};
  };
  if (auto turn = wait_for_turn(until); !turn) return without_ca(turn.error());

  const std::string place = keys::story(story.name) + ".order_key";
  std::string key;
  if (!story.order_url.empty()) {
    if (auto opened = options_.unseal(place, story.order_key)) key = *std::move(opened);
  }
  if (key.empty()) {
    story.order_url.clear();
    const bool rsa = task.wanted.rsa || options_.acme.key_type == "rsa";
    auto made = tls::generate_key(rsa ? tls::KeyType::rsa : tls::KeyType::ecdsa);
    if (!made) return without_ca(made.error());
    key = *std::move(made);
    auto sealed = options_.seal(place, key);
    if (!sealed) return without_ca(sealed.error());
    story.order_key = *std::move(sealed);
  }
  story.state = CertificateState::working;
  story.why = "somebody is at it; if that ends without a word, it is tried again then";
  story.next_ms = options_.now_ms() + 2 * Millis(options_.lease).count();
  if (auto saved = save_story(store_, story, until); !saved) return without_ca(saved.error());
  show_status(task, "Requesting", nullptr, until);

  Steps steps(*this, task, story, until);
  const Commission commission{.wanted = task.wanted,
                              .key_pem = key,
                              .order_url = story.order_url,
                              .order_ca = story.order_ca,
                              .is_renewal = !chain.empty(),
                              .ca = story.ca,
                              .replaces = options_.acme.renew == "ari" ? chain : std::string(),
                              .rehearse = story.failures >= failures_before_rehearsal};
  auto obtained = issuer.obtain(commission, steps, until);
  if (!obtained && (steps.unsaved() || issuer.hurdle() == Hurdle::ours)) {
    return without_ca(obtained.error());
  }
  if (!obtained && issuer.hurdle() == Hurdle::limits) return held_back(story, obtained.error(), by);
  if (!obtained) return failed(task, story, issuer, what, steps.step(), obtained.error(), by);
  const CertBundle bundle{*std::move(obtained), std::move(key)};
  Outcome outcome = succeeded(task, story, bundle, what, until);
  if (!outcome.error) return outcome;
  return failed(task, story, issuer, what, "keep", *outcome.error, by);
}

Runner::Outcome Runner::succeeded(const Task& task, Story& story, const CertBundle& bundle,
                                  std::string_view what, const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  bool is_written = true;
  const auto keep = [&]() -> Result<void> {
    PX_TRY(const auto certificate, tls::Certificate::load(bundle));
    for (const std::string& name : story.identifiers) {
      PX_CHECK(tls::gate(certificate, name, now / second));
    }
    PX_TRY(auto record, gated(task.wanted.name, bundle, now / second));
    record.fence = static_cast<std::int64_t>(story.fence);
    PX_CHECK(replace(store_, slot_of(task.wanted), record, now / second, by));
    adopt(*certificate, story);
    story.ca = std::exchange(story.order_ca, {});
    story.failures = 0;
    story.order_url.clear();
    story.order_key.clear();
    story.state = CertificateState::valid;
    const Due due = due_of(story);
    story.next_ms = due.at_ms;
    story.why = due.why;
    // CAs have no proposal in the first moments.
    story.ask_ms = now + hour;
    add_attempt(story,
                {.at_ms = now, .what = std::string(what), .ok = true, .step = "done", .words = {}});
    auto saved = save_story(store_, story, by);
    if (saved || saved.error().code == Errc::conflict) return saved;
    // The certificate is in its place: the next look at it makes the story true.
    is_written = false;
    log::warning("certificate.story", {{"name", story.name}, {"why", saved.error().message()}});
    return {};
  };
  if (auto kept = keep(); !kept) return {.next_ms = now + minute, .error = std::move(kept).error()};
  show_status(task, "Done", &story, by);
  {
    const std::lock_guard lock(mutex_);
    rests_ = 0;
    if (story.name.starts_with("*.") && wildcards_.insert(story.name).second) {
      // Hosts that it covers want none of their own any more.
      hosts_changed_ = true;
    }
  }
  const bool renewed = what == "renew";
  ++(renewed ? counters_.renewed : counters_.issued);
  log::info("certificate.issued", {{"name", story.name},
                                   {"issuer", story.issuer},
                                   {"until", base::iso_date(story.not_after * second)}});
  if (options_.happened) options_.happened({.event = "certificate.issued", .story = story});
  return {.done = renewed ? Done::renewed : Done::issued,
          .next_ms = is_written ? look_ms(story) : now + minute};
}

// Nothing was tried, so nothing has failed.
Runner::Outcome Runner::held_back(Story& story, const Error& error, const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  const Deadline until = Deadline::in(std::max(by.left(), Millis{10'000}));
  story.state =
      story.not_after * second > now ? CertificateState::valid : CertificateState::waiting;
  story.next_ms = now + std::min(std::int64_t{error.retry_after_s} * second, longest_pause);
  story.why = error.detail;
  story.order_url.clear();
  story.order_ca.clear();
  story.order_key.clear();
  log::info("certificate.held_back", {{"name", story.name}, {"why", error.detail}});
  Outcome outcome{.next_ms = story.next_ms, .error = error};
  if (auto saved = save_story(store_, story, until); !saved) {
    outcome = {.next_ms = now + minute, .error = saved.error()};
  }
  return outcome;
}

Runner::Outcome Runner::failed(const Task& task, Story& story, const Issuer& issuer,
                               std::string_view what, std::string_view step, const Error& error,
                               const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  // The word of it must not be lost because its time is over.
  const Deadline until = Deadline::in(std::max(by.left(), Millis{10'000}));
  Outcome outcome{.done = Done::failed, .next_ms = now + minute, .error = error};
  story.state =
      story.not_after * second > now ? CertificateState::valid : CertificateState::waiting;
  if (error.code == Errc::cancelled || error.code == Errc::conflict) {
    // Ours to go on with, or somebody else's by now.
    outcome.done = Done::nothing;
    story.next_ms = now + 10 * second;
    story.why = error.code == Errc::conflict ? error.detail : "it was stopped, and goes on";
    (void)save_story(store_, story, until);
    outcome.next_ms = story.next_ms;
    return outcome;
  }

  add_attempt(story, {.at_ms = now,
                      .what = std::string(what),
                      .ok = false,
                      .step = std::string(step),
                      .words = error.detail});
  const std::int64_t asked = std::min(std::int64_t{error.retry_after_s} * second, longest_pause);
  const Blame blame = blame_of(issuer.problem(), error, step);
  if (blame == Blame::issuer) {
    std::uint32_t in_a_row = 0;
    {
      const std::lock_guard lock(mutex_);
      in_a_row = ++rests_;
    }
    const std::int64_t pause = std::max(asked, std::min(pause_after(in_a_row, {}, random()), hour));
    story.next_ms = now + pause;
    story.why = fmt::format("the CA is left alone until then: {}", error.detail);
    rest(story.next_ms, story.why);
    ++counters_.rests;
  } else {
    ++story.failures;
    story.state = CertificateState::failing;
    const std::int64_t pause = pause_after(story.failures, validity_of(story), random());
    story.next_ms = now + std::max(asked, blame == Blame::setup ? std::max(pause, day) : pause);
    story.why = asked > pause ? "the CA wants to be asked then"
                : blame == Blame::setup
                    ? "the account or the configuration has to be seen to first"
                    : "failed tries are repeated after longer and longer pauses";
    ++counters_.failed;
  }
  // What the CA has refused is over; what it did not come to say may still come to its end.
  if (error.code == Errc::denied || error.code == Errc::invalid || error.code == Errc::not_found) {
    story.order_url.clear();
    story.order_ca.clear();
    story.order_key.clear();
  }
  outcome.next_ms = story.next_ms;
  const auto saved = save_story(store_, story, until);
  if (!saved)
    log::warning("certificate.story", {{"name", story.name}, {"why", saved.error().message()}});
  const std::string base_name = story.identifiers.empty() ? story.name : story.identifiers.front();
  show_status(task,
              step == "present"   ? std::string("Add DNS record failed")
              : step == "visible" ? fmt::format("DNS check failed for {}", base_name)
                                  : std::string("LE failed"),
              nullptr, until);
  log::warning(
      "certificate.failed",
      {{"name", story.name},
       {"step", std::string(step)},
       {"why", error.detail},
       {"failures", std::to_string(story.failures)},
       {"next", base::iso_date(story.next_ms)},
       {"ends", story.not_after != 0 ? base::iso_date(story.not_after * second) : "none"}});
  if (options_.happened) {
    options_.happened({.event = "certificate.failed", .story = story, .words = error.detail});
  }
  return outcome;
}

Result<void> Runner::revoke(std::string_view name, int reason, const Deadline& by) {
  auto usual = revoke_one(Slot::usual, name, reason, by);
  if (!usual && usual.error().code != Errc::not_found) return usual;
  auto rsa = revoke_one(Slot::rsa, name, reason, by);
  return rsa || rsa.error().code != Errc::not_found ? rsa : usual;
}

Result<void> Runner::revoke_one(Slot slot, std::string_view name, int reason, const Deadline& by) {
  const std::string id = Wanted{.name = std::string(name), .rsa = slot == Slot::rsa}.id();
  auto held = hold(id, by);
  if (!held) return std::move(held).error();
  const Deadline until = (*held)->within(by);
  PX_TRY(const auto kept_now, load(store_, slot, name, until));
  const CertBundle bundle{kept_now.fullchain_pem, kept_now.privkey_pem};
  Story story;
  if (auto kept = load_story(store_, id, until)) story = *std::move(kept);
  PX_TRY(const auto issuer, options_.issuer());
  if (auto revoked = issuer->revoke(story.ca, bundle, reason, until); !revoked) {
    // It is revoked already.
    if (revoked.error().code != Errc::conflict) return revoked;
  }
  PX_TRY([[maybe_unused]] const bool erased, erase(store_, slot, name, until));
  (void)store_.erase(previous_of(slot, name), until);

  story.name = id;
  story.fence = (*held)->token();
  const std::int64_t now = options_.now_ms();
  add_attempt(story, {.at_ms = now,
                      .what = "revoke",
                      .ok = true,
                      .step = "done",
                      .words = fmt::format("reason {}", reason)});
  constexpr int key_compromise = 1;
  story.state = CertificateState::waiting;
  story.not_before = story.not_after = 0;
  story.serial.clear();
  story.issuer.clear();
  story.ca.clear();
  story.failures = 0;
  story.next_ms = reason == key_compromise ? now : now + day;
  story.why = "the one before was revoked";
  PX_CHECK(save_story(store_, story, until));
  if (options_.happened) options_.happened({.event = "certificate.revoked", .story = story});
  const std::lock_guard lock(mutex_);
  hosts_changed_ = true;
  wake_.notify_all();
  return {};
}

// ---- what goes with it

void Runner::note(const Task& task, const Story& story) {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(task.wanted.id());
  if (known == known_.end()) return;
  known->second.state = story.state;
  known->second.not_after = story.not_after;
  known->second.failures = story.failures;
}

void Runner::ask_for_proposal(Issuer& issuer, const std::string& chain, Story& story,
                              const Deadline& by) {
  const std::int64_t now = options_.now_ms();
  constexpr std::int64_t otherwise = 6 * hour;
  const auto info = issuer.proposal(
      story.ca, chain,
      Deadline(std::min(by.at(), Deadline::Clock::now() + Millis{minute}), by.stop()));
  if (!info) {
    // What it said before still stands.
    story.ask_ms = now + (info.error().code == Errc::not_found ? day : otherwise);
    return;
  }
  const std::int64_t start = info->start * second;
  const std::int64_t end = info->end * second;
  const bool same = start == story.window_start_ms && end == story.window_end_ms;
  if (!same && story.window_end_ms != 0) {
    log::warning("certificate.proposal", {{"name", story.name},
                                          {"start", base::iso_date(start)},
                                          {"end", base::iso_date(end)},
                                          {"explanation", info->explanation_url}});
  }
  if (!same) {
    story.window_start_ms = start;
    story.window_end_ms = end;
    story.chosen_ms = chosen_in(start, end, now, random());
  }
  story.ask_ms = now + std::int64_t{info->retry_after_s} * second;
}

Due Runner::due_of(const Story& story) const {
  std::optional<Proposal> proposal;
  if (options_.acme.renew == "ari" && story.window_end_ms != 0) {
    proposal = Proposal{story.window_start_ms, story.window_end_ms, story.chosen_ms};
  }
  return renewal_of({story.not_before, story.not_after}, proposal, spread_of(story.name));
}

std::int64_t Runner::look_ms(const Story& story) const {
  const std::int64_t now = options_.now_ms();
  const auto not_a_jump = [now](std::int64_t at) { return at <= now || is_pause(at, now); };
  if (story.state != CertificateState::valid)
    return not_a_jump(story.next_ms) ? story.next_ms : now;
  std::int64_t next = story.next_ms;
  if (!not_a_jump(next)) next = std::min(next, due_of(story).at_ms);
  if (options_.acme.renew != "ari") return next;
  return std::min(next, not_a_jump(story.ask_ms) ? story.ask_ms : now);
}

// As the pages of older software read it in the host's record.
void Runner::show_status(const Task& task, std::string_view status, const Story* valid,
                         const Deadline& by) {
  if (task.wanted.rsa) return;
  if (task.wanted.method != Method::dns01 || task.wanted.host.find('*') == std::string::npos)
    return;
  const auto change = [&](const Record& before) -> Result<Record> {
    if (before.empty()) return Error{Errc::not_found, "the host is not of the store"};
    Record next = before;
    next.insert_or_assign("wildcard_status", std::string(status));
    if (valid != nullptr) {
      next.insert_or_assign("is_wildcard", fields::spelled(true));
      next.insert_or_assign("wildcard_expires", std::to_string(valid->not_after * second));
      next.insert_or_assign("wildcard_issued", std::to_string(valid->not_before * second));
    }
    return next;
  };
  (void)store_.update(keys::host(task.wanted.host), change, Life::as_before, by);
}

Result<void> Runner::wait_for_turn(const Deadline& by) {
  std::unique_lock lock(mutex_);
  const auto turn = std::max(next_order_, Deadline::Clock::now());
  next_order_ = turn + options_.between_orders;
  if (turn > by.at()) return Error{Errc::timeout, "too many certificates are got at once"};
  wake_.wait_until(lock, by.stop(), turn, [] { return false; });
  if (by.cancelled()) return Error{Errc::cancelled, "it was stopped"};
  return {};
}

void Runner::rest(std::int64_t until_ms, std::string_view why) {
  const std::lock_guard lock(mutex_);
  if (until_ms <= rests_until_ms_ && is_pause(rests_until_ms_, options_.now_ms())) return;
  rests_until_ms_ = until_ms;
  rests_why_ = why;
}

Result<std::unique_ptr<Runner::Held>> Runner::hold(std::string_view name, const Deadline& by) {
  constexpr Millis patience{1'000};
  const Deadline soon(std::min(by.at(), Deadline::Clock::now() + patience), by.stop());
  auto lease = store_.lock(fmt::format("certificate:{}", name), options_.lease, soon);
  if (!lease) return std::move(lease).error().within("another runner is at it");
  return std::make_unique<Held>(*this, name, *std::move(lease), by.stop());
}

void Runner::keep_holding(const std::stop_token& stop) {
  std::mutex idle;
  std::condition_variable_any wake;
  std::unique_lock waiting(idle);
  while (!stop.stop_requested()) {
    wake.wait_for(waiting, stop, options_.lease / 3, [] { return false; });
    const std::lock_guard lock(held_mutex_);
    for (Held* held : held_) held->renew(Deadline::in(Millis(options_.lease) / 6, stop));
  }
}

bool Runner::is_worked_on(std::string_view name) const {
  // By anybody: whoever works on it has its lease.
  auto lease =
      store_.lock(fmt::format("certificate:{}", name), options_.lease, Deadline::in(Millis{0}));
  return !lease;
}

std::string Runner::metrics() const {
  constexpr std::array states = {CertificateState::waiting, CertificateState::working,
                                 CertificateState::valid, CertificateState::failing,
                                 CertificateState::idle};
  std::array<std::size_t, states.size()> count = {};
  std::int64_t first_end = 0;
  std::uint32_t failures = 0;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, known] : known_) {
      ++count[static_cast<std::size_t>(known.state)];
      failures = std::max(failures, known.failures);
      if (known.not_after != 0 && (first_end == 0 || known.not_after < first_end)) {
        first_end = known.not_after;
      }
    }
  }
  std::string text;
  const auto head = [&](std::string_view name, std::string_view type, std::string_view help) {
    text += fmt::format("# HELP proxycore_{0} {2}\n# TYPE proxycore_{0} {1}\n", name, type, help);
  };
  head("renew_names", "gauge", "Names that certificates are wanted for.");
  for (const CertificateState state : states) {
    text += fmt::format("proxycore_renew_names{{state=\"{}\"}} {}\n", name_of(state),
                        count[static_cast<std::size_t>(state)]);
  }
  head("renew_attempts_total", "counter", "Tries to get or renew a certificate.");
  const auto attempts = [&](std::string_view result, const std::atomic<std::uint64_t>& value) {
    text +=
        fmt::format("proxycore_renew_attempts_total{{result=\"{}\"}} {}\n", result, value.load());
  };
  attempts("issued", counters_.issued);
  attempts("renewed", counters_.renewed);
  attempts("failed", counters_.failed);
  attempts("ca_unavailable", counters_.rests);
  head("renew_failures_in_a_row", "gauge", "Of the name that has most of them.");
  text += fmt::format("proxycore_renew_failures_in_a_row {}\n", failures);
  head("renew_first_end_seconds", "gauge",
       "When the first certificate ends, in seconds since 1970; 0: there is none.");
  text += fmt::format("proxycore_renew_first_end_seconds {}\n", first_end);
  return text;
}

}  // namespace proxycore::certs
