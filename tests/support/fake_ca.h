// FakeCa: an ACME server that does what a test tells it, for what a real one in tests cannot be
// made to do: failures, delays, renewal information, profiles, strange chains.
//
// What the script does not answer goes as it should: every challenge is met, every order issued,
// signatures are not looked at. Nonces count. Thread: the script runs on the server's.
#pragma once

#include "support/authority.h"
#include "support/http_server.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

struct CaCall {
  std::string what;  // "directory", "nonce", "account", "new-order", "order", "authz", "challenge",
                     // "finalize", "cert", "revoke", "key-change", "renewal-info"
  std::string target;  // "/authz/2"
  std::string header;  // the protected one, JSON; empty: not signed
  std::string payload;
};

class FakeCa {
 public:
  // A reply is the answer; without one it goes as it should.
  using Script = std::function<std::optional<Reply>(const CaCall& call)>;

  explicit FakeCa(Script script);
  FakeCa() : FakeCa([](const CaCall&) { return std::nullopt; }) {}

  [[nodiscard]] std::string url(std::string_view target = "/directory") const;
  // How often that was asked for.
  [[nodiscard]] int count(const std::string& what) const;
  // What was sent with the last of that; "" before.
  [[nodiscard]] std::string payload(const std::string& what) const;
  // What names were proven by, at the moment they were: "a.test http-01".
  [[nodiscard]] std::vector<std::string> challenged() const;
  // What became of an authorization, by its target.
  [[nodiscard]] std::string status(const std::string& target) const;

  std::string directory_json = {};   // its own, if not empty
  int processing = 0;                // how often an order is said to be processing
  std::string challenge_error = {};  // JSON of what every challenge fails with
  std::int64_t lifetime_s = 90 * 86'400;
  const Authority root{Wanted{.common_name = "Fake Root", .key_ids = true}};
  const Authority intermediate{root, Wanted{.common_name = "Fake Intermediate", .key_ids = true}};

  static Reply problem(int status, std::string_view type, std::string_view detail = "no",
                       std::vector<std::pair<std::string, std::string>> headers = {});

 private:
  struct Authz {
    std::string name;
    std::string status = "pending";
  };
  struct Order {
    std::vector<std::string> names;
    std::vector<std::size_t> authz;
    std::string status = "pending";
    std::string chain = {};
    int polls = 0;
  };

  Reply answer(const Ask& ask);
  Reply act(const CaCall& call);
  std::string fresh_nonce();
  std::string order_json(std::size_t number);
  std::string authz_json(std::size_t number);

  Script script_;
  mutable std::mutex mutex_;
  std::map<std::string, int> counts_;
  std::map<std::string, std::string> payloads_;
  std::set<std::string> nonces_;
  int next_nonce_ = 0;
  std::vector<Authz> authz_;
  std::vector<Order> orders_;
  std::vector<std::string> challenged_;
  std::unique_ptr<HttpServer> server_;  // the last: it asks the others
};

}  // namespace proxycore::test
