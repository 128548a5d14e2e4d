#include "admin/changes.h"
#include "admin/host_index.h"
#include "auth/accounts.h"
#include "auth/secret.h"
#include "base/clock.h"
#include "host/keys.h"
#include <proxycore/admin.h>

#include <utility>

namespace proxycore {

namespace {

constexpr std::string_view who = "proxy-admin";  // for the audit, and who changed the record last
constexpr std::size_t random_bytes = 12;

}  // namespace

Result<std::string> AdminService::set_password(const Config& config, Store& store,
                                               std::string_view user, std::string_view password,
                                               const Deadline& by) {
  std::string chosen(password);
  if (chosen.empty()) {
    PX_TRY(chosen, auth::random_hex(random_bytes));
  }
  const std::string key = host::keys::user(user);
  auto before = store.get(key, by);
  if (!before) {
    if (before.error().code != Errc::not_found) return std::move(before).error();
    return Error{Errc::not_found, "there is no user '" + std::string(user) + "'"};
  }
  auth::Accounts accounts(store, {.token_ttl = config.admin.token_ttl,
                                  .bcrypt_cost = config.admin.bcrypt_cost,
                                  .legacy_tokens = config.admin.legacy_tokens});
  PX_CHECK(accounts.set_password(user, chosen, who, {}, by));
  admin::HostIndex no_hosts;
  admin::Changes changes(store, no_hosts, base::now_ms);
  PX_TRY(const Record after, store.get(key, by));
  changes.record({.user = std::string(who)}, "user.password", key, *before, after, by);
  return chosen;
}

}  // namespace proxycore
