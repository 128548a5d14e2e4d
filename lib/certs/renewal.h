// renewal: when a certificate is renewed, and when a failed try is repeated. Pure functions.
//
// Not here: doing it (runner), what is kept about it (story).
// Source: RFC 9773 §4 (the CA's proposal), CAs' integration guides. Thread: any.
#pragma once

#include <proxycore/acme.h>
#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace proxycore::certs {

// Seconds since 1970.
struct Validity {
  std::int64_t not_before = 0;
  std::int64_t not_after = 0;
};

// When the CA would have it renewed (RFC 9773 §4.2), and the moment chosen in there. Milliseconds
// since 1970.
struct Proposal {
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;
  std::int64_t chosen_ms = 0;
};

struct Due {
  std::int64_t at_ms = 0;
  std::string_view why;
};

// `spread` in [0, 1): where in its time a certificate is renewed, so that many do not come at once.
// The CA's proposal, but never later than when a twentieth of the life is left; without one when
// two thirds have passed, of less than ten days a half.
Due renewal_of(const Validity& life, const std::optional<Proposal>& proposal, double spread);

// The moment in a window: uniform by `random` in [0, 1); a window that has passed means now.
std::int64_t chosen_in(std::int64_t start_ms, std::int64_t end_ms, std::int64_t now_ms,
                       double random);

// Until the next try, in milliseconds, after so many failures in a row (at least one): a minute,
// five, fifteen, an hour, three, six, twelve, then a day, a tenth more or less by `random` in
// [0, 1); never so long that a certificate of `life` would end before it was tried several times.
std::int64_t pause_after(std::uint32_t failures, const std::optional<Validity>& life,
                         double random);

// Who has to do something about a failure.
enum class Blame : std::uint8_t {
  name,    // whoever runs the host: its DNS, its address; other names go on
  issuer,  // the CA is overloaded, down, or wants us to wait: nothing is asked of it meanwhile
  setup,   // our configuration or the account; once a day is enough
};
// `step`: where it failed; what DNS providers and our own store do is not the CA's fault.
Blame blame_of(const acme::Problem& problem, const Error& error, std::string_view step) noexcept;

}  // namespace proxycore::certs
