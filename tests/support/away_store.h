// A memory store that can be away, as one on another machine is, lose everything, or be misused.
#pragma once

#include <proxycore/store.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

class AwayStore final : public Store {
 public:
  std::atomic<bool> away = false;
  std::atomic<bool> empty = false;  // it has lost everything
  std::string misused;              // a key that holds something else than a record
  std::function<Result<void>(const Deadline& by)> before_get;  // an error is get()'s
  std::function<Result<void>()> before_write;                  // an error is the write's

  Store& here() { return *store_; }

  Result<Record> get(std::string_view key, const Deadline& by) override {
    if (before_get) PX_CHECK(before_get(by));
    if (away) return gone();
    if (empty) return Error{Errc::not_found};
    if (key == misused) return Error{Errc::invalid, "expected a hash"};
    return store_->get(key, by);
  }
  Result<void> put(std::string_view key, const Record& record, Ttl ttl,
                   const Deadline& by) override {
    PX_CHECK(writable());
    return store_->put(key, record, ttl, by);
  }
  Result<void> create(std::string_view key, const Record& record, Ttl ttl,
                      const Deadline& by) override {
    PX_CHECK(writable());
    return store_->create(key, record, ttl, by);
  }
  Result<void> update(std::string_view key, const Change& change, Life life,
                      const Deadline& by) override {
    PX_CHECK(writable());
    return store_->update(key, change, life, by);
  }
  Result<void> put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                       const Deadline& by) override {
    PX_CHECK(writable());
    return store_->put_all(records, ttl, by);
  }
  Result<bool> erase_if(std::string_view key, const Condition& condition,
                        const Deadline& by) override {
    PX_CHECK(writable());
    return store_->erase_if(key, condition, by);
  }
  Result<bool> erase(std::string_view key, const Deadline& by) override {
    PX_CHECK(writable());
    return store_->erase(key, by);
  }
  Result<std::vector<std::string>> keys(std::string_view prefix, const Deadline& by) override {
    if (away) return gone();
    return store_->keys(prefix, by);
  }
  Result<void> scan(std::string_view prefix,
                    const std::function<void(std::string_view key, Record&& record)>& each,
                    const Deadline& by) override {
    if (away) return gone();
    if (empty) return {};
    return store_->scan(prefix, each, by);
  }
  Result<std::unique_ptr<Lease>> lock(std::string_view name, Seconds ttl,
                                      const Deadline& by) override {
    if (away) return gone();
    PX_TRY(auto lease, store_->lock(name, ttl, by));
    return std::unique_ptr<Lease>(std::make_unique<AwayLease>(*this, std::move(lease)));
  }
  Result<std::unique_ptr<Watch>> watch(std::string_view prefix,
                                       std::function<void(std::string_view key)> changed) override {
    tell = changed;
    return store_->watch(prefix, std::move(changed));
  }
  [[nodiscard]] std::string describe() const override { return "redis://store.test:6379/0"; }
  [[nodiscard]] Health health() const override {
    Health health;
    health.reachable = !away;
    health.events = "tracking";
    return health;
  }

  // The callback of the last watch.
  std::function<void(std::string_view key)> tell;

 private:
  class AwayLease final : public Lease {
   public:
    AwayLease(const AwayStore& store, std::unique_ptr<Lease> lease)
        : store_(store), lease_(std::move(lease)) {}
    Result<void> renew(const Deadline& by) override {
      if (store_.away) return gone();
      return lease_->renew(by);
    }
    [[nodiscard]] std::uint64_t token() const noexcept override { return lease_->token(); }

   private:
    const AwayStore& store_;
    const std::unique_ptr<Lease> lease_;
  };

  Result<void> writable() {
    if (away) return gone();
    if (before_write) return before_write();
    return {};
  }
  static Error gone() { return {Errc::closed, "redis://store.test:6379/0: connection refused"}; }
  std::unique_ptr<Store> store_ = open_memory();
};

}  // namespace proxycore::test
