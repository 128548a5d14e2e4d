#include "http/h2_heap.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace proxycore::http {

namespace {
constexpr std::size_t page = 4096;
}

H2Heap::~H2Heap() {
  for (Header* header : free_) {
    while (header != nullptr) release(std::exchange(header, header->next_free));
  }
}

std::size_t H2Heap::kind_of(std::size_t size) noexcept {
  if (size <= small_kinds * step) return size == 0 ? 0 : (size - 1) / step;
  const auto* found = std::lower_bound(large.begin(), large.end(), size);
  return small_kinds + static_cast<std::size_t>(found - large.begin());
}

void* H2Heap::take(std::size_t size) {
  const std::size_t kind = kind_of(size);
  Header* header = nullptr;
  if (kind == kinds) {
    header = new (::operator new(sizeof(Header) + size))
        Header{static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(kind), nullptr};
  } else if (free_[kind] != nullptr) {
    header = std::exchange(free_[kind], free_[kind]->next_free);
    free_bytes_[kind] -= header->capacity;
  } else {
    const std::size_t capacity = capacity_of(kind);
    const std::size_t bytes = sizeof(Header) + capacity;
    void* memory =
        kind == kinds - 1 ? ::operator new (bytes, std::align_val_t{page}) : ::operator new(bytes);
    header = new (memory)
        Header{static_cast<std::uint32_t>(capacity), static_cast<std::uint32_t>(kind), nullptr};
  }
  used_ += header->capacity;
  return header + 1;
}

void H2Heap::give_back(void* block) noexcept {
  if (block == nullptr) return;
  Header* header = static_cast<Header*>(block) - 1;
  used_ -= header->capacity;
  const std::size_t kind = header->kind;
  if (kind == kinds || free_bytes_[kind] + header->capacity > kept_per_kind) {
    release(header);
    return;
  }
  free_bytes_[kind] += header->capacity;
  header->next_free = free_[kind];
  free_[kind] = header;
}

void* H2Heap::resize(void* block, std::size_t size) {
  if (block == nullptr) return take(size);
  const std::size_t had = (static_cast<Header*>(block) - 1)->capacity;
  if (size <= had) return block;
  void* larger = take(size);
  std::memcpy(larger, block, had);
  give_back(block);
  return larger;
}

void H2Heap::release(Header* header) noexcept {
  if (header->kind == kinds - 1) {
    ::operator delete (header, std::align_val_t{page});
  } else {
    ::operator delete(header);
  }
}

}  // namespace proxycore::http
