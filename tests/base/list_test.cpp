#include "base/list.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore::base;

namespace {

struct Colour;
struct Item : ListNode<>, ListNode<Colour> {
  explicit Item(char letter) : name(letter) {}
  char name;
};

template <class Tag>
std::string names(List<Item, Tag>& list) {
  std::string all;
  list.for_each([&](Item& item) { all += item.name; });
  return all;
}

}  // namespace

TEST_CASE("list: keeps the order of both ends") {
  List<Item> list;
  Item a('a');
  Item b('b');
  Item c('c');
  CHECK(list.empty());
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  CHECK(names(list) == "abc");
  CHECK(list.front().name == 'a');
  CHECK(list.back().name == 'c');
  CHECK(list.pop_front().name == 'a');
  CHECK_FALSE(static_cast<ListNode<>&>(a).linked());
  CHECK(names(list) == "bc");
}

TEST_CASE("list: an item that dies leaves it") {
  List<Item> list;
  Item a('a');
  Item c('c');
  list.push_back(a);
  {
    Item b('b');
    list.push_back(b);
    list.push_back(c);
    CHECK(names(list) == "abc");
  }
  CHECK(names(list) == "ac");
}

TEST_CASE("list: an item is in one place: pushing moves it") {
  List<Item> list;
  List<Item> other;
  Item a('a');
  Item b('b');
  list.push_back(a);
  list.push_back(b);
  list.push_back(a);
  CHECK(names(list) == "ba");
  other.push_front(b);
  CHECK(names(list) == "a");
  CHECK(names(other) == "b");
}

TEST_CASE("list: what is at an end already may be put there again") {
  List<Item> list;
  Item a('a');
  Item b('b');
  list.push_front(a);
  list.push_front(a);
  list.push_back(a);
  CHECK(names(list) == "a");
  list.push_back(b);
  list.push_back(b);
  list.push_front(a);
  CHECK(names(list) == "ab");
}

TEST_CASE("list: one item may stand in a list per tag") {
  List<Item> list;
  List<Item, Colour> colours;
  Item a('a');
  Item b('b');
  list.push_back(a);
  list.push_back(b);
  colours.push_back(b);
  colours.push_back(a);
  static_cast<ListNode<>&>(a).unlink();
  CHECK(names(list) == "b");
  CHECK(names(colours) == "ba");
}

TEST_CASE("list: unlinking twice is unlinking once") {
  List<Item> list;
  Item a('a');
  list.push_back(a);
  static_cast<ListNode<>&>(a).unlink();
  static_cast<ListNode<>&>(a).unlink();
  CHECK(list.empty());
}

TEST_CASE("list: splice takes all items behind its own") {
  List<Item> list;
  List<Item> other;
  Item a('a');
  Item b('b');
  Item c('c');
  list.push_back(a);
  other.push_back(b);
  other.push_back(c);
  list.splice(other);
  CHECK(names(list) == "abc");
  CHECK(other.empty());
  list.splice(other);
  CHECK(names(list) == "abc");
}

TEST_CASE("list: for_each lets the visitor destroy the item it is given") {
  List<Item> list;
  std::vector<std::unique_ptr<Item>> items;
  for (const char name : {'a', 'b', 'c', 'd'}) {
    items.push_back(std::make_unique<Item>(name));
    list.push_back(*items.back());
  }
  list.for_each([&](Item& item) {
    if (item.name != 'c') items[static_cast<std::size_t>(item.name - 'a')].reset();
  });
  CHECK(names(list) == "c");
}

TEST_CASE("list: its items survive it, unlinked") {
  Item a('a');
  Item b('b');
  {
    List<Item> list;
    list.push_back(a);
    list.push_back(b);
  }
  CHECK_FALSE(static_cast<ListNode<>&>(a).linked());
  CHECK_FALSE(static_cast<ListNode<>&>(b).linked());
}
