// H2Heap: memory for nghttp2: blocks of a few sizes that are kept when they are freed.
//
// nghttp2 allocates several times per request; a warm request takes nothing from the heap. Blocks
// that hold a whole frame begin at a page: of the one that every session keeps only the front is
// ever written, and what is not written takes no memory.
// Owner: a worker's H2Memory. Thread: its worker's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace proxycore::http {

class H2Heap {
 public:
  H2Heap() = default;
  H2Heap(const H2Heap&) = delete;
  H2Heap& operator=(const H2Heap&) = delete;
  ~H2Heap();

  // As malloc, free and realloc of the C library; null never comes out of take().
  void* take(std::size_t size);
  void give_back(void* block) noexcept;
  void* resize(void* block, std::size_t size);
  // Bytes of the blocks that are in use.
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  // Before every block.
  struct alignas(16) Header {
    std::uint32_t capacity;  // of the block, without the header
    std::uint32_t kind;      // index of its size; `kinds` if it is too large to be kept
    Header* next_free;
  };
  static constexpr std::size_t step = 64;
  static constexpr std::size_t small_kinds = 16;  // multiples of `step`
  static constexpr std::array<std::uint32_t, 4> large = {2048, 4096, 8192, (20 << 10) - 16};
  static constexpr std::size_t kinds = small_kinds + large.size();
  static constexpr std::size_t kept_per_kind = 1 << 20;  // bytes of free blocks

  static std::size_t kind_of(std::size_t size) noexcept;
  static std::size_t capacity_of(std::size_t kind) noexcept {
    return kind < small_kinds ? (kind + 1) * step : large[kind - small_kinds];
  }
  static void release(Header* header) noexcept;

  std::array<Header*, kinds> free_{};
  std::array<std::size_t, kinds> free_bytes_{};
  std::size_t used_ = 0;
};

}  // namespace proxycore::http
