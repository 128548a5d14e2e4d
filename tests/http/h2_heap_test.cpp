#include "http/h2_heap.h"

#include "support/count_allocations.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using http::H2Heap;

TEST_CASE("h2 heap: blocks of any size, aligned, and taken again once given back") {
  H2Heap heap;
  for (const std::size_t size : {0U, 1U, 16U, 64U, 65U, 1000U, 1024U, 1025U, 4096U, 8193U, 16'402U,
                                 20'464U, 20'465U, 1U << 20}) {
    CAPTURE(size);
    void* const block = heap.take(size);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 16 == 0);
    std::memset(block, 0xff, size);
    CHECK(heap.used() >= size);
    heap.give_back(block);
    CHECK(heap.used() == 0);
    const std::size_t before = test::allocations();
    void* const again = heap.take(size);
    CHECK((test::allocations() == before) == (size <= 20'464));
    heap.give_back(again);
  }
  heap.give_back(nullptr);
}

TEST_CASE("h2 heap: a resized block keeps what is in it") {
  H2Heap heap;
  auto* block = static_cast<char*>(heap.resize(nullptr, 10));
  std::memcpy(block, "0123456789", 10);
  for (const std::size_t size : {20U, 64U, 100U, 5000U, 30'000U}) {
    block = static_cast<char*>(heap.resize(block, size));
    CHECK(std::memcmp(block, "0123456789", 10) == 0);
  }
  heap.give_back(block);
  CHECK(heap.used() == 0);
}

TEST_CASE("h2 heap: a block that holds a frame begins at a page") {
  H2Heap heap;
  void* const block = heap.take(16'402);
  CHECK(reinterpret_cast<std::uintptr_t>(block) % 4096 == 16);
  heap.give_back(block);
}

TEST_CASE("h2 heap: what is kept is bounded") {
  H2Heap heap;
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(heap.take(4096));
  for (void* block : blocks) heap.give_back(block);
  const std::size_t before = test::allocations();
  for (void*& block : blocks) block = heap.take(4096);
  CHECK(test::allocations() - before == 1000 - 256);
  for (void* block : blocks) heap.give_back(block);
}
