// Chain: a queue of bytes made of shared slabs; Slabs: a worker's supply of them; Bytes: a view.
//
// Reads land in slabs, and a part of a slab travels from the origin's socket to the client's
// without being copied: Bytes remembers its slab, and appending long Bytes to a Chain shares the
// slab rather than copying it. Short parts are copied behind each other, so that a head and a small
// body leave in one write. Reference counts are plain integers: all of it belongs to one worker.
// Not here: sockets (io/). Thread: its worker's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include <sys/uio.h>

namespace proxycore::base {

class Slabs;

// A block of memory with a reference count; its bytes follow the header.
struct Slab {
  Slabs* home;
  Slab* next_free;
  std::uint32_t capacity;  // bytes
  std::uint32_t refs;

  [[nodiscard]] char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
};

class SlabRef {
 public:
  SlabRef() = default;
  explicit SlabRef(Slab* slab) noexcept : slab_(slab) {
    if (slab_ != nullptr) ++slab_->refs;
  }
  SlabRef(const SlabRef& other) noexcept : SlabRef(other.slab_) {}
  SlabRef(SlabRef&& other) noexcept : slab_(std::exchange(other.slab_, nullptr)) {}
  SlabRef& operator=(SlabRef other) noexcept {
    std::swap(slab_, other.slab_);
    return *this;
  }
  ~SlabRef() { release(); }

  [[nodiscard]] Slab* get() const noexcept { return slab_; }
  [[nodiscard]] Slab* operator->() const noexcept { return slab_; }
  explicit operator bool() const noexcept { return slab_ != nullptr; }
  // Whether nobody else holds it, so that its bytes may be overwritten.
  [[nodiscard]] bool sole() const noexcept { return slab_ != nullptr && slab_->refs == 1; }
  inline void release() noexcept;

 private:
  Slab* slab_ = nullptr;
};

// Bytes that live for the call they are passed to, unless a Chain takes a share of their slab.
struct Bytes {
  const char* data = nullptr;
  std::size_t size = 0;
  Slab* slab = nullptr;  // where they lie, if in a slab

  Bytes() = default;
  Bytes(const char* at, std::size_t count, Slab* in = nullptr) : data(at), size(count), slab(in) {}
  Bytes(std::string_view text) : data(text.data()), size(text.size()) {}  // NOLINT: a view of text

  [[nodiscard]] bool empty() const noexcept { return size == 0; }
  [[nodiscard]] std::string_view text() const noexcept { return {data, size}; }
  [[nodiscard]] Bytes part(std::size_t from, std::size_t count) const noexcept {
    return {data + from, count, slab};
  }
  [[nodiscard]] Bytes from(std::size_t at) const noexcept { return part(at, size - at); }
};

// A piece of a Chain; nodes are recycled by Slabs.
struct Segment {
  Segment* next = nullptr;
  SlabRef slab = {};
  std::uint32_t begin = 0;  // offsets in the slab
  std::uint32_t end = 0;
  bool ours = false;  // the slab was taken by this chain: bytes may be added behind `end`
};

class Slabs {
 public:
  static constexpr std::array<std::uint32_t, 4> classes = {4 << 10, 16 << 10, 64 << 10, 256 << 10};
  static constexpr std::size_t kept_per_class = 4 << 20;  // bytes of free slabs kept, per class

  Slabs() = default;
  Slabs(const Slabs&) = delete;
  Slabs& operator=(const Slabs&) = delete;
  ~Slabs();

  // A slab of the smallest class that holds `size` bytes (at most 256 KiB).
  SlabRef take(std::size_t size);
  Segment* take_segment();
  void give_back(Segment* segment) noexcept;
  // Bytes of all slabs that exist now, free ones included.
  [[nodiscard]] std::size_t allocated() const noexcept { return allocated_; }

 private:
  friend class SlabRef;
  void give_back(Slab* slab) noexcept;
  static std::size_t class_of(std::uint32_t capacity) noexcept;

  std::array<Slab*, classes.size()> free_{};
  std::array<std::size_t, classes.size()> free_bytes_{};
  Segment* free_segments_ = nullptr;
  std::size_t free_segment_count_ = 0;
  std::size_t allocated_ = 0;
};

inline void SlabRef::release() noexcept {
  if (slab_ != nullptr && --slab_->refs == 0) slab_->home->give_back(slab_);
  slab_ = nullptr;
}

class Chain {
 public:
  explicit Chain(Slabs& slabs) noexcept : slabs_(&slabs) {}
  Chain(Chain&& other) noexcept
      : slabs_(other.slabs_),
        head_(std::exchange(other.head_, nullptr)),
        tail_(std::exchange(other.tail_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Chain& operator=(Chain&& other) noexcept {
    std::swap(slabs_, other.slabs_);
    std::swap(head_, other.head_);
    std::swap(tail_, other.tail_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Chain() { clear(); }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  // Shares the slab of long Bytes, copies anything else.
  void append(const Bytes& bytes);
  void append(std::string_view text) { copy(text.data(), text.size()); }
  void copy(const char* data, std::size_t size) {
    char* room = tail_room(size);
    if (room != nullptr) {
      std::memcpy(room, data, size);
      commit(size);
    } else {
      copy_slowly(data, size);
    }
  }

  // At least `size` (<= 16 KiB) contiguous writable bytes at the end; commit() says how many were
  // used. Nothing else may touch the chain in between.
  char* reserve(std::size_t size);
  void commit(std::size_t size) noexcept {
    tail_->end += static_cast<std::uint32_t>(size);
    size_ += size;
  }

  // Fills `out` with the first pieces; returns how many.
  std::size_t peek(iovec* out, std::size_t room) const noexcept;
  // Shares of the slabs of those pieces, so that their bytes stay when the chain drops them.
  std::size_t hold(SlabRef* out, std::size_t room) const noexcept;
  // The first contiguous piece. Precondition: !empty().
  [[nodiscard]] Bytes front() const noexcept;
  // Drops that many bytes from the front. Precondition: count <= size().
  void consume(std::size_t count) noexcept;
  void clear() noexcept;
  // Moves everything of `other` behind ours without copying.
  void splice(Chain& other) noexcept;
  // Moves that many bytes from our front behind those of `other`; long pieces without copying.
  // Precondition: count <= size().
  void move(std::size_t count, Chain& other);

 private:
  // Shorter parts are cheaper to copy than to send as a piece of their own; and a part must be at
  // least a quarter of its slab, so that what a chain keeps alive is at most four times its size.
  static constexpr std::size_t share_from = 4 << 10;

  char* tail_room(std::size_t size) noexcept {
    if (tail_ == nullptr || !tail_->ours || tail_->slab->capacity - tail_->end < size)
      return nullptr;
    return tail_->slab->data() + tail_->end;
  }
  void copy_slowly(const char* data, std::size_t size);
  void share(Slab& slab, std::size_t begin, std::size_t size);
  void push(Segment* segment) noexcept;
  void pop() noexcept;

  Slabs* slabs_;
  Segment* head_ = nullptr;
  Segment* tail_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace proxycore::base
