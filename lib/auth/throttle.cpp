#include "auth/throttle.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <utility>

#include <arpa/inet.h>

namespace proxycore::auth {

namespace {
constexpr std::size_t max_account = 64;  // bytes of a name that count

// Whoever has an IPv6 address has the network it is in.
std::string address_key(std::string_view address) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  if (address.find(':') != std::string_view::npos &&
      inet_pton(AF_INET6, std::string(address).c_str(), bytes.data()) == 1) {
    return "address " + base::hex(std::span(bytes).first(8));
  }
  return "address " + std::string(address.substr(0, max_account));
}
std::string account_key(std::string_view account) {
  return "account " + std::string(account.substr(0, max_account));
}

// The wait after so many failures in a row.
Seconds wait_after(std::uint32_t failures, Seconds longest) {
  if (failures <= Throttle::free_failures) return Seconds{0};
  const std::uint32_t doublings = std::min(failures - Throttle::free_failures - 1, 20U);
  return std::min(Seconds{std::int64_t{1} << doublings}, longest);
}

Error not_before(Throttle::Time then, Throttle::Time now) {
  const auto left = std::chrono::ceil<Seconds>(then - now).count();
  return {Errc::busy, "too many attempts, please try again later",
          static_cast<std::uint32_t>(left)};
}
}  // namespace

Result<void> Throttle::admit(std::string_view address, std::string_view account, Time now) {
  const std::lock_guard lock(mutex_);
  // Who is refused leaves nothing behind: nobody is forgotten for a flood of names.
  const std::string key = address_key(address);
  const Entry from = seen(key);
  const Entry to = seen(account_key(account));
  if (from.not_before > now) return not_before(from.not_before, now);
  if (to.not_before > now) return not_before(to.not_before, now);
  const bool is_over = now >= from.window_ends;
  if (!is_over && from.tries >= tries) return not_before(from.window_ends, now);
  Entry& counted = entry(key);
  counted.window_ends = is_over ? now + window : from.window_ends;
  counted.tries = is_over ? 1 : from.tries + 1;
  return {};
}

void Throttle::failed(std::string_view address, std::string_view account, Time now) {
  const std::lock_guard lock(mutex_);
  Entry& to = entry(account_key(account));
  to.not_before = now + wait_after(++to.failures, longest_account_wait);
  Entry& from = entry(address_key(address));
  from.not_before = now + wait_after(++from.failures, longest_address_wait);
}

void Throttle::succeeded(std::string_view address, std::string_view account) {
  const std::lock_guard lock(mutex_);
  entry(account_key(account)).failures = 0;
  entry(address_key(address)).failures = 0;
}

std::size_t Throttle::known() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

Throttle::Entry Throttle::seen(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return {};
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.front();
}

Throttle::Entry& Throttle::entry(std::string key) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front();
  }
  if (entries_.size() >= max_known) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({.key = key});
  by_key_.emplace(std::move(key), entries_.begin());
  return entries_.front();
}

}  // namespace proxycore::auth
