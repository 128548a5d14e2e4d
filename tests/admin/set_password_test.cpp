#include "auth/accounts.h"
#include "host/keys.h"
#include <proxycore/admin.h>
#include <proxycore/store.h>

#include <memory>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{20});
}

struct Rig {
  std::unique_ptr<Store> store = open_memory();
  Config config;
  auth::Accounts accounts;

  Rig() : accounts(*store, {.bcrypt_cost = 4}) {
    config.admin.bcrypt_cost = 4;
    REQUIRE(accounts.create_user("alice", "Correct-Horse-7", "admin", soon()));
  }
  [[nodiscard]] bool logs_in(std::string_view password) {
    return accounts.log_in("alice", password, "192.0.2.1", soon()).has_value();
  }
  Result<std::string> set(std::string_view user, std::string_view password) {
    return AdminService::set_password(config, *store, user, password, soon());
  }
};

}  // namespace

TEST_CASE_FIXTURE(Rig, "set password: the new one is taken, the old one is not, and sessions end") {
  const auto session = accounts.log_in("alice", "Correct-Horse-7", "192.0.2.1", soon());
  REQUIRE(session);
  const auto set_to = set("alice", "Another-Horse-8");
  REQUIRE_MESSAGE(set_to, (set_to ? "" : set_to.error().message()));
  CHECK(*set_to == "Another-Horse-8");
  CHECK(logs_in("Another-Horse-8"));
  CHECK_FALSE(logs_in("Correct-Horse-7"));
  auth::Accounts fresh(*store, {.bcrypt_cost = 4});
  CHECK_FALSE(fresh.caller_of(*session, auth::How::session, soon()));
}

TEST_CASE_FIXTURE(Rig, "set password: without one a random one is made that nobody guesses") {
  const auto one = set("alice", "");
  const auto other = set("alice", "");
  REQUIRE(one);
  REQUIRE(other);
  CHECK(one->size() == 24);
  CHECK(*one != *other);
  CHECK(logs_in(*other));
}

TEST_CASE_FIXTURE(Rig, "set password: a user that is not there, or a weak password, is refused") {
  CHECK(set("bob", "").error().message() == "not_found: there is no user 'bob'");
  CHECK(set("alice", "short").error().code == Errc::invalid);
  CHECK(logs_in("Correct-Horse-7"));
}

TEST_CASE_FIXTURE(Rig, "set password: it is on record, without the password") {
  REQUIRE(set("alice", "Another-Horse-8"));
  bool found = false;
  REQUIRE(store->scan(
      "proxycore_audit_",
      [&](std::string_view, Record&& record) {
        for (const auto& [field, value] : record) {
          found = found || value == "user.password";
          CHECK(value.find("Another") == std::string::npos);
          CHECK(value.find("$2b$") == std::string::npos);
        }
      },
      soon()));
  CHECK(found);
}
