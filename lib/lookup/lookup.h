// Lookup: from a host name to a Route, through ordered tiers.
//
// A tier answers now, or later through the Waiter; never both.
// Not here: the tiers themselves, one file each. Thread: its worker's.
#pragma once

#include "base/list.h"
#include <proxycore/host.h>
#include <proxycore/result.h>

#include <memory>
#include <optional>
#include <string_view>

namespace proxycore::lookup {

using Answer = Result<std::shared_ptr<const Route>>;  // Errc::not_found: no such host

// Destroying it cancels.
class Waiter : public base::ListNode<> {
 public:
  virtual void on_answer(Answer answer) = 0;

 protected:
  ~Waiter() = default;
};

class Tier {
 public:
  virtual ~Tier() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;  // metric label
  // `host` is canonical (HostName::normalize).
  virtual std::optional<Answer> find(std::string_view host, Waiter& later) = 0;
};

}  // namespace proxycore::lookup
