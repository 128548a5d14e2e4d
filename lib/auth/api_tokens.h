// ApiTokens: secrets that scripts show in place of a log-in, "prx_<24 hex>_<48 hex>".
//
// The first part names the record, proxy_ApiToken_<id>; of the second the record has a hash alone:
// bcrypt in rows of older software, SHA-256 in ours, since 192 random bits need no slow one. A
// token stands for its owner and may be limited to a role and in time. Owner: Accounts. Thread:
// any; blocks.
#pragma once

#include "auth/access.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
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

struct ApiToken {
  std::string id = {};  // 24 hex digits
  std::string name;
  std::string description = {};
  std::string owner;              // "created_by"
  Role at_most = Role::admin;     // "role"
  std::int64_t created_on = 0;    // milliseconds since 1970, as all here
  std::int64_t expires_at = 0;    // 0: never
  std::int64_t last_used_on = 0;  // 0: never; a minute coarse
  bool is_valid = true;
};

class ApiTokens {
 public:
  using Clock = std::function<std::int64_t()>;  // milliseconds since 1970

  static constexpr Millis fresh{10'000};  // for how long memory is believed
  static constexpr std::size_t max_known = 1'000;
  static constexpr std::size_t max_of_owner = 100;
  static constexpr Millis use_noted_every{60'000};

  // The store outlives it.
  ApiTokens(Store& store, Clock now_ms);

  static bool looks_like_one(std::string_view text) noexcept { return text.starts_with("prx_"); }

  struct Made {
    ApiToken token;
    std::string secret;  // the whole text, shown once
  };
  // `wanted` without id and times of its own. Errors: invalid (name, expiry), limit (so many of
  // that owner), those of the store.
  Result<Made> create(ApiToken wanted, const Deadline& by);
  // A new secret for it; the old one ends. Errors: not_found, those of the store.
  Result<Made> rotate(std::string_view id, const Deadline& by);
  // Name, description, role and expiry. Errors: as create, not_found.
  Result<void> change(const ApiToken& token, const Deadline& by);
  Result<ApiToken> load(std::string_view id, const Deadline& by);
  // Of one owner; empty: all. In the order of ids.
  Result<std::vector<ApiToken>> list(std::string_view owner, const Deadline& by);
  // false: was not there.
  Result<bool> remove(std::string_view id, const Deadline& by);
  Result<std::size_t> remove_all(std::string_view owner, const Deadline& by);

  // Verifying what an old row has takes as long as a password, the first time.
  // Errors: denied (whatever is wrong with it), those of the store.
  Result<ApiToken> resolve(std::string_view text, const Deadline& by);
  // Whether resolve() would take that long: then it belongs on the PasswordDesk.
  Result<bool> takes_long(std::string_view text, const Deadline& by);

 private:
  struct Known {
    ApiToken token;
    std::string secret;  // its digest
    Deadline::Clock::time_point read_at;
  };

  // A secret that a bcrypt hash was verified with: as long as the row has that hash, no other is
  // right. Stays when the record is forgotten.
  struct Verified {
    std::string hash;
    std::string secret;  // its digest
  };

  // nullopt: only bcrypt can tell.
  std::optional<bool> matches_at_once(const std::string& id, std::string_view secret,
                                      std::string_view hash);
  bool matches(const std::string& id, std::string_view secret, const std::string& hash);
  void note_use(const ApiToken& token, std::int64_t now, const Deadline& by);
  void forget();

  Store& store_;
  const Clock now_ms_;
  std::mutex mutex_;
  std::unordered_map<std::string, Known> known_;        // by id
  std::unordered_map<std::string, Verified> verified_;  // by id
  std::uint64_t changes_ = 0;     // what was read before the last one is not kept
  std::unique_ptr<Watch> watch_;  // last: it ends first
};

}  // namespace proxycore::auth
