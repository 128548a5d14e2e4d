// pause(): waits on purpose: because another side asked for patience, or between two looks.
//
// Not here: waiting for something that can tell when it is there (that wakes up by itself).
// Thread: any control thread; blocks.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>

namespace proxycore::base {

// Comes back when `span` has passed. Errors: timeout (the deadline came first), cancelled (at
// once).
Result<void> pause(Millis span, const Deadline& by);

}  // namespace proxycore::base
