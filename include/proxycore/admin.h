// AdminService: the manager as a Handler to mount: REST API, events and pages.
//
// Hosts, users, DNS providers and certificates of a store, for people and scripts: who they are,
// what they may do, and what they did (audit). It answers on threads of its own, so that the loop
// it is mounted on never waits. Not here: listeners (server.h), what the API looks like
// (docs/admin-api.md). Thread: said at each.
#pragma once

#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/handler.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace proxycore {

class AdminService final : public Handler {
 public:
  static constexpr std::size_t max_request = 100'000;  // bytes of a body; more is answered 413
  // What is taken in, so that most of what is too much is refused in the words of the API.
  static constexpr std::size_t max_taken = 10 * max_request;

  struct Surroundings {
    // A page of a proxyd: "/metrics", "/explain?host=x", "/targets", "/readyz". Blocks. not_found:
    // there is none to ask. Empty: as if it always said so.
    std::function<Result<Response>(std::string_view target, const Deadline& by)> proxyd = {};
    Renewer* renewer = nullptr;  // that runs in this process; nullptr: none does
    // The wall clock, in milliseconds since 1970; empty: the system's.
    std::function<std::int64_t()> now_ms = {};
    // Is told the one-time password of the first user; empty: standard error is.
    std::function<void(std::string_view line)> told = {};
  };

  // The store outlives it, and what is in `around`. Makes the first user, "admin", if the store has
  // none. Errors: invalid (admin.*: names the key), io (its password file), those of the store.
  static Result<std::unique_ptr<AdminService>> create(const Config& config, Store& store,
                                                      Surroundings around);
  static Result<std::unique_ptr<AdminService>> create(const Config& config, Store& store) {
    return create(config, store, Surroundings{});
  }
  // Sets the password of a user from the machine itself, for who cannot log in; an empty one: a
  // random one. Returns it. All their sessions end. Blocks, for bcrypt too. Errors: not_found (the
  // user), invalid (the password), those of the store.
  static Result<std::string> set_password(const Config& config, Store& store, std::string_view user,
                                          std::string_view password, const Deadline& by);
  AdminService(const AdminService&) = delete;
  AdminService& operator=(const AdminService&) = delete;
  ~AdminService() override;

  // Any thread; does not block.
  void handle(Request request, Responder responder) override;
  [[nodiscard]] std::size_t max_body() const noexcept override { return max_taken; }
  // Ends streams and threads; what comes after that is answered 503. Any thread but its own.
  void stop();

 private:
  class Parts;
  explicit AdminService(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace proxycore
