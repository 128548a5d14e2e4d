// Throttle: how often somebody may try to log in.
//
// Counts tries of an address in a time, and failures in a row of an address and of an account, each
// of which doubles the wait for the next try. An account's wait stays short, so that nobody can
// keep its owner out for long. Bounded: who has been quiet longest is forgotten first; tries that
// are refused make nobody be forgotten. Owner: Accounts. Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace proxycore::auth {

class Throttle {
 public:
  using Time = Deadline::Clock::time_point;

  static constexpr std::uint32_t tries = 60;  // of an address, in
  static constexpr Seconds window{15 * 60};
  static constexpr std::uint32_t free_failures = 4;  // in a row, before there is a wait
  static constexpr Seconds longest_address_wait{15 * 60};
  static constexpr Seconds longest_account_wait{30};
  static constexpr std::size_t max_known = 20'000;  // addresses and accounts together

  // Counts a try. Errors: busy (not now; retry_after_s says when).
  Result<void> admit(std::string_view address, std::string_view account, Time now);
  // How the try ended.
  void failed(std::string_view address, std::string_view account, Time now);
  void succeeded(std::string_view address, std::string_view account);

  [[nodiscard]] std::size_t known() const;

 private:
  struct Entry {
    std::string key;
    std::uint32_t tries = 0;
    Time window_ends = {};
    std::uint32_t failures = 0;  // in a row
    Time not_before = {};
  };

  // As it is; of a stranger nothing is kept.
  Entry seen(const std::string& key);
  // To be changed; of a stranger a new one.
  Entry& entry(std::string key);

  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // whom we heard of last is first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace proxycore::auth
