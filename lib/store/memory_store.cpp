#include "store/backends.h"
#include "store/watchers.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include <fmt/format.h>

namespace proxycore {
namespace store {
namespace {

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(Clock clock) : clock_(std::move(clock)) {}

  Result<Record> get(std::string_view key, const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    const std::lock_guard lock(mutex_);
    const auto at = records_.find(key);
    if (at == records_.end() || ended(at->second, clock_())) {
      return Error{Errc::not_found, fmt::format("no record '{}'", key)};
    }
    return *at->second.record;
  }

  Result<void> put(std::string_view key, const Record& record, Ttl ttl,
                   const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    PX_CHECK(check_write(key, record, ttl));
    {
      const std::lock_guard lock(mutex_);
      set(key, record, ttl, clock_());
    }
    watchers_.changed(key);
    return {};
  }

  Result<void> create(std::string_view key, const Record& record, Ttl ttl,
                      const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    PX_CHECK(check_write(key, record, ttl));
    {
      const std::lock_guard lock(mutex_);
      const std::int64_t now = clock_();
      const auto at = records_.find(key);
      if (at != records_.end() && !ended(at->second, now)) {
        return Error{Errc::conflict, fmt::format("record '{}' exists already", key)};
      }
      set(key, record, ttl, now);
    }
    watchers_.changed(key);
    return {};
  }

  Result<void> update(std::string_view key, const Change& change, Life life,
                      const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    {
      const std::lock_guard lock(mutex_);
      const std::int64_t now = clock_();
      const auto at = records_.find(key);
      const bool there = at != records_.end() && !ended(at->second, now);
      PX_TRY(const Record next, change(there ? *at->second.record : Record{}));
      PX_CHECK(check_write(key, next, std::nullopt));
      const auto end = there && life == Life::as_before ? at->second.end : std::nullopt;
      set(key, next, std::nullopt, now);
      records_.find(key)->second.end = end;
    }
    watchers_.changed(key);
    return {};
  }

  Result<void> put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                       const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    for (const auto& [key, record] : records) PX_CHECK(check_write(key, record, ttl));
    {
      const std::lock_guard lock(mutex_);
      const std::int64_t now = clock_();
      for (const auto& [key, record] : records) set(key, record, ttl, now);
    }
    for (const auto& [key, record] : records) watchers_.changed(key);
    return {};
  }

  Result<bool> erase(std::string_view key, const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    bool was_there = false;
    {
      const std::lock_guard lock(mutex_);
      if (const auto at = records_.find(key); at != records_.end()) {
        was_there = !ended(at->second, clock_());
        records_.erase(at);
      }
    }
    if (was_there) watchers_.changed(key);
    return was_there;
  }

  Result<bool> erase_if(std::string_view key, const Condition& condition,
                        const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    {
      const std::lock_guard lock(mutex_);
      const auto at = records_.find(key);
      if (at == records_.end() || ended(at->second, clock_())) return false;
      if (!condition(*at->second.record)) return false;
      records_.erase(at);
    }
    watchers_.changed(key);
    return true;
  }

  Result<std::vector<std::string>> keys(std::string_view prefix, const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    std::vector<std::string> found;
    const std::lock_guard lock(mutex_);
    const std::int64_t now = clock_();
    for (auto at = records_.lower_bound(prefix); starts(at, prefix); ++at) {
      if (!ended(at->second, now)) found.push_back(at->first);
    }
    return found;
  }

  Result<void> scan(std::string_view prefix,
                    const std::function<void(std::string_view key, Record&& record)>& each,
                    const Deadline& by) override {
    PX_CHECK(not_cancelled(by));
    std::vector<std::pair<std::string, std::shared_ptr<const Record>>> found;
    {
      const std::lock_guard lock(mutex_);
      const std::int64_t now = clock_();
      for (auto at = records_.lower_bound(prefix); starts(at, prefix); ++at) {
        if (!ended(at->second, now)) found.emplace_back(at->first, at->second.record);
      }
    }
    for (const auto& [key, record] : found) {
      PX_CHECK(not_cancelled(by));
      each(key, Record{*record});
    }
    return {};
  }

  Result<std::unique_ptr<Lease>> lock(std::string_view name, Seconds ttl,
                                      const Deadline& by) override {
    PX_CHECK(check_lock(name, ttl));
    std::unique_lock lock(mutex_);
    // Whose time has run out frees the name without a word, hence the short waits.
    constexpr Millis look_again{20};
    while (held(name)) {
      PX_CHECK(not_cancelled(by));
      if (by.passed()) return Error{Errc::busy, fmt::format("lock '{}' is held", name)};
      released_.wait_for(lock, by.stop(), std::min(by.left(), look_again),
                         [&] { return !held(name); });
    }
    const std::uint64_t token = ++last_token_;
    locks_.insert_or_assign(std::string{name}, Held{token, end_of(ttl, clock_())});
    return std::make_unique<MemoryLease>(*this, std::string{name}, ttl, token);
  }

  Result<std::unique_ptr<Watch>> watch(std::string_view prefix,
                                       std::function<void(std::string_view key)> changed) override {
    return watchers_.add(prefix, std::move(changed));
  }

  [[nodiscard]] std::string describe() const override { return "memory:"; }

 private:
  struct Entry {
    std::shared_ptr<const Record> record;  // shared with scans that are under way
    std::optional<std::int64_t> end;
  };
  struct Held {
    std::uint64_t token;
    std::int64_t end;
  };
  using Records = std::map<std::string, Entry, std::less<>>;

  class MemoryLease final : public Lease {
   public:
    MemoryLease(MemoryStore& store, std::string name, Seconds ttl, std::uint64_t token)
        : store_(store), name_(std::move(name)), ttl_(ttl), token_(token) {}
    ~MemoryLease() override { store_.release(name_, token_); }
    MemoryLease(const MemoryLease&) = delete;
    MemoryLease& operator=(const MemoryLease&) = delete;

    Result<void> renew(const Deadline& by) override {
      PX_CHECK(not_cancelled(by));
      return store_.renew(name_, token_, ttl_);
    }
    [[nodiscard]] std::uint64_t token() const noexcept override { return token_; }

   private:
    MemoryStore& store_;
    const std::string name_;
    const Seconds ttl_;
    const std::uint64_t token_;
  };

  static Result<void> not_cancelled(const Deadline& by) {
    if (by.cancelled()) return Error{Errc::cancelled};
    return {};
  }
  static bool ended(const Entry& entry, std::int64_t now) { return entry.end && *entry.end <= now; }
  [[nodiscard]] bool starts(Records::const_iterator at, std::string_view prefix) const {
    return at != records_.end() && at->first.starts_with(prefix);
  }

  void set(std::string_view key, const Record& record, Ttl ttl, std::int64_t now) {
    sweep(now);
    Entry entry{std::make_shared<const Record>(record), std::nullopt};
    if (ttl) entry.end = end_of(*ttl, now);
    records_.insert_or_assign(std::string{key}, std::move(entry));
  }
  // Drops what has expired, now and then: nobody sees it any more, but it takes room.
  void sweep(std::int64_t now) {
    if (now < next_sweep_) return;
    next_sweep_ = now + Millis{sweep_interval}.count();
    std::erase_if(records_, [&](const auto& item) { return ended(item.second, now); });
    std::erase_if(locks_, [&](const auto& item) { return item.second.end <= now; });
  }

  [[nodiscard]] bool held(std::string_view name) const {
    const auto at = locks_.find(name);
    return at != locks_.end() && at->second.end > clock_();
  }
  Result<void> renew(const std::string& name, std::uint64_t token, Seconds ttl) {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = clock_();
    const auto at = locks_.find(name);
    if (at == locks_.end() || at->second.token != token || at->second.end <= now) {
      return Error{Errc::conflict, fmt::format("lock '{}' ran out", name)};
    }
    at->second.end = end_of(ttl, now);
    return {};
  }
  void release(const std::string& name, std::uint64_t token) {
    {
      const std::lock_guard lock(mutex_);
      const auto at = locks_.find(name);
      if (at == locks_.end() || at->second.token != token) return;
      locks_.erase(at);
    }
    released_.notify_all();
  }

  static constexpr Seconds sweep_interval{60};

  const Clock clock_;
  std::mutex mutex_;
  std::condition_variable_any released_;
  Records records_;
  std::map<std::string, Held, std::less<>> locks_;
  std::uint64_t last_token_ = 0;
  std::int64_t next_sweep_ = 0;
  Watchers watchers_;
};

}  // namespace

std::unique_ptr<Store> make_memory(Clock clock) {
  return std::make_unique<MemoryStore>(std::move(clock));
}

}  // namespace store

std::unique_ptr<Store> open_memory() {
  return store::make_memory(base::now_ms);
}

}  // namespace proxycore
