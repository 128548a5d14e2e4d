// Intrusive doubly linked list whose nodes unlink themselves when destroyed.
//
// Lives here: List<T>, ListNode. Used for everything that can be cancelled by destruction (waiters,
// timers) and for sets of connections. A type is a member of several lists by deriving from
// ListNode<Tag> several times. Neither owns anything. Thread: its worker's.
#pragma once

#include <cstddef>

namespace proxycore::base {

struct DefaultTag;

template <class Tag = DefaultTag>
class ListNode {
 public:
  ListNode() noexcept : previous_(this), next_(this) {}
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  [[nodiscard]] bool linked() const noexcept { return next_ != this; }
  void unlink() noexcept {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = this;
  }

 private:
  template <class T, class U>
  friend class List;
  ListNode* previous_;
  ListNode* next_;
};

template <class T, class Tag = DefaultTag>
class List {
 public:
  List() = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() {
    while (!empty()) head_.next_->unlink();
  }

  [[nodiscard]] bool empty() const noexcept { return !head_.linked(); }

  // Moves `item` to the end or the front, from wherever it was linked.
  void push_back(T& item) noexcept { insert_before(head_, item); }
  void push_front(T& item) noexcept {
    static_cast<ListNode<Tag>&>(item).unlink();  // it may be the one at the front
    insert_before(*head_.next_, item);
  }

  // Precondition: !empty().
  [[nodiscard]] T& front() noexcept { return owner(*head_.next_); }
  [[nodiscard]] T& back() noexcept { return owner(*head_.previous_); }
  T& pop_front() noexcept {
    T& item = front();
    static_cast<ListNode<Tag>&>(item).unlink();
    return item;
  }

  // Takes every item of `other`, in its order, behind ours.
  void splice(List& other) noexcept {
    while (!other.empty()) push_back(other.pop_front());
  }

  // `visit` may unlink or destroy the item it is given, no other.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (ListNode<Tag>* at = head_.next_; at != &head_;) {
      ListNode<Tag>* following = at->next_;
      visit(owner(*at));
      at = following;
    }
  }

 private:
  static T& owner(ListNode<Tag>& node) noexcept { return static_cast<T&>(node); }
  static void insert_before(ListNode<Tag>& place, T& item) noexcept {
    ListNode<Tag>& node = item;
    node.unlink();
    node.previous_ = place.previous_;
    node.next_ = &place;
    place.previous_->next_ = &node;
    place.previous_ = &node;
  }

  ListNode<Tag> head_;
};

}  // namespace proxycore::base
