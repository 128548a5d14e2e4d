// Ledger: what of a CA's rate limits is used, so that it is not asked for what it would refuse.
//
// The limits are those that Let's Encrypt publishes: buckets that fill up again bit by bit. Each is
// one record, which ends when its bucket is full again. Runners share them through the store; two
// at once may overlook each other by one, which is then the CA's to refuse. Not here: what is done
// meanwhile (runner), which CA has limits (renewer). Source: the CA's own documentation of its rate
// limits. Owner: Renewer. Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace proxycore::certs {

class Ledger {
 public:
  // What is to be ordered.
  struct Entry {
    std::span<const std::string> names;
    bool is_renewal = false;   // of a certificate for the same names
    bool is_proposed = false;  // by renewal information, and says which one it replaces (RFC 9773)
  };

  // `ca`: the host of its directory. `now_ms`: the wall clock. The store outlives it.
  Ledger(Store& store, std::string ca, std::function<std::int64_t()> now_ms)
      : store_(store), ca_(std::move(ca)), now_ms_(std::move(now_ms)) {}

  // Takes what an order takes of each limit. Errors: limit (which one, and in retry_after_s how
  // long until there is room), those of the store.
  Result<void> take(const Entry& entry, const Deadline& by);
  // It came to no certificate: what is counted by certificates is given back.
  void give_back(const Entry& entry, const Deadline& by);
  // The CA did not see what it wanted at `name`.
  void failed(std::string_view name, const Deadline& by);

  // How much is left where least is, in the text format of metrics; without the head.
  [[nodiscard]] std::string metrics() const;
  // The head of that.
  static std::string_view metrics_head() noexcept;

 private:
  enum class Limit : std::uint8_t { orders, domain, names, failures };
  struct Rule;
  static const std::array<Rule, 4> rules;

  [[nodiscard]] std::string place(Limit limit, std::string_view subject) const;
  // When the bucket is full again, milliseconds since 1970.
  Result<std::int64_t> full_at(Limit limit, std::string_view subject, const Deadline& by);
  Result<void> set(Limit limit, std::string_view subject, std::int64_t full_ms, const Deadline& by);
  // Errors: limit.
  Result<void> check(Limit limit, std::string_view subject, const Deadline& by);
  Result<void> add(Limit limit, std::string_view subject, std::int64_t count, const Deadline& by);

  Store& store_;
  const std::string ca_;
  const std::function<std::int64_t()> now_ms_;
  mutable std::mutex mutex_;                      // one change at a time
  std::array<std::int64_t, 4> tightest_ms_ = {};  // the latest full_at() of each limit
};

}  // namespace proxycore::certs
