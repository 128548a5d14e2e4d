// Counts heap allocations, for tests that claim there are none.
//
// Linking count_allocations.cpp replaces the global operator new and delete of the test program by
// ones that count and then call malloc and free (so sanitizers still see every block).
// Thread: each counts its own.
#pragma once

#include <cstddef>

namespace proxycore::test {

// How often this thread has called operator new.
std::size_t allocations() noexcept;

}  // namespace proxycore::test
