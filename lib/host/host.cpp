#include "base/text.h"
#include <proxycore/host.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <arpa/inet.h>

namespace proxycore {

namespace {

Error field_error(std::string_view field, std::string_view why) {
  return {Errc::invalid, std::string("field '").append(field).append("': ").append(why)};
}

// The name of a target: an address without brackets, or a canonical host name.
Result<std::string> target_name(std::string_view text) {
  const auto refuse = [text](std::string_view why) {
    return Error{Errc::invalid, base::shown(text).append(why)};
  };
  const auto colons = std::count(text.begin(), text.end(), ':');
  if (colons > 1) {
    const bool in_brackets = text.front() == '[';
    const auto literal =
        HostName::canonical(in_brackets ? std::string(text) : "[" + std::string(text) + "]");
    if (!literal) return refuse(" is no IPv6 address");
    return literal->substr(1, literal->size() - 2);
  }
  if (colons == 1) return refuse(": expected an address or name without port");
  PX_TRY(std::string name, HostName::canonical(text));
  in_addr address{};
  if (base::is_address(name) && inet_pton(AF_INET, name.c_str(), &address) != 1) {
    return refuse(" is no IPv4 address");
  }
  return name;
}

Result<void> check_timeout(std::string_view field, const std::optional<Millis>& timeout,
                           Millis most) {
  if (!timeout) return {};
  const std::string value = std::to_string(timeout->count());
  if (*timeout < Millis{1}) return field_error(field, value + " is under 1");
  if (*timeout > most) {
    return field_error(field, value + " is over " + std::to_string(most.count()));
  }
  return {};
}

}  // namespace

Result<Target> Target::parse(std::string_view text) {
  const auto refuse = [text](std::string_view why) {
    return Error{Errc::invalid, base::shown(text).append(" is no target: ").append(why)};
  };
  const std::size_t colon = text.rfind(':');
  const std::string_view name = text.substr(0, colon);
  if (colon == std::string_view::npos || name.empty() || text.back() == ']') {
    return refuse("expected ADDRESS:PORT");
  }
  if (name.find(':') != std::string_view::npos && name.front() != '[') {
    return refuse("expected brackets around an IPv6 address");
  }
  const auto port = base::parse_decimal(text.substr(colon + 1), 65535);
  if (!port || *port == 0) return refuse("expected a port of 1 to 65535");
  auto canonical = target_name(name);
  if (!canonical) return refuse(canonical.error().detail);
  return Target{*std::move(canonical), static_cast<std::uint16_t>(*port)};
}

std::string Target::text() const {
  const bool ipv6 = name.find(':') != std::string::npos;
  return (ipv6 ? "[" + name + "]" : name) + ":" + std::to_string(port);
}

Result<void> Host::validate() {
  const auto missing = [](std::string_view field) { return field_error(field, "is missing"); };
  if (host.empty()) return missing("host");
  auto pattern = HostName::canonical_pattern(host);
  if (!pattern) return field_error("host", pattern.error().detail);
  host = *std::move(pattern);

  if (ip.empty()) return missing("ip");
  auto name = target_name(ip);
  if (!name) return field_error("ip", name.error().detail);
  ip = *std::move(name);
  if (target_port == 0) return field_error("targetPort", "0 is under 1");

  if (targets.size() > max_targets) {
    return field_error("targets", std::to_string(targets.size()) + " entries are over " +
                                      std::to_string(max_targets));
  }
  for (std::string& text : targets) {
    auto target = Target::parse(text);
    if (!target) return field_error("targets", target.error().detail);
    text = target->text();
  }

  if (!target_server_name.empty()) {
    auto asked = target_name(target_server_name);
    if (!asked) return field_error("targetServerName", asked.error().detail);
    target_server_name = *std::move(asked);
  }

  constexpr std::string_view challenges[] = {
      "", "HTTP-01", "DNS-01", "DNS-01-wildcard", "wildcardChild", "none"};
  if (std::find(std::begin(challenges), std::end(challenges), challenge_type) ==
      std::end(challenges)) {
    return field_error("challengeType",
                       "expected HTTP-01, DNS-01, DNS-01-wildcard, wildcardChild or none, found " +
                           base::shown(challenge_type));
  }
  if (challenge_type == "DNS-01-wildcard" && !host.starts_with("*.")) {
    return field_error("challengeType", "DNS-01-wildcard is for names that begin with '*.'");
  }

  constexpr Millis day = std::chrono::hours{24};
  PX_CHECK(check_timeout("connectTimeout", connect_timeout, Millis{600'000}));
  PX_CHECK(check_timeout("firstByteTimeout", first_byte_timeout, day));
  PX_CHECK(check_timeout("idleTimeout", idle_timeout, day));
  return {};
}

}  // namespace proxycore
