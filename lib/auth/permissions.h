// Permissions: the grants of the store, row by row, and what they give a user.
//
// A row is "proxy_Permission_<subjectType>:<subject>:<scope>:<domain or *>", as later versions of
// the old software write it; rows of groups are kept and listed but give nothing yet. Reads come
// from memory; a watch on the store drops what is there, at most ten seconds late where it cannot.
// Owner: Accounts. Thread: any.
#pragma once

#include "auth/access.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::auth {

struct Permission {
  std::string subject_type = "user";  // or "group"
  std::string subject;
  Grant grant;
  std::string created_by = {};
  std::optional<std::int64_t> created_on = {};  // milliseconds since 1970

  // "user:alice:domain:example.com", "user:alice:global:*"
  [[nodiscard]] std::string id() const;
};

// Errors: invalid (names the field and what was expected).
Result<Permission> permission_from(const Record& record);
Record record_of(const Permission& permission);

class Permissions {
 public:
  // What is in the store. Every request asks for what one user has: that is found by name.
  class Table {
   public:
    bool empty = true;  // no row was ever made; one that cannot be read counts

    void add(Permission row);
    // In the order of their keys.
    [[nodiscard]] const std::vector<Permission>& rows() const noexcept { return rows_; }
    [[nodiscard]] const std::vector<Grant>& grants_of(std::string_view user) const;

   private:
    std::vector<Permission> rows_;
    std::map<std::string, std::vector<Grant>, std::less<>> of_users_;  // by name
  };

  static constexpr Millis fresh{10'000};  // for how long memory is believed

  // The store outlives it.
  explicit Permissions(Store& store);

  // Errors: those of Store::scan.
  Result<std::shared_ptr<const Table>> all(const Deadline& by);
  // Creates or replaces. Errors: those of Store::put.
  Result<void> put(const Permission& permission, const Deadline& by);
  // false: was not there.
  Result<bool> remove(std::string_view id, const Deadline& by);

 private:
  void forget();

  Store& store_;
  std::mutex mutex_;
  std::shared_ptr<const Table> table_;  // nullptr: to be read
  std::uint64_t changes_ = 0;           // what was read before the last one is not kept
  Deadline::Clock::time_point read_at_ = {};
  std::unique_ptr<Watch> watch_;  // last: it ends first
};

}  // namespace proxycore::auth
