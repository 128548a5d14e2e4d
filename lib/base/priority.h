// step_back(): work that gives way to other work: less of the CPU while somebody else wants it.
//
// It is the calling thread's own, and of the threads that it starts. There is no way back.
// Source: setpriority(2), by which threads of Linux differ. Thread: any.
#pragma once

#include <algorithm>

#include <sys/resource.h>
#include <unistd.h>

namespace proxycore::base {

// By so many steps of nice(2), of which there are 19. Where that is forbidden, nothing changes.
inline void step_back(int steps) noexcept {
  const auto thread = static_cast<id_t>(::gettid());
  const int now = ::getpriority(PRIO_PROCESS, thread);
  (void)::setpriority(PRIO_PROCESS, thread, std::min(19, now + steps));
}

}  // namespace proxycore::base
