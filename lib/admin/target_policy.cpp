#include "admin/target_policy.h"

#include "host/record_fields.h"
#include "io/blocking.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace proxycore::admin {

namespace {

// For all names of a host together: a name server that hangs holds nobody up for long.
constexpr Millis patience{2'000};

Result<void> check(const host::TargetPolicy& policy, std::string_view field, const Target& target,
                   const Deadline& by) {
  const auto addresses = io::resolve(target.name, target.port, by);
  if (!addresses) {
    if (addresses.error().code == Errc::cancelled) return addresses.error();
    return {};
  }
  for (const io::Address& address : *addresses) {
    const std::string_view objection = policy.objection(address);
    if (objection.empty()) continue;
    const std::string text = address.text() == target.text()
                                 ? target.text()
                                 : fmt::format("{} is {}", target.text(), address.text());
    return host::fields::field_error(
        field, fmt::format("{}: {}; admin.allowed_targets could allow it", text, objection));
  }
  return {};
}

}  // namespace

Result<void> check_targets(const host::TargetPolicy& policy, const Host& host, const Deadline& by) {
  const Deadline until(std::min(by.at(), Deadline::Clock::now() + patience), by.stop());
  PX_CHECK(check(policy, "ip", {host.ip, host.target_port}, until));
  for (const std::string& text : host.targets) {
    PX_TRY(const Target target, Target::parse(text));
    PX_CHECK(check(policy, "targets", target, until));
  }
  return {};
}

}  // namespace proxycore::admin
