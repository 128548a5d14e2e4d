// ScriptedTier: a lookup tier that the test answers for; Asker: who waits for answers.
//
// Thread: the test's.
#pragma once

#include "lookup/lookup.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

inline std::shared_ptr<const Route> route_to(std::string pattern, std::uint16_t port = 80) {
  Route route;
  route.pattern = std::move(pattern);
  route.targets = {Target{"127.0.0.1", port}};
  return std::make_shared<const Route>(std::move(route));
}

// What a tier said, as a text: the route's pattern, "unknown", or the error's code.
inline std::string told(const lookup::Answer& answer) {
  if (!answer) return std::string(name_of(answer.error().code));
  return *answer ? (*answer)->pattern : "unknown";
}

struct Asker final : lookup::Waiter {
  void on_answer(lookup::Answer answer) override {
    heard = std::move(answer);
    ++times;
    if (then) then();
  }
  [[nodiscard]] std::string text() const { return heard ? told(*heard) : "nothing"; }

  std::optional<lookup::Answer> heard;
  int times = 0;
  std::function<void()> then;
};

class ScriptedTier final : public lookup::Tier {
 public:
  explicit ScriptedTier(std::string name, bool remote = false)
      : name_(std::move(name)), remote_(remote) {}

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] bool remote() const noexcept override { return remote_; }
  std::optional<lookup::Answer> find(std::string_view host, lookup::Waiter& later) override {
    asked.emplace_back(host);
    const auto at = answers.find(host);
    if (at != answers.end()) return at->second;
    if (!remote_) return lookup::unknown();
    waiting.emplace_back().push_back(later);
    return std::nullopt;
  }
  void learn(std::string_view host, const lookup::Answer& answer) override {
    learned.push_back(std::string(host) + "=" + told(answer));
  }
  [[nodiscard]] std::shared_ptr<const Route> last_known(std::string_view host) override {
    const auto at = before.find(host);
    return at != before.end() ? at->second : nullptr;
  }
  void forget(std::span<const std::string> patterns) override {
    forgotten.insert(forgotten.end(), patterns.begin(), patterns.end());
  }
  void forget_all() override { forgotten.emplace_back("everything"); }

  // Answers the oldest question.
  void answer(const lookup::Answer& answer) {
    base::List<lookup::Waiter> waiter;
    waiter.splice(waiting.front());
    waiting.pop_front();
    if (!waiter.empty()) waiter.pop_front().on_answer(answer);
  }

  std::map<std::string, lookup::Answer, std::less<>> answers;  // given at once
  std::map<std::string, std::shared_ptr<const Route>, std::less<>> before;
  std::deque<base::List<lookup::Waiter>> waiting;
  std::vector<std::string> asked;
  std::vector<std::string> learned;
  std::vector<std::string> forgotten;

 private:
  const std::string name_;
  const bool remote_;
};

}  // namespace proxycore::test
