#include "auth/access.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace proxycore::auth {

namespace {
constexpr std::array<std::string_view, 4> role_names = {"none", "viewer", "manager", "admin"};

std::vector<std::string_view> labels_of(std::string_view name) {
  std::vector<std::string_view> labels;
  for (;;) {
    const std::size_t dot = name.find('.');
    labels.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos) return labels;
    name.remove_prefix(dot + 1);
  }
}

// `**` on either side is dealt with by who calls.
bool label_covers(std::string_view pattern, std::string_view label) {
  if (label == "**") return false;
  return pattern == "*" || base::same(pattern, label);
}

bool is_everywhere(const Grant& grant) {
  return grant.domain.empty() || grant.domain == "**";
}

template <class Which>
Role highest(const Caller& caller, Which&& counts) {
  if (caller.admin) return caller.at_most;
  Role role = Role::none;
  for (const Grant& grant : caller.grants) {
    if (grant.role > role && counts(grant)) role = grant.role;
  }
  return std::min(role, caller.at_most);
}
}  // namespace

std::string_view name_of(Role role) noexcept {
  return role_names[static_cast<std::size_t>(role)];
}

std::optional<Role> role_from(std::string_view name) noexcept {
  for (const Role role : {Role::viewer, Role::manager, Role::admin}) {
    if (name == name_of(role)) return role;
  }
  return std::nullopt;
}

bool covers(std::string_view pattern, std::string_view name) {
  if (pattern.empty() || name.empty()) return false;
  if (pattern.find('*') == std::string_view::npos) {
    if (name.size() <= pattern.size()) return base::same(pattern, name);
    const std::size_t before = name.size() - pattern.size();
    return name[before - 1] == '.' && base::same(pattern, name.substr(before));
  }
  const auto wanted = labels_of(pattern);
  const auto labels = labels_of(name);
  // From the last `**` on that was met there is one other way: that it takes a label more.
  std::size_t at = 0;
  std::size_t label = 0;
  std::optional<std::size_t> any;
  std::size_t taken = 0;
  while (label < labels.size()) {
    if (at < wanted.size() && wanted[at] == "**") {
      any = at++;
      taken = label;
    } else if (at < wanted.size() && label_covers(wanted[at], labels[label])) {
      ++at;
      ++label;
    } else if (any) {
      at = *any + 1;
      label = ++taken;
    } else {
      return false;
    }
  }
  while (at < wanted.size() && wanted[at] == "**") ++at;
  return at == wanted.size();
}

Role role_for(const Caller& caller, std::string_view host) {
  return highest(caller, [host](const Grant& grant) {
    return grant.domain.empty() || covers(grant.domain, host);
  });
}

Role role_everywhere(const Caller& caller) {
  return highest(caller, is_everywhere);
}

Role role_anywhere(const Caller& caller) {
  return highest(caller, [](const Grant&) { return true; });
}

}  // namespace proxycore::auth
