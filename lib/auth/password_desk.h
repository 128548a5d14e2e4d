// PasswordDesk: where passwords are hashed and verified, so that nothing else waits for that.
//
// Each takes a core for a quarter of a second; two threads do it, which give way to all others, and
// whoever comes when the queue is full is told to try again. Owner: the manager. Thread: as
// Executor.
#pragma once

#include "base/executor.h"

namespace proxycore::auth {

class PasswordDesk final : public base::Executor {
 public:
  static constexpr std::size_t threads = 2;
  static constexpr std::size_t max_waiting = 64;

  PasswordDesk() : Executor(threads, max_waiting, 19) {}
};

}  // namespace proxycore::auth
