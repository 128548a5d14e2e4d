#include "auth/access.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace proxycore::auth {

namespace {
constexpr std::array<std::string_view, 4> role_names = {"none", "viewer", "manager", "admin"};

// What is left of a name, label by label.
struct Labels {
  std::string_view rest;
  bool any = true;

  [[nodiscard]] std::string_view first() const { return rest.substr(0, rest.find('.')); }
  void pop() {
    const std::size_t dot = rest.find('.');
    any = dot != std::string_view::npos;
    rest.remove_prefix(any ? dot + 1 : rest.size());
  }
};

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
  // Most names of a long list end otherwise.
  std::string_view end = pattern.substr(pattern.rfind('*') + 1);
  if (end.starts_with('.')) end.remove_prefix(1);
  if (name.size() < end.size() || !base::same(end, name.substr(name.size() - end.size()))) {
    return false;
  }
  Labels wanted{pattern};
  Labels labels{name};
  // From the last `**` on that was met there is one other way: that it takes a label more.
  std::optional<Labels> after;
  Labels taken = labels;
  while (labels.any) {
    if (wanted.any && wanted.first() == "**") {
      wanted.pop();
      after = wanted;
      taken = labels;
    } else if (wanted.any && label_covers(wanted.first(), labels.first())) {
      wanted.pop();
      labels.pop();
    } else if (after) {
      wanted = *after;
      taken.pop();
      labels = taken;
    } else {
      return false;
    }
  }
  while (wanted.any && wanted.first() == "**") wanted.pop();
  return !wanted.any;
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
