// What tests of ACME have around a client: somebody who answers for http-01, and a Progress that
// remembers, and ends things where it is told to. For dns-01: pebble_dns.h.
//
// Thread: the one that made them.
#pragma once

#include "acme/http01.h"
#include "certs/issuer.h"
#include "support/http_server.h"
#include <proxycore/acme.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

// A web server that has tokens and nothing else.
class TokenServer {
 public:
  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  [[nodiscard]] acme::Http01::Place place() {
    return {.put = [this](const acme::Proof& proof, const Deadline&) -> Result<void> {
              const std::lock_guard lock(mutex_);
              ++put_;
              tokens_[proof.token] = wrong ? "something else" : proof.key_authorization;
              return {};
            },
            .remove =
                [this](const acme::Proof& proof) {
                  const std::lock_guard lock(mutex_);
                  tokens_.erase(proof.token);
                }};
  }
  [[nodiscard]] std::size_t tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_.size();
  }
  [[nodiscard]] int put() {
    const std::lock_guard lock(mutex_);
    return put_;
  }

  bool wrong = false;  // what it answers

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> tokens_;
  int put_ = 0;
  HttpServer server_{[this](const Ask& ask) -> Reply {
    constexpr std::string_view prefix = "/.well-known/acme-challenge/";
    const std::lock_guard lock(mutex_);
    if (!ask.path().starts_with(prefix)) return {404};
    const auto found = tokens_.find(ask.path().substr(prefix.size()));
    return found == tokens_.end() ? Reply{404} : Reply{200, found->second};
  }};
};

// Remembers what it is told, and ends the work at one step.
class ToldProgress final : public certs::Progress {
 public:
  Result<void> on_step(acme::Step step, std::string_view detail) override {
    steps.push_back(std::string(acme::name_of(step)) + " " + std::string(detail));
    if (before) before(step);
    if (end_at == step) return Error{Errc::cancelled, "as the test wants it"};
    return {};
  }
  Result<void> on_account(const acme::Account& account) override {
    accounts.push_back(account.url);
    return {};
  }
  Result<void> on_order(std::string_view url) override {
    orders.emplace_back(url);
    return {};
  }
  [[nodiscard]] bool did(std::string_view step) const {
    return std::any_of(steps.begin(), steps.end(),
                       [&](const std::string& one) { return one.starts_with(step); });
  }
  // What would be gone on with.
  [[nodiscard]] std::string order() const { return orders.empty() ? std::string() : orders.back(); }

  std::optional<acme::Step> end_at = {};
  std::function<void(acme::Step)> before = {};
  std::vector<std::string> steps;
  std::vector<std::string> accounts;
  std::vector<std::string> orders;
};

}  // namespace proxycore::test
