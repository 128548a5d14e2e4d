// Accounts: who a caller is, and everything that touches more than one of users, sessions, API
// tokens and permissions.
//
// Whoever has no grant may do nothing, except in an installation of the old software that has no
// permission row at all: there everybody may do everything, as before, until the first one is made.
// `admin` and the old software's `proxyadmin2` are always administrators; the last administrator
// who can log in cannot be removed, disabled or demoted.
// Owner: the manager. Thread: any; everything blocks. log_in(), create_user(), set_password() and
// begin() hash passwords: they belong on the PasswordDesk.
#pragma once

#include "auth/access.h"
#include "auth/api_tokens.h"
#include "auth/permissions.h"
#include "auth/sessions.h"
#include "auth/throttle.h"
#include "store/repo.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace proxycore::auth {

inline constexpr std::string_view first_administrator = "admin";

class Accounts {
 public:
  struct Settings {
    Millis token_ttl{43'200'000};
    unsigned bcrypt_cost = 12;
    bool legacy_tokens = true;
    std::function<std::int64_t()> now_ms = {};  // since 1970; empty: the wall clock
  };

  static constexpr std::size_t max_user_name = 64;  // bytes
  static constexpr Millis fresh{10'000};            // for how long memory is believed
  static constexpr std::size_t max_known = 10'000;  // users in memory

  // The store outlives it.
  Accounts(Store& store, Settings settings);

  // Makes the first administrator if there is no user; the password is that of the file or, without
  // one, random: then it is returned, to be told once. Logs a warning where everybody is an
  // administrator, or where proxyadmin2 still has its well-known password. Errors: invalid and
  // those of read_file (the password file), those of the store.
  Result<std::optional<std::string>> begin(const std::string& password_file, const Deadline& by);

  // The token of a new session. Errors: denied (always the same words), busy (too many tries; see
  // retry_after_s), those of the store.
  Result<std::string> log_in(std::string_view user, std::string_view password,
                             std::string_view address, const Deadline& by);
  // Whose credential that is: a session's token (`how` is session or cookie) or an API token (how
  // becomes token). An API token counts whether the owner's password has expired or not: it cannot
  // be made with a one-time password, and it sets none.
  // Errors: denied (always the same words), those of the store.
  Result<Caller> caller_of(std::string_view credential, How how, const Deadline& by);
  // Whether caller_of() has to verify a password's hash, as API tokens of older software have them:
  // then it belongs on the PasswordDesk.
  Result<bool> takes_long(std::string_view credential, How how, const Deadline& by);
  // Ends the session; false: there was none.
  Result<bool> log_out(std::string_view token, const Deadline& by);

  // Whether everybody is an administrator because no permission row exists.
  Result<bool> is_open(const Deadline& by);
  // What a user may do, as Caller has it. Errors: not_found, those of the store.
  Result<Caller> rights_of(std::string_view user, const Deadline& by);

  Result<std::vector<store::User>> users(const Deadline& by);
  // Errors: not_found.
  Result<store::User> user(std::string_view name, const Deadline& by);
  // Errors: invalid (name, password: "field 'password': ..."), conflict (it exists), those of the
  // store.
  Result<store::User> create_user(std::string_view name, std::string_view password,
                                  std::string_view created_by, const Deadline& by);
  // Every session of the user ends, except `keep` (Caller::id). One that has expired is not taken
  // again. Errors: as create_user, not_found.
  Result<void> set_password(std::string_view name, std::string_view password,
                            std::string_view updated_by, std::string_view keep, const Deadline& by);
  // Errors: not_found, denied (the last administrator).
  Result<void> set_disabled(std::string_view name, bool disabled, std::string_view updated_by,
                            const Deadline& by);
  // With all sessions, API tokens and permissions. Errors: as set_disabled.
  Result<void> remove_user(std::string_view name, const Deadline& by);

  // The id of its row. Errors: invalid (names the field), denied (the last administrator), those of
  // the store.
  Result<std::string> grant(const Permission& permission, const Deadline& by);
  // Gives `after` in place of the row `id`: made before that is removed. Errors: as grant,
  // not_found.
  Result<std::string> change_grant(std::string_view id, const Permission& after,
                                   const Deadline& by);
  // Errors: not_found, denied.
  Result<void> revoke(std::string_view id, const Deadline& by);

  Permissions& permissions() noexcept { return permissions_; }
  ApiTokens& api_tokens() noexcept { return api_tokens_; }
  Sessions& sessions() noexcept { return sessions_; }

 private:
  // What a user's record says about whoever shows their session or API token.
  struct Standing {
    bool may_log_in;
    bool password_expired;
  };
  struct Known {
    Standing standing;
    Deadline::Clock::time_point read_at;
  };

  Result<void> warn(const Deadline& by);
  Result<Standing> standing_of(std::string_view user, const Deadline& by);
  Result<Caller> with_rights(std::string_view user, const Deadline& by);
  // Errors: not_found; nobody is made again who has just gone.
  Result<void> change_user(std::string_view name, std::string_view updated_by, const Record& fields,
                           const Deadline& by);
  // Takes from a user who is not there what they had: sessions, API tokens, permissions.
  Result<void> strip(std::string_view name, const Deadline& by);
  Result<void> end_sessions(std::string_view user, std::string_view keep, const Deadline& by);
  // `replaced` goes, if it is one.
  Result<std::string> put_grant(std::string_view replaced, const Permission& wanted,
                                const Deadline& by);
  // Never leaves the table empty.
  Result<void> drop(std::string_view id, const Permissions::Table& table, const Deadline& by);
  void forget();

  Store& store_;
  const Settings settings_;
  Permissions permissions_;
  Sessions sessions_;
  ApiTokens api_tokens_;
  Throttle throttle_;
  std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;  // users
  std::uint64_t changes_ = 0;                     // what was read before the last one is not kept
  std::unique_ptr<Watch> watch_;                  // last: it ends first
};

}  // namespace proxycore::auth
