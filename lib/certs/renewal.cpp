#include "certs/renewal.h"

#include <algorithm>
#include <array>

namespace proxycore::certs {

namespace {

constexpr std::int64_t second = 1'000;
constexpr std::int64_t minute = 60 * second;
constexpr std::int64_t hour = 60 * minute;
constexpr std::int64_t day = 24 * hour;

// The moment at which `part` of a life has passed.
std::int64_t at_share(const Validity& life, double part) {
  const auto length = static_cast<double>(life.not_after - life.not_before);
  return life.not_before * second + static_cast<std::int64_t>(length * part * second);
}

}  // namespace

Due renewal_of(const Validity& life, const std::optional<Proposal>& proposal, double spread) {
  // What is spread over a fiftieth of the life is still far from its end.
  constexpr double spread_share = 0.02;
  const std::int64_t last = at_share(life, 0.95 - spread * spread_share);
  if (proposal) {
    if (proposal->chosen_ms <= last) return {proposal->chosen_ms, "the CA proposes this time"};
    return {last, "a twentieth of its life is left, whatever the CA proposes"};
  }
  const bool is_short = life.not_after - life.not_before < 10 * day / second;
  const double share = is_short ? 0.5 : 2.0 / 3.0;
  return {
      at_share(life, share + spread * spread_share),
      is_short ? "half of its life has passed then" : "two thirds of its life have passed then"};
}

std::int64_t chosen_in(std::int64_t start_ms, std::int64_t end_ms, std::int64_t now_ms,
                       double random) {
  if (end_ms <= now_ms || end_ms <= start_ms) return std::min(now_ms, end_ms);
  return start_ms + static_cast<std::int64_t>(static_cast<double>(end_ms - start_ms) * random);
}

std::int64_t pause_after(std::uint32_t failures, const std::optional<Validity>& life,
                         double random) {
  constexpr std::array ladder{minute,   5 * minute, 15 * minute, hour,
                              3 * hour, 6 * hour,   12 * hour,   day};
  const std::size_t step = std::min<std::size_t>(std::max(failures, 1U), ladder.size()) - 1;
  std::int64_t pause = ladder[step];
  if (life) {
    const std::int64_t share = (life->not_after - life->not_before) * second / 20;
    pause = std::min(pause, std::max(share, 10 * minute));
  }
  return pause + static_cast<std::int64_t>(static_cast<double>(pause) * (random - 0.5) / 5);
}

Blame blame_of(const acme::Problem& problem, const Error& error, std::string_view step) noexcept {
  for (const std::string_view type :
       {"userActionRequired", "externalAccountRequired", "accountDoesNotExist",
        "unsupportedContact", "invalidContact", "malformed", "badCSR", "invalidProfile"}) {
    if (problem.type == type) return Blame::setup;
  }
  if (problem.type == "serverInternal" || problem.status == 503) return Blame::issuer;
  if (!problem.type.empty()) return Blame::name;
  for (const std::string_view ours : {"start", "present", "visible", "keep"}) {
    if (step == ours) return Blame::name;
  }
  // The CA itself could not be reached, or made no sense.
  switch (error.code) {
    case Errc::timeout:
    case Errc::closed:
    case Errc::refused:
    case Errc::protocol:
    case Errc::io:
      return Blame::issuer;
    default:
      return Blame::name;
  }
}

}  // namespace proxycore::certs
