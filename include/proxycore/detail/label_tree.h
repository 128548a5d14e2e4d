// The inside of HostTrie<T> that does not depend on T: an arena, a hash table of ids, and the tree
// of labels that finds the best pattern with wildcards.
//
// Not for use on its own; the rules of matching are told in host_trie.h. Objects are named by
// 32-bit ids, offsets into an arena that only grows, because a pointer is twice as large.
// Thread: as HostTrie.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore {

inline constexpr std::size_t max_host_name = 253;    // bytes of a name or pattern
inline constexpr std::size_t max_host_label = 63;    // bytes of one label
inline constexpr std::size_t max_host_labels = 127;  // follows from max_host_name

// What became of a label in a match; the better first. `more`: taken by the `**` before it, which
// goes on.
enum class LabelFit : std::uint8_t { exact, star, double_star, more, none };

// How a match went.
struct MatchTrace {
  std::size_t steps = 0;  // choices looked at; at most about labels x nodes
  std::size_t labels = 0;
  std::array<LabelFit, max_host_labels> fits = {};  // counted from the right
};

namespace detail {

// Memory of whole large pages, where the system has them: among a million names the translation of
// addresses costs as much as fetching what is there.
struct LargePages {
  static constexpr std::size_t size = std::size_t{2} << 20;
  static void* allocate(std::size_t bytes);  // lib/host/large_pages.cpp
  static void free(void* memory) noexcept { ::operator delete (memory, std::align_val_t{size}); }
  struct Free {
    void operator()(std::byte* memory) const noexcept { free(memory); }
  };
};

template <class T>
struct LargePagesAllocator {
  using value_type = T;
  T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    return static_cast<T*>(bytes >= LargePages::size ? LargePages::allocate(bytes)
                                                     : ::operator new(bytes));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    if (count * sizeof(T) >= LargePages::size) {
      LargePages::free(memory);
    } else {
      ::operator delete(memory);
    }
  }
  friend bool operator==(LargePagesAllocator, LargePagesAllocator) noexcept { return true; }
};

// Objects with a text behind them, in chunks that never move. An id is the offset in units of 4
// bytes; 0 is nobody's.
class Arena {
 public:
  [[nodiscard]] bool has_room(std::size_t bytes) const noexcept {
    return chunks_.size() + bytes / chunk_size + 2 <= max_chunks;
  }
  // Memory for `size` bytes at a multiple of `alignment`.
  std::uint32_t allocate(std::size_t size, std::size_t alignment) {
    std::size_t at = (used_ + alignment - 1) & ~(alignment - 1);
    if (chunks_.empty() || at + size > chunk_size) {
      add_chunk();
      at = chunks_.size() == 1 ? alignof(std::max_align_t) : 0;  // no id is 0
    }
    used_ = (at + size + 3) & ~std::size_t{3};
    return static_cast<std::uint32_t>((chunks_.size() - 1) * (chunk_size / 4) + at / 4);
  }
  template <class U>
  [[nodiscard]] U* at(std::uint32_t id) const noexcept {
    return std::launder(reinterpret_cast<U*>(raw(id)));
  }
  [[nodiscard]] std::byte* raw(std::uint32_t id) const noexcept {
    return chunks_[id / (chunk_size / 4)] + std::size_t{id % (chunk_size / 4)} * 4;
  }

 private:
  static constexpr std::size_t chunk_size = std::size_t{64} * 1024;
  static constexpr std::size_t max_chunks = (std::size_t{1} << 32) / (chunk_size / 4);
  static constexpr std::size_t small_chunks = LargePages::size / chunk_size;

  // The first ones by themselves, then as many as make a large page.
  void add_chunk() {
    if (chunks_.size() < small_chunks) {
      small_.push_back(std::make_unique_for_overwrite<std::byte[]>(chunk_size));
      chunks_.push_back(small_.back().get());
      return;
    }
    if (chunks_.size() % small_chunks == 0) {
      large_.emplace_back(static_cast<std::byte*>(LargePages::allocate(LargePages::size)));
    }
    chunks_.push_back(large_.back().get() + chunks_.size() % small_chunks * chunk_size);
  }

  std::vector<std::byte*> chunks_;
  std::vector<std::unique_ptr<std::byte[]>> small_;
  std::vector<std::unique_ptr<std::byte, LargePages::Free>> large_;
  std::size_t used_ = 0;  // of the last chunk
};

// Ids by hash: open addressing, linear probing, at most 3/4 full. The whole hash is kept beside
// the id, so that probing seldom and growing never touches what the ids stand for.
class Table {
 public:
  template <class Same>
  [[nodiscard]] std::uint32_t find(std::uint32_t tag, Same&& same) const noexcept {
    if (slots_.empty()) return 0;
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = tag & mask; slots_[at].id != 0; at = (at + 1) & mask) {
      if (slots_[at].tag == tag && same(slots_[at].id)) return slots_[at].id;
    }
    return 0;
  }
  // Precondition: it is not in there.
  void insert(std::uint32_t tag, std::uint32_t id) {
    if (4 * (size_ + 1) > 3 * slots_.size()) {
      std::vector<Slot, LargePagesAllocator<Slot>> old(std::max<std::size_t>(8, 2 * slots_.size()));
      old.swap(slots_);
      for (const Slot& slot : old) {
        if (slot.id != 0) place(slot);
      }
    }
    place({tag, id});
    ++size_;
  }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.id != 0) visit(slot.id);
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t id = 0;  // 0: empty
  };
  void place(Slot slot) noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = slot.tag & mask;
    while (slots_[at].id != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
  std::vector<Slot, LargePagesAllocator<Slot>> slots_;
  std::size_t size_ = 0;
};

inline std::uint64_t process_seed() {
  static const std::uint64_t seed = [] {
    std::random_device random;
    return (std::uint64_t{random()} << 32) ^ random();
  }();
  return seed;
}
// Seeded, so that nobody can choose names that collide.
inline std::uint32_t hash(std::string_view text, std::uint64_t seed) noexcept {
  const char* at = text.data();
  std::size_t left = text.size();
  std::uint64_t sum = seed + left * 0x9e3779b97f4a7c15ULL;
  const auto add = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * 0xd6e8feb86659fd93ULL;
    sum ^= sum >> 32;
  };
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    add(word);
  }
  if (left >= 4) {  // two words that may overlap
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    std::memcpy(&head, at, 4);
    std::memcpy(&tail, at + left - 4, 4);
    add((std::uint64_t{head} << 32) | tail);
  } else if (left > 0) {
    const auto byte = [at](std::size_t i) {
      return std::uint64_t{static_cast<unsigned char>(at[i])};
    };
    add(byte(0) | (byte(left / 2) << 8) | (byte(left - 1) << 16));
  }
  add(seed);
  return static_cast<std::uint32_t>(sum);
}
// The labels of a name from the right, cut off only as far as somebody asks.
class Labels {
 public:
  // Precondition: 1..max_host_name bytes.
  explicit Labels(std::string_view name) noexcept : name_(name), end_(name.size() + 1) {}

  // Whether there is a label `i`; at most one beyond those known already.
  bool has(std::size_t i) noexcept {
    if (i < size_) return true;
    if (end_ == 0) return false;
    std::size_t at = end_ - 1;
    while (at > 0 && name_[at - 1] != '.') --at;
    cuts_[size_++] = {static_cast<std::uint8_t>(at), static_cast<std::uint8_t>(end_ - 1 - at)};
    end_ = at;
    return true;
  }
  [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept {
    return {name_.data() + cuts_[i].at, cuts_[i].size};
  }

 private:
  struct Cut {
    std::uint8_t at;
    std::uint8_t size;
  };
  std::string_view name_;
  std::size_t end_;  // one behind the dot that ends the next label; 0: there is none
  std::size_t size_ = 0;
  // One more than the longest name has, for an empty label behind them. Filled as needed.
  std::array<Cut, max_host_labels + 1> cuts_;
};

// The patterns with wildcards, label by label from the right.
class LabelTree {
 public:
  explicit LabelTree(std::uint64_t seed) noexcept : seed_(seed) {}

  [[nodiscard]] bool has_room() const noexcept {
    return arena_.has_room((sizeof(Node) + alignof(Node)) * max_host_labels + max_host_name);
  }
  // Lets `pattern`, which has the shape of a pattern and is not in here, stand for `entry` (not 0).
  void add(std::string_view pattern, std::uint32_t entry);
  // The entry of the best match that `accept(entry)` takes, 0 if there is none. `host` is any text.
  template <class Accept>
  std::uint32_t find(std::string_view host, MatchTrace* trace, Accept&& accept) const noexcept;

 private:
  struct Node {
    std::uint32_t parent = 0;
    std::uint32_t entry = 0;  // 0: no pattern ends here
    std::uint32_t star = 0;   // child nodes, 0: none
    std::uint32_t double_star = 0;
    bool has_exact = false;  // whether it is worth to look for exact children
    std::uint8_t size = 0;   // of the label, which follows
    [[nodiscard]] const char* text() const noexcept {
      return reinterpret_cast<const char*>(&size) + 1;
    }
    [[nodiscard]] std::string_view label() const noexcept { return {text(), size}; }
  };
  // One label deep in the walk: where we are, how we came, what to try next.
  struct Frame {
    std::uint32_t node;
    LabelFit came;
    LabelFit next;
    [[nodiscard]] bool in_double_star() const noexcept {
      return came == LabelFit::double_star || came == LabelFit::more;
    }
  };

  Node& node(std::uint32_t id) const noexcept { return *arena_.at<Node>(id); }
  std::uint32_t add_node(std::uint32_t parent, std::string_view label);
  [[nodiscard]] std::uint32_t edge_tag(std::uint32_t parent,
                                       std::string_view label) const noexcept {
    return hash(label, seed_ ^ (parent * 0x9e3779b97f4a7c15ULL));
  }
  std::uint32_t exact_child(std::uint32_t parent, std::string_view label,
                            std::uint32_t tag) const noexcept {
    return edges_.find(tag, [&](std::uint32_t child) {
      const Node& other = node(child);
      return other.parent == parent && other.label() == label;
    });
  }
  static bool entered_before(const Frame* frames, std::size_t depth, const Labels& labels,
                             std::size_t& steps) noexcept;

  std::uint64_t seed_;
  std::uint32_t root_ = 0;  // 0: empty
  Arena arena_;             // of nodes
  Table edges_;             // (parent, label) -> child
};

inline std::uint32_t LabelTree::add_node(std::uint32_t parent, std::string_view label) {
  const std::uint32_t id = arena_.allocate(sizeof(Node) + label.size(), alignof(Node));
  auto* made = new (arena_.raw(id)) Node;
  made->parent = parent;
  made->size = static_cast<std::uint8_t>(label.size());
  std::copy_n(label.data(), label.size(), const_cast<char*>(made->text()));
  return id;
}

inline void LabelTree::add(std::string_view pattern, std::uint32_t entry) {
  if (root_ == 0) root_ = add_node(0, {});
  std::uint32_t at = root_;
  Labels labels(pattern);
  for (std::size_t i = 0; labels.has(i); ++i) {
    const std::string_view label = labels[i];
    if (label == "*" || label == "**") {
      std::uint32_t Node::*const child = label.size() == 1 ? &Node::star : &Node::double_star;
      if (node(at).*child == 0) node(at).*child = add_node(at, label);
      at = node(at).*child;
      continue;
    }
    const std::uint32_t tag = edge_tag(at, label);
    std::uint32_t child = exact_child(at, label, tag);
    if (child == 0) {
      child = add_node(at, label);
      edges_.insert(tag, child);
      node(at).has_exact = true;
    }
    at = child;
  }
  node(at).entry = entry;
}

// Depth first, best choice first, so the first pattern that ends with the name is the best. Each
// step down takes one label, so the way back fits a fixed array.
template <class Accept>
std::uint32_t LabelTree::find(std::string_view host, MatchTrace* trace,
                              Accept&& accept) const noexcept {
  if (root_ == 0 || host.empty() || host.size() > max_host_name) return 0;
  Labels labels(host);
  std::array<Frame, max_host_labels + 1> frames;
  frames[0] = {root_, LabelFit::none, LabelFit::exact};
  std::size_t depth = 0;
  std::size_t steps = 0;
  std::uint32_t found = 0;
  while (true) {
    ++steps;
    Frame& here = frames[depth];
    const Node& at = node(here.node);
    const bool at_end = !labels.has(depth);
    if (at_end && at.entry != 0 && accept(at.entry)) {
      found = at.entry;
      break;
    }
    if (at_end || labels[depth].empty() || here.next == LabelFit::none) {
      if (depth == 0) break;
      --depth;
      continue;
    }
    const LabelFit fit = here.next;
    here.next = static_cast<LabelFit>(static_cast<int>(fit) + 1);
    std::uint32_t next = 0;
    switch (fit) {
      case LabelFit::exact:
        if (at.has_exact) {
          next = exact_child(here.node, labels[depth], edge_tag(here.node, labels[depth]));
        }
        break;
      case LabelFit::star:
        next = at.star;
        break;
      case LabelFit::double_star:
        if (at.double_star != 0 && !entered_before(frames.data(), depth, labels, steps)) {
          next = at.double_star;
        }
        break;
      case LabelFit::more:
        if (here.in_double_star()) next = here.node;
        break;
      case LabelFit::none:
        break;
    }
    if (next != 0) frames[++depth] = {next, fit, LabelFit::exact};
  }
  if (trace != nullptr) {
    trace->steps = steps;
    trace->labels = found != 0 ? depth : 0;
    for (std::size_t i = 0; i < trace->labels; ++i) trace->fits[i] = frames[i + 1].came;
  }
  return found;
}

// What makes the walk polynomial. A `**` that was entered once and led nowhere leads nowhere when
// entered with fewer labels left, because it could have gone on to there. The way to it from the
// `**` above has a fixed length, so it was entered before exactly if that way also fits the name
// some labels further right, within what the `**` above has swallowed; that is a comparison of the
// name with itself and needs no memory.
inline bool LabelTree::entered_before(const Frame* frames, std::size_t depth, const Labels& labels,
                                      std::size_t& steps) noexcept {
  std::size_t leave = depth;
  while (leave > 0 && !frames[leave].in_double_star()) --leave;
  if (leave == 0) return false;
  std::size_t enter = leave;
  while (frames[enter].came == LabelFit::more) --enter;
  for (std::size_t back = 1; back <= leave - enter; ++back) {
    std::size_t i = leave;
    while (i < depth && (frames[i + 1].came == LabelFit::star || labels[i] == labels[i - back]))
      ++i;
    steps += i - leave + 1;
    if (i == depth) return true;
  }
  return false;
}

}  // namespace detail
}  // namespace proxycore
