#include "auth/accounts.h"

#include "auth/password.h"
#include "auth/secret.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <algorithm>
#include <array>
#include <utility>

namespace proxycore::auth {

namespace {
namespace fields = host::fields;
namespace keys = host::keys;

// The old software's administrator, and the password that it gave it.
constexpr std::string_view old_administrator = "proxyadmin2";
constexpr std::size_t max_password_file = 1024;  // bytes
constexpr std::size_t max_pattern = 253;         // bytes
constexpr std::string_view accounts_lock = "accounts";
constexpr Seconds lock_ttl{30};

bool is_built_in(std::string_view user) {
  return user == first_administrator || user == old_administrator;
}

bool is_of_script(std::string_view credential, How how) {
  return how != How::cookie && ApiTokens::looks_like_one(credential);
}

Error not_them() {
  return {Errc::denied, "Invalid Credentials, login failed."};
}
Error no_such_user(std::string_view name) {
  return {Errc::not_found, "no user " + base::shown(name)};
}

// What may be part of a permission's id, too, which has colons between its parts.
Result<void> check_name(std::string_view name) {
  if (name.empty()) return fields::field_error("username", "is required");
  if (name.size() > Accounts::max_user_name) {
    return fields::field_error("username", "expected at most 64 bytes");
  }
  const auto is_allowed = [](char c) {
    return (base::lower(c) >= 'a' && base::lower(c) <= 'z') || base::is_digit(c) || c == '.' ||
           c == '_' || c == '@' || c == '-';
  };
  if (!std::all_of(name.begin(), name.end(), is_allowed) || name == fields::nobody) {
    return fields::field_error("username", "expected letters, digits, '.', '_', '@' and '-'");
  }
  // Parts of the API's paths, in letters of any case, and what clients make other paths of.
  constexpr std::array<std::string_view, 4> reserved = {"me", "password", ".", ".."};
  if (std::any_of(reserved.begin(), reserved.end(),
                  [name](std::string_view one) { return base::same(one, name); })) {
    return fields::field_error("username", "is reserved");
  }
  return {};
}

Result<std::string> hash_of_new(std::string_view password, unsigned cost) {
  if (const auto strong = check_strength(password); !strong) {
    return fields::field_error("password", strong.error().detail);
  }
  auto hash = hash_password(password, cost);
  if (!hash && hash.error().code == Errc::invalid) {
    return fields::field_error("password", hash.error().detail);
  }
  return hash;
}

Result<void> check_grant(const Permission& permission) {
  if (permission.subject_type != "user" && permission.subject_type != "group") {
    return fields::field_error("subjectType", "expected 'user' or 'group'");
  }
  PX_TRY(const Permission read, permission_from(record_of(permission)));
  if (read.subject.find(':') != std::string::npos || read.subject.size() > 500) {
    return fields::field_error("subject", "expected at most 500 bytes, without ':'");
  }
  const std::string& pattern = read.grant.domain;
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || base::is_digit(c) || c == '.' || c == '_' || c == '*' ||
           c == '-';
  };
  if (pattern.size() > max_pattern || !std::all_of(pattern.begin(), pattern.end(), is_allowed) ||
      pattern.find("..") != std::string::npos || pattern.starts_with('.') ||
      pattern.ends_with('.')) {
    return fields::field_error("domain",
                               "expected a domain such as 'example.com', with '*' for "
                               "one label and '**' for any number of them");
  }
  return {};
}

Permission lower_cased(Permission permission) {
  std::string& domain = permission.grant.domain;
  std::transform(domain.begin(), domain.end(), domain.begin(), base::lower);
  return permission;
}

bool is_administrator(std::string_view user, const Permissions::Table& table) {
  if (table.empty || is_built_in(user)) return true;
  const auto& grants = table.grants_of(user);
  return std::any_of(grants.begin(), grants.end(), [](const Grant& grant) {
    return role_everywhere({.grants = {grant}}) == Role::admin;
  });
}

// Whether there is one who can log in.
bool any_administrator(const std::vector<store::User>& users, const Permissions::Table& table) {
  return std::any_of(users.begin(), users.end(), [&table](const store::User& user) {
    return !user.disabled && !user.password.empty() && is_administrator(user.name, table);
  });
}

// Errors: denied (there was an administrator, and would be none).
Result<void> check_administrators(bool before, bool after) {
  if (!before || after) return {};
  return Error{Errc::denied, "the last administrator has to remain one who can log in"};
}

Accounts::Settings with_clock(Accounts::Settings settings) {
  if (!settings.now_ms) settings.now_ms = base::now_ms;
  return settings;
}

// What changes the accounts is one at a time, in all processes, so that two changes that are fine
// by themselves do not leave nobody.
Result<std::unique_ptr<Lease>> alone(Store& store, const Deadline& by) {
  return store.lock(accounts_lock, lock_ttl, by);
}

// The row that is there when no other is: without any, everybody would be an administrator.
Permission first_row() {
  return {.subject = std::string(first_administrator), .grant = {.role = Role::admin}};
}
}  // namespace

Accounts::Accounts(Store& store, Settings settings)
    : store_(store),
      settings_(with_clock(std::move(settings))),
      permissions_(store),
      sessions_(store, settings_.token_ttl, settings_.legacy_tokens, settings_.now_ms),
      api_tokens_(store, settings_.now_ms) {
  auto watch = store_.watch(keys::user_prefix, [this](std::string_view) { forget(); });
  if (watch) {
    watch_ = *std::move(watch);
  } else {
    base::log::warning("auth.watch",
                       {{"of", std::string(keys::user_prefix)}, {"why", watch.error().message()}});
  }
}

Result<std::optional<std::string>> Accounts::begin(const std::string& password_file,
                                                   const Deadline& by) {
  PX_TRY(const auto lease, alone(store_, by));
  PX_TRY(const auto users, store_.keys(keys::user_prefix, by));
  if (!users.empty()) {
    PX_CHECK(warn(by));
    return std::optional<std::string>{};
  }
  std::string password;
  if (password_file.empty()) {
    PX_TRY(password, random_hex(12));
  } else {
    auto text = base::read_file(password_file, max_password_file);
    if (!text) return std::move(text).error().within("admin.initial_password_file");
    password = text->substr(0, text->find_first_of("\r\n"));
  }
  auto hash = hash_of_new(password, settings_.bcrypt_cost);
  if (!hash) {
    const std::string where = password_file.empty() ? "first administrator" : password_file;
    return std::move(hash).error().within(where);
  }
  // Before there is a user, so that no moment is without a row.
  Permission row = first_row();
  row.created_by = std::string(first_administrator);
  row.created_on = settings_.now_ms();
  PX_CHECK(permissions_.put(row, by));
  PX_CHECK(store::create(store_,
                         store::User{.name = std::string(first_administrator),
                                     .password = *std::move(hash),
                                     .password_expired = password_file.empty(),
                                     .written = {.created_by = std::string(first_administrator)}},
                         std::nullopt, by));
  forget();
  if (!password_file.empty()) return std::optional<std::string>{};
  return std::optional<std::string>{std::move(password)};
}

Result<void> Accounts::warn(const Deadline& by) {
  PX_TRY(const bool open, is_open(by));
  if (open) {
    base::log::warning("auth.open",
                       {{"why", "no permission was ever given: every user is an administrator"}});
  }
  const auto old = store::load<store::User>(store_, old_administrator, by);
  if (old && !old->disabled && verify_password(old_administrator, old->password, min_cost)) {
    base::log::warning("auth.well_known_password",
                       {{"user", std::string(old_administrator)},
                        {"why", "it still has the password that the old software gave it"}});
  }
  return {};
}

Result<std::string> Accounts::log_in(std::string_view name, std::string_view password,
                                     std::string_view address, const Deadline& by) {
  PX_CHECK(throttle_.admit(address, name, Deadline::Clock::now()));
  std::string hash;
  bool disabled = false;
  if (!name.empty() && name.size() <= Store::max_key / 2) {
    const auto user = store::load<store::User>(store_, name, by);
    if (user) {
      hash = user->password;
      disabled = user->disabled;
    } else if (user.error().code != Errc::not_found && user.error().code != Errc::invalid) {
      return user.error();
    }
  }
  const bool right = verify_password(password, hash, settings_.bcrypt_cost);
  if (!right || disabled) {
    throttle_.failed(address, name, Deadline::Clock::now());
    return not_them();
  }
  throttle_.succeeded(address, name);
  PX_TRY(std::string token, sessions_.begin(name, by));
  // It took a while: whoever has set another password meanwhile, or removed the user, could not end
  // a session that was not there yet.
  const auto now = store::load<store::User>(store_, name, by);
  if (now && now->password == hash && !now->disabled) return token;
  PX_CHECK(sessions_.end(token, by));
  if (!now && now.error().code != Errc::not_found) return now.error();
  return not_them();
}

Result<Caller> Accounts::caller_of(std::string_view credential, How how, const Deadline& by) {
  const auto denied = [](Error error) {
    return error.code == Errc::denied ? not_them() : std::move(error);
  };
  const bool is_api_token = is_of_script(credential, how);
  std::string user;
  std::string id;
  Role at_most = Role::admin;
  std::int64_t ends_ms = 0;
  if (is_api_token) {
    auto token = api_tokens_.resolve(credential, by);
    if (!token) return denied(std::move(token).error());
    user = std::move(token->owner);
    id = std::move(token->id);
    at_most = token->at_most;
    ends_ms = token->expires_at;
  } else {
    auto session = sessions_.resolve(credential, by);
    if (!session) return denied(std::move(session).error());
    user = std::move(session->user);
    id = std::move(session->id);
    ends_ms = session->ends_ms;
  }
  PX_TRY(const Standing standing, standing_of(user, by));
  if (!standing.may_log_in) return not_them();
  PX_TRY(Caller caller, with_rights(user, by));
  caller.how = is_api_token ? How::token : how;
  caller.password_expired = standing.password_expired && !is_api_token;
  caller.at_most = at_most;
  caller.admin = caller.admin && at_most == Role::admin;
  caller.id = std::move(id);
  caller.ends_ms = ends_ms;
  return caller;
}

Result<bool> Accounts::takes_long(std::string_view credential, How how, const Deadline& by) {
  if (!is_of_script(credential, how)) return false;
  return api_tokens_.takes_long(credential, by);
}

Result<bool> Accounts::log_out(std::string_view token, const Deadline& by) {
  return sessions_.end(token, by);
}

Result<bool> Accounts::is_open(const Deadline& by) {
  PX_TRY(const auto table, permissions_.all(by));
  return table->empty;
}

Result<Caller> Accounts::rights_of(std::string_view name, const Deadline& by) {
  PX_TRY(const store::User found, user(name, by));
  return with_rights(found.name, by);
}

Result<std::vector<store::User>> Accounts::users(const Deadline& by) {
  std::vector<store::User> users;
  PX_CHECK(store::for_each<store::User>(
      store_, [&users](store::User&& user) { users.push_back(std::move(user)); },
      [](std::string_view key, const Error& why) {
        base::log::warning("auth.user", {{"key", std::string(key)}, {"why", why.message()}});
      },
      by));
  return users;
}

Result<store::User> Accounts::user(std::string_view name, const Deadline& by) {
  if (name.empty() || name.size() > Store::max_key / 2) return no_such_user(name);
  auto user = store::load<store::User>(store_, name, by);
  if (!user && user.error().code == Errc::not_found) return no_such_user(name);
  return user;
}

Result<store::User> Accounts::create_user(std::string_view name, std::string_view password,
                                          std::string_view created_by, const Deadline& by) {
  PX_CHECK(check_name(name));
  PX_TRY(std::string hash, hash_of_new(password, settings_.bcrypt_cost));
  const store::User user{.name = std::string(name),
                         .password = std::move(hash),
                         .written = {.created_by = std::string(created_by)}};
  PX_TRY(const auto lease, alone(store_, by));
  // Somebody of that name may have been removed but for half: nobody inherits what they had.
  const auto other = store_.get(keys::user(name), by);
  if (!other && other.error().code != Errc::not_found) return other.error();
  if (!other) PX_CHECK(strip(name, by));
  auto created = store::create(store_, user, std::nullopt, by);
  if (!created && created.error().code == Errc::conflict) {
    return Error{Errc::conflict, "User:" + user.name + " already exists"};
  }
  PX_CHECK(std::move(created));
  forget();
  return this->user(name, by);
}

Result<void> Accounts::set_password(std::string_view name, std::string_view password,
                                    std::string_view updated_by, std::string_view keep,
                                    const Deadline& by) {
  PX_TRY(const store::User before, user(name, by));
  if (before.backing != "redis") {
    return Error{Errc::denied, "the password of " + base::shown(name) + " is not kept here"};
  }
  PX_TRY(const std::string hash, hash_of_new(password, settings_.bcrypt_cost));
  if (before.password_expired && verify_password(password, before.password, min_cost)) {
    return fields::field_error("password", "expected another one: this was for one time only");
  }
  PX_CHECK(change_user(name, updated_by,
                       {{"password", hash}, {"password_expired", fields::spelled(false)}}, by));
  return end_sessions(name, keep, by);
}

Result<void> Accounts::set_disabled(std::string_view name, bool disabled,
                                    std::string_view updated_by, const Deadline& by) {
  PX_TRY(const auto lease, alone(store_, by));
  PX_TRY(auto all, users(by));
  PX_TRY(const auto table, permissions_.all(by));
  const bool before = any_administrator(all, *table);
  const auto found = std::find_if(all.begin(), all.end(),
                                  [name](const store::User& user) { return user.name == name; });
  if (found == all.end()) return no_such_user(name);
  found->disabled = disabled;
  PX_CHECK(check_administrators(before, any_administrator(all, *table)));
  PX_CHECK(change_user(name, updated_by, {{"disabled", fields::spelled(disabled)}}, by));
  if (!disabled) return {};
  return end_sessions(name, {}, by);
}

Result<void> Accounts::remove_user(std::string_view name, const Deadline& by) {
  PX_TRY(const auto lease, alone(store_, by));
  PX_TRY(auto all, users(by));
  PX_TRY(const auto table, permissions_.all(by));
  const bool before = any_administrator(all, *table);
  const auto gone = std::remove_if(all.begin(), all.end(),
                                   [name](const store::User& user) { return user.name == name; });
  if (gone == all.end()) return no_such_user(name);
  all.erase(gone, all.end());
  PX_CHECK(check_administrators(before, any_administrator(all, *table)));
  // The user first: without one nothing of the rest counts.
  PX_CHECK(store::remove<store::User>(store_, name, by));
  forget();
  return strip(name, by);
}

Result<void> Accounts::strip(std::string_view name, const Deadline& by) {
  PX_TRY(const auto table, permissions_.all(by));
  PX_CHECK(end_sessions(name, {}, by));
  PX_CHECK(api_tokens_.remove_all(name, by));
  // Those that went before this one are not in the table any more.
  for (const Permission& row : table->rows()) {
    if (row.subject_type != "user" || row.subject != name) continue;
    PX_TRY(const auto left, permissions_.all(by));
    PX_CHECK(drop(row.id(), *left, by));
  }
  return {};
}

Result<std::string> Accounts::grant(const Permission& permission, const Deadline& by) {
  const Permission wanted = lower_cased(permission);
  PX_CHECK(check_grant(wanted));
  PX_TRY(const auto lease, alone(store_, by));
  return put_grant({}, wanted, by);
}

Result<std::string> Accounts::change_grant(std::string_view id, const Permission& after,
                                           const Deadline& by) {
  const Permission wanted = lower_cased(after);
  PX_CHECK(check_grant(wanted));
  PX_TRY(const auto lease, alone(store_, by));
  return put_grant(id, wanted, by);
}

Result<std::string> Accounts::put_grant(std::string_view replaced, const Permission& wanted,
                                        const Deadline& by) {
  PX_TRY(const auto all, users(by));
  PX_TRY(const auto table, permissions_.all(by));
  const std::string id = wanted.id();
  Permissions::Table next;
  bool found = replaced.empty();
  for (const Permission& row : table->rows()) {
    found = found || row.id() == replaced;
    if (row.id() != replaced && row.id() != id) next.add(row);
  }
  if (!found) return Error{Errc::not_found, "no permission " + base::shown(replaced)};
  next.add(wanted);
  PX_CHECK(check_administrators(any_administrator(all, *table), any_administrator(all, next)));
  PX_CHECK(permissions_.put(wanted, by));
  if (!replaced.empty() && replaced != id) PX_CHECK(permissions_.remove(replaced, by));
  return id;
}

Result<void> Accounts::revoke(std::string_view id, const Deadline& by) {
  PX_TRY(const auto lease, alone(store_, by));
  PX_TRY(const auto all, users(by));
  PX_TRY(const auto table, permissions_.all(by));
  Permissions::Table next;
  next.empty = table->empty;
  for (const Permission& row : table->rows()) {
    if (row.id() != id) next.add(row);
  }
  if (next.rows().size() == table->rows().size()) {
    return Error{Errc::not_found, "no permission " + base::shown(id)};
  }
  PX_CHECK(check_administrators(any_administrator(all, *table), any_administrator(all, next)));
  return drop(id, *table, by);
}

Result<void> Accounts::drop(std::string_view id, const Permissions::Table& table,
                            const Deadline& by) {
  const auto is_other = [id](const Permission& row) { return row.id() != id; };
  if (std::none_of(table.rows().begin(), table.rows().end(), is_other)) {
    // It gives its subject nothing new.
    PX_CHECK(permissions_.put(first_row(), by));
    if (id == first_row().id()) return {};
  }
  PX_CHECK(permissions_.remove(id, by));
  return {};
}

Result<Accounts::Standing> Accounts::standing_of(std::string_view user, const Deadline& by) {
  const std::string name{user};
  std::uint64_t changes = 0;
  {
    const std::lock_guard lock(mutex_);
    changes = changes_;
    const auto found = known_.find(name);
    if (found != known_.end() && Deadline::Clock::now() - found->second.read_at < fresh) {
      return found->second.standing;
    }
  }
  const auto row = store::load<store::User>(store_, user, by);
  if (!row && row.error().code != Errc::not_found && row.error().code != Errc::invalid) {
    return row.error();
  }
  const Standing standing{.may_log_in = row && !row->disabled,
                          .password_expired = row && row->password_expired};
  const std::lock_guard lock(mutex_);
  if (changes == changes_) {
    if (known_.size() >= max_known) known_.clear();
    known_.insert_or_assign(name, Known{standing, Deadline::Clock::now()});
  }
  return standing;
}

Result<Caller> Accounts::with_rights(std::string_view user, const Deadline& by) {
  PX_TRY(const auto table, permissions_.all(by));
  Caller caller{.user = std::string(user),
                .admin = is_administrator(user, *table),
                .grants = table->grants_of(user)};
  // What an API token that is limited to less has a part of.
  const bool said = role_everywhere({.grants = caller.grants}) == Role::admin;
  if (caller.admin && !said) caller.grants.push_back({.role = Role::admin});
  return caller;
}

Result<void> Accounts::change_user(std::string_view name, std::string_view updated_by,
                                   const Record& fields, const Deadline& by) {
  auto changed = store_.update(
      keys::user(name),
      [&](const Record& before) -> Result<Record> {
        if (before.empty()) return no_such_user(name);
        Record after = before;
        for (const auto& [field, value] : fields) after.insert_or_assign(field, value);
        after.insert_or_assign("updated_by", std::string(updated_by));
        after.insert_or_assign("updated_on", std::to_string(settings_.now_ms()));
        return after;
      },
      Life::as_before, by);
  forget();
  return changed;
}

Result<void> Accounts::end_sessions(std::string_view user, std::string_view keep,
                                    const Deadline& by) {
  PX_TRY(const std::size_t ended, sessions_.end_all(user, keep, by));
  base::log::debug("auth.sessions_ended",
                   {{"user", std::string(user)}, {"count", std::to_string(ended)}});
  return {};
}

void Accounts::forget() {
  const std::lock_guard lock(mutex_);
  known_.clear();
  ++changes_;
}

}  // namespace proxycore::auth
