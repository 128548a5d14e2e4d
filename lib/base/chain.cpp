#include "base/chain.h"

#include "base/assert.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace proxycore::base {

namespace {
constexpr std::size_t kept_segments = 4096;
}

Slabs::~Slabs() {
  for (Slab* slab : free_) {
    while (slab != nullptr) ::operator delete(std::exchange(slab, slab->next_free));
  }
  while (free_segments_ != nullptr) {
    delete std::exchange(free_segments_, free_segments_->next);
  }
}

std::size_t Slabs::class_of(std::uint32_t capacity) noexcept {
  return static_cast<std::size_t>(std::find(classes.begin(), classes.end(), capacity) -
                                  classes.begin());
}

SlabRef Slabs::take(std::size_t size) {
  std::size_t at = 0;
  while (classes[at] < size) ++at;
  Slab* slab = free_[at];
  if (slab != nullptr) {
    free_[at] = slab->next_free;
    free_bytes_[at] -= slab->capacity;
    return SlabRef(slab);
  }
  void* memory = ::operator new(sizeof(Slab) + classes[at]);
  allocated_ += classes[at];
  slab = new (memory) Slab{this, nullptr, classes[at], 0};
  return SlabRef(slab);
}

void Slabs::give_back(Slab* slab) noexcept {
  const std::size_t at = class_of(slab->capacity);
  if (free_bytes_[at] + slab->capacity > kept_per_class) {
    allocated_ -= slab->capacity;
    ::operator delete(slab);
    return;
  }
  free_bytes_[at] += slab->capacity;
  slab->next_free = free_[at];
  free_[at] = slab;
}

Segment* Slabs::take_segment() {
  if (free_segments_ == nullptr) return new Segment;
  --free_segment_count_;
  Segment* segment = std::exchange(free_segments_, free_segments_->next);
  segment->next = nullptr;
  return segment;
}

void Slabs::give_back(Segment* segment) noexcept {
  segment->slab.release();
  if (free_segment_count_ >= kept_segments) {
    delete segment;
    return;
  }
  ++free_segment_count_;
  segment->next = free_segments_;
  free_segments_ = segment;
}

void Chain::push(Segment* segment) noexcept {
  if (tail_ == nullptr) {
    head_ = segment;
  } else {
    tail_->next = segment;
  }
  tail_ = segment;
}

void Chain::pop() noexcept {
  Segment* first = head_;
  head_ = first->next;
  if (head_ == nullptr) tail_ = nullptr;
  slabs_->give_back(first);
}

void Chain::append(const Bytes& bytes) {
  if (bytes.slab == nullptr || bytes.size < share_from || bytes.size < bytes.slab->capacity / 4) {
    copy(bytes.data, bytes.size);
    return;
  }
  share(*bytes.slab, static_cast<std::size_t>(bytes.data - bytes.slab->data()), bytes.size);
}

void Chain::share(Slab& slab, std::size_t begin, std::size_t size) {
  Segment* segment = slabs_->take_segment();
  segment->slab = SlabRef(&slab);
  segment->begin = static_cast<std::uint32_t>(begin);
  segment->end = static_cast<std::uint32_t>(begin + size);
  segment->ours = false;
  push(segment);
  size_ += size;
}

char* Chain::reserve(std::size_t size) {
  if (char* room = tail_room(size)) return room;
  Segment* segment = slabs_->take_segment();
  segment->slab = slabs_->take(std::max<std::size_t>(size, Slabs::classes[0]));
  segment->begin = segment->end = 0;
  segment->ours = true;
  push(segment);
  return segment->slab->data();
}

void Chain::copy_slowly(const char* data, std::size_t size) {
  while (size > 0) {
    std::size_t room = tail_ != nullptr && tail_->ours ? tail_->slab->capacity - tail_->end : 0;
    if (room == 0) {
      // Much to copy: larger slabs, so that the pieces stay few.
      reserve(std::min<std::size_t>(size, 64 << 10));
      room = tail_->slab->capacity;
    }
    const std::size_t part = std::min(size, room);
    std::memcpy(tail_->slab->data() + tail_->end, data, part);
    commit(part);
    data += part;
    size -= part;
  }
}

std::size_t Chain::peek(iovec* out, std::size_t room) const noexcept {
  std::size_t count = 0;
  for (Segment* at = head_; at != nullptr && count < room; at = at->next) {
    if (at->begin == at->end) continue;
    out[count++] = {at->slab->data() + at->begin, at->end - at->begin};
  }
  return count;
}

std::size_t Chain::hold(SlabRef* out, std::size_t room) const noexcept {
  std::size_t count = 0;
  for (Segment* at = head_; at != nullptr && count < room; at = at->next) {
    if (at->begin != at->end) out[count++] = at->slab;
  }
  return count;
}

Bytes Chain::front() const noexcept {
  Segment* at = head_;
  while (at->begin == at->end) at = at->next;
  return {at->slab->data() + at->begin, at->end - at->begin, at->slab.get()};
}

void Chain::consume(std::size_t count) noexcept {
  PX_ASSERT(count <= size_);
  size_ -= count;
  if (size_ == 0) {
    clear();
    return;
  }
  while (count > 0) {
    const std::size_t here = head_->end - head_->begin;
    if (count < here) {
      head_->begin += static_cast<std::uint32_t>(count);
      return;
    }
    count -= here;
    pop();
  }
}

void Chain::clear() noexcept {
  while (head_ != nullptr) pop();
  size_ = 0;
}

void Chain::move(std::size_t count, Chain& other) {
  PX_ASSERT(count <= size_);
  while (count > 0) {
    const Bytes piece = front();
    const std::size_t part = std::min(count, piece.size);
    if (part < share_from) {
      other.copy(piece.data, part);
    } else {
      // Held by this chain already: sharing keeps no more memory alive than there was.
      other.share(*piece.slab, static_cast<std::size_t>(piece.data - piece.slab->data()), part);
    }
    consume(part);
    count -= part;
  }
}

void Chain::splice(Chain& other) noexcept {
  if (other.head_ == nullptr) return;
  if (tail_ == nullptr) {
    head_ = other.head_;
  } else {
    tail_->next = other.head_;
  }
  tail_ = other.tail_;
  size_ += other.size_;
  other.head_ = other.tail_ = nullptr;
  other.size_ = 0;
}

}  // namespace proxycore::base
