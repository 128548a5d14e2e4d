// PX_ASSERT: states an invariant of our own code; never used on what a peer sent.
//
// On in debug builds, tests and fuzzing; compiled out when NDEBUG is defined.
#pragma once

#include <cassert>

#ifdef NDEBUG
#define PX_ASSERT(condition) static_cast<void>(0)
#else
#define PX_ASSERT(condition) assert(condition)
#endif
