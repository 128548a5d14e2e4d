#include "auth/permissions.h"

#include "base/log.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <array>
#include <utility>

namespace proxycore::auth {

namespace {
namespace fields = host::fields;
namespace keys = host::keys;

constexpr std::string_view everywhere = "global";
constexpr std::string_view of_domain = "domain";
}  // namespace

std::string Permission::id() const {
  const bool is_global = grant.domain.empty();
  std::string text = subject_type;
  text.append(":").append(subject).append(":");
  text.append(is_global ? everywhere : of_domain).append(":");
  return text.append(is_global ? "*" : grant.domain);
}

Result<Permission> permission_from(const Record& record) {
  constexpr std::array<std::string_view, 4> required = {"subjectType", "subject", "scope", "role"};
  PX_CHECK(fields::require(record, required));
  Permission permission;
  permission.subject_type = fields::text(record, "subjectType");
  permission.subject = fields::text(record, "subject");
  permission.created_by = fields::user(record, "created_by");
  permission.created_on = fields::time_stamp(record, "created_on");
  if (permission.subject_type != "user" && permission.subject_type != "group") {
    return fields::field_error("subjectType", "expected 'user' or 'group'");
  }
  if (permission.subject.empty()) return fields::field_error("subject", "is empty");
  const auto role = role_from(fields::text(record, "role"));
  if (!role) return fields::field_error("role", "expected 'viewer', 'manager' or 'admin'");
  permission.grant.role = *role;
  const std::string scope = fields::text(record, "scope");
  if (scope == everywhere) return permission;
  if (scope != of_domain) return fields::field_error("scope", "expected 'global' or 'domain'");
  permission.grant.domain = fields::text(record, "domain");
  if (permission.grant.domain.empty()) return fields::field_error("domain", "is missing");
  return permission;
}

Record record_of(const Permission& permission) {
  const bool is_global = permission.grant.domain.empty();
  Record record{{"id", permission.id()},
                {"subjectType", permission.subject_type},
                {"subject", permission.subject},
                {"scope", std::string(is_global ? everywhere : of_domain)},
                {"domain", is_global ? "*" : permission.grant.domain},
                {"role", std::string(name_of(permission.grant.role))}};
  if (!permission.created_by.empty()) record.emplace("created_by", permission.created_by);
  if (permission.created_on) {
    record.emplace("created_on", std::to_string(*permission.created_on));
  }
  return record;
}

void Permissions::Table::add(Permission row) {
  if (row.subject_type == "user") of_users_[row.subject].push_back(row.grant);
  rows_.push_back(std::move(row));
  empty = false;
}

const std::vector<Grant>& Permissions::Table::grants_of(std::string_view user) const {
  static const std::vector<Grant> none;
  const auto found = of_users_.find(user);
  return found != of_users_.end() ? found->second : none;
}

Permissions::Permissions(Store& store) : store_(store) {
  auto watch = store_.watch(keys::permission_prefix, [this](std::string_view) { forget(); });
  if (watch) {
    watch_ = *std::move(watch);
  } else {
    base::log::warning("auth.watch", {{"of", std::string(keys::permission_prefix)},
                                      {"why", watch.error().message()}});
  }
}

Result<std::shared_ptr<const Permissions::Table>> Permissions::all(const Deadline& by) {
  std::uint64_t changes = 0;
  {
    const std::lock_guard lock(mutex_);
    if (table_ && Deadline::Clock::now() - read_at_ < fresh) return table_;
    changes = changes_;
  }
  auto table = std::make_shared<Table>();
  PX_CHECK(store_.scan(
      keys::permission_prefix,
      [&table](std::string_view key, Record&& record) {
        table->empty = false;
        auto row = permission_from(record);
        if (row && keys::permission(row->id()) != key) {
          row = fields::field_error("id", "is not its key's");
        }
        if (row) return table->add(*std::move(row));
        base::log::warning("auth.permission",
                           {{"key", std::string(key)}, {"why", row.error().message()}});
      },
      by));
  const std::lock_guard lock(mutex_);
  if (changes == changes_) {
    table_ = table;
    read_at_ = Deadline::Clock::now();
  }
  return std::shared_ptr<const Table>(std::move(table));
}

Result<void> Permissions::put(const Permission& permission, const Deadline& by) {
  auto written =
      store_.put(keys::permission(permission.id()), record_of(permission), std::nullopt, by);
  forget();
  return written;
}

Result<bool> Permissions::remove(std::string_view id, const Deadline& by) {
  auto erased = store_.erase(keys::permission(id), by);
  forget();
  return erased;
}

void Permissions::forget() {
  const std::lock_guard lock(mutex_);
  table_.reset();
  ++changes_;
}

}  // namespace proxycore::auth
