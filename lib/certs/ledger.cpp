#include "certs/ledger.h"

#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include "host/registered_domain.h"
#include "tls/digest.h"

#include <algorithm>
#include <set>
#include <vector>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace fields = host::fields;

constexpr std::int64_t second = 1'000;
constexpr std::int64_t minute = 60 * second;
constexpr std::int64_t hour = 60 * minute;
constexpr std::int64_t week = 168 * hour;

std::set<std::string> domains_of(std::span<const std::string> names) {
  std::set<std::string> domains;
  for (const std::string& name : names) domains.insert(host::registered_domain(name));
  return domains;
}

// The name that is proven for "*.example.com".
std::string_view proven_by(std::string_view name) {
  return name.starts_with("*.") ? name.substr(2) : name;
}

std::string joined(std::span<const std::string> names) {
  std::vector<std::string> sorted(names.begin(), names.end());
  std::sort(sorted.begin(), sorted.end());
  std::string all;
  for (const std::string& name : sorted) all += (all.empty() ? "" : " ") + name;
  return all;
}

}  // namespace

struct Ledger::Rule {
  std::string_view name;  // in keys and metrics
  std::int64_t most;      // at once
  std::int64_t each_ms;   // until one more is there again
  std::string_view words;
};

const std::array<Ledger::Rule, 4> Ledger::rules{{
    {"orders", 300, 3 * hour / 300, "300 orders of an account in three hours"},
    {"domain", 50, week / 50, "50 certificates of a registered domain in a week"},
    {"names", 5, week / 5, "5 certificates for the same names in a week"},
    {"failures", 5, hour / 5, "5 failures of a name in an hour"},
}};

std::string Ledger::place(Limit limit, std::string_view subject) const {
  const auto digest = tls::sha256(fmt::format("{} {}", ca_, subject));
  return fmt::format("{}{}_{}", host::keys::ledger_prefix,
                     rules[static_cast<std::size_t>(limit)].name,
                     base::hex(std::span(digest).first<16>()));
}

Result<std::int64_t> Ledger::full_at(Limit limit, std::string_view subject, const Deadline& by) {
  const Rule& rule = rules[static_cast<std::size_t>(limit)];
  const std::int64_t now = now_ms_();
  auto record = store_.get(place(limit, subject), by);
  if (!record) {
    if (record.error().code == Errc::not_found) return now;
    return std::move(record).error();
  }
  const auto full = fields::whole(*record, "full_ms", 0, fields::max_time);
  // What is further off was written by a clock that was ahead.
  if (!full || full->value_or(0) > now + rule.most * rule.each_ms) return now;
  return std::max(full->value_or(0), now);
}

Result<void> Ledger::set(Limit limit, std::string_view subject, std::int64_t full_ms,
                         const Deadline& by) {
  std::int64_t& tightest = tightest_ms_[static_cast<std::size_t>(limit)];
  tightest = std::max(tightest, full_ms);
  const std::int64_t left_s = (full_ms - now_ms_()) / second + 1;
  return store_.put(place(limit, subject),
                    {{"full_ms", std::to_string(full_ms)},
                     {"ca", ca_},
                     {"subject", std::string(subject.substr(0, 300))}},
                    Seconds{std::max<std::int64_t>(left_s, 1)}, by);
}

Result<void> Ledger::check(Limit limit, std::string_view subject, const Deadline& by) {
  const Rule& rule = rules[static_cast<std::size_t>(limit)];
  PX_TRY(const std::int64_t full, full_at(limit, subject, by));
  const std::int64_t wait = full + rule.each_ms - rule.most * rule.each_ms - now_ms_();
  if (wait <= 0) return {};
  return Error{Errc::limit,
               fmt::format("the rate limits of {} leave no room until {}: {}{}{}", ca_,
                           base::iso_date(now_ms_() + wait), rule.words,
                           subject.empty() ? "" : ", ", subject.substr(0, 300)),
               static_cast<std::uint32_t>(wait / second + 1)};
}

Result<void> Ledger::add(Limit limit, std::string_view subject, std::int64_t count,
                         const Deadline& by) {
  const Rule& rule = rules[static_cast<std::size_t>(limit)];
  PX_TRY(const std::int64_t full, full_at(limit, subject, by));
  return set(limit, subject, std::max(full + count * rule.each_ms, now_ms_()), by);
}

Result<void> Ledger::take(const Entry& entry, const Deadline& by) {
  if (entry.is_proposed) return {};
  const std::lock_guard lock(mutex_);
  const auto domains = entry.is_renewal ? std::set<std::string>() : domains_of(entry.names);
  const std::string names = joined(entry.names);
  for (const std::string& name : entry.names) {
    PX_CHECK(check(Limit::failures, proven_by(name), by));
  }
  PX_CHECK(check(Limit::names, names, by));
  for (const std::string& domain : domains) PX_CHECK(check(Limit::domain, domain, by));
  if (!entry.is_renewal) PX_CHECK(check(Limit::orders, "", by));

  PX_CHECK(add(Limit::names, names, 1, by));
  for (const std::string& domain : domains) PX_CHECK(add(Limit::domain, domain, 1, by));
  if (!entry.is_renewal) PX_CHECK(add(Limit::orders, "", 1, by));
  return {};
}

void Ledger::give_back(const Entry& entry, const Deadline& by) {
  if (entry.is_proposed) return;
  const std::lock_guard lock(mutex_);
  (void)add(Limit::names, joined(entry.names), -1, by);
  if (entry.is_renewal) return;
  for (const std::string& domain : domains_of(entry.names)) {
    (void)add(Limit::domain, domain, -1, by);
  }
}

void Ledger::failed(std::string_view name, const Deadline& by) {
  const std::lock_guard lock(mutex_);
  (void)add(Limit::failures, proven_by(name), 1, by);
}

std::string_view Ledger::metrics_head() noexcept {
  return "# HELP proxycore_certificates_budget_remaining What is left of a rate limit of a CA, "
         "where least is.\n"
         "# TYPE proxycore_certificates_budget_remaining gauge\n";
}

std::string Ledger::metrics() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const Rule& rule = rules[i];
    const std::int64_t used_ms = std::max<std::int64_t>(tightest_ms_[i] - now_ms_(), 0);
    const std::int64_t used = (used_ms + rule.each_ms - 1) / rule.each_ms;
    text += fmt::format("proxycore_certificates_budget_remaining{{ca=\"{}\",limit=\"{}\"}} {}\n",
                        ca_, rule.name, std::max<std::int64_t>(rule.most - used, 0));
  }
  return text;
}

}  // namespace proxycore::certs
