#include <proxycore/detail/label_tree.h>
#include <proxycore/host_trie.h>

#include <cstdint>
#include <memory>
#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using detail::LargePages;

TEST_CASE("large pages: memory begins with one, and can be used to its end") {
  for (const std::size_t bytes : {LargePages::size, 3 * LargePages::size, LargePages::size + 8}) {
    const std::unique_ptr<std::byte, LargePages::Free> memory(
        static_cast<std::byte*>(LargePages::allocate(bytes)));
    CHECK(reinterpret_cast<std::uintptr_t>(memory.get()) % LargePages::size == 0);
    memory.get()[0] = std::byte{1};
    memory.get()[bytes - 1] = std::byte{2};
  }
}

TEST_CASE("large pages: a trie that outgrows small chunks keeps every name") {
  HostTrie<int> trie;
  constexpr int many = 100'000;
  const auto name = [](int i) { return "name" + std::to_string(i) + ".example.test"; };
  for (int i = 0; i < many; ++i) REQUIRE(trie.insert(name(i), i));
  const HostTrie<int> moved = std::move(trie);
  for (int i = 0; i < many; ++i) REQUIRE(*moved.match(name(i)) == i);
}
