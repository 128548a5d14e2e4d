#include "base/chain.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore::base;

namespace {
std::string text_of(const Chain& chain) {
  iovec pieces[64];
  const std::size_t count = chain.peek(pieces, 64);
  std::string all;
  for (std::size_t i = 0; i < count; ++i) {
    all.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return all;
}
}  // namespace

TEST_CASE("chain: short parts are copied behind each other, into one piece") {
  Slabs slabs;
  Chain chain(slabs);
  chain.append("HTTP/1.1 200 OK\r\n");
  chain.append("\r\n");
  iovec pieces[4];
  CHECK(chain.peek(pieces, 4) == 1);
  CHECK(text_of(chain) == "HTTP/1.1 200 OK\r\n\r\n");
  CHECK(chain.size() == 19);
}

TEST_CASE("chain: long parts of a slab are shared, not copied") {
  Slabs slabs;
  SlabRef slab = slabs.take(64 << 10);
  std::memset(slab->data(), 'x', slab->capacity);
  Chain chain(slabs);
  chain.append("head");
  chain.append(Bytes(slab->data() + 10, 50000, slab.get()));
  chain.append("tail");
  CHECK_FALSE(slab.sole());
  iovec pieces[4];
  REQUIRE(chain.peek(pieces, 4) == 3);
  CHECK(pieces[1].iov_base == slab->data() + 10);
  CHECK(text_of(chain) == "head" + std::string(50000, 'x') + "tail");
  chain.consume(4 + 50000);
  CHECK(slab.sole());
  CHECK(text_of(chain) == "tail");
}

TEST_CASE("chain: consuming everything gives the slabs back") {
  Slabs slabs;
  {
    Chain chain(slabs);
    const std::string much(1 << 20, 'y');
    chain.append(Bytes(much));
    CHECK(text_of(chain) == much);
    chain.consume(1000);
    CHECK(chain.size() == much.size() - 1000);
    chain.consume(chain.size());
    CHECK(chain.empty());
  }
  const std::size_t before = slabs.allocated();
  SlabRef again = slabs.take(64 << 10);
  CHECK(slabs.allocated() == before);
}

TEST_CASE("chain: splice moves pieces and leaves the other empty") {
  Slabs slabs;
  Chain a(slabs);
  Chain b(slabs);
  a.append("one ");
  b.append("two");
  a.splice(b);
  CHECK(b.empty());
  CHECK(text_of(a) == "one two");
  b.append("again");
  CHECK(text_of(b) == "again");
}

TEST_CASE("chain: move takes from the front, long pieces in the slab they lie in") {
  Slabs slabs;
  Chain from(slabs);
  Chain to(slabs);
  to.append("begin ");
  const std::string text(40 << 10, 'x');
  from.append("short ");
  from.append(std::string_view{text});
  const std::size_t before = slabs.allocated();
  from.move(6 + (16 << 10), to);
  CHECK(from.size() == text.size() - (16 << 10));
  CHECK(slabs.allocated() == before);
  from.append("behind");
  from.move(from.size(), to);
  CHECK(from.empty());
  CHECK(text_of(to) == "begin short " + text + "behind");
}

TEST_CASE("chain: what was reserved and not committed is not there") {
  Slabs slabs;
  Chain chain(slabs);
  char* room = chain.reserve(100);
  std::memcpy(room, "abc", 3);
  chain.commit(3);
  chain.append("def");
  CHECK(text_of(chain) == "abcdef");
  CHECK(chain.front().text() == "abcdef");
}

TEST_CASE(
    "chain: a part shorter than a quarter of its slab is copied, so that little is kept alive") {
  Slabs slabs;
  SlabRef slab = slabs.take(64 << 10);
  std::memset(slab->data(), 'x', slab->capacity);
  Chain chain(slabs);
  chain.append(Bytes(slab->data(), (16 << 10) - 1, slab.get()));
  CHECK(slab.sole());
  chain.append(Bytes(slab->data(), 16 << 10, slab.get()));
  CHECK_FALSE(slab.sole());
  SlabRef small = slabs.take(4 << 10);
  std::memset(small->data(), 'y', small->capacity);
  chain.append(Bytes(small->data(), 4095, small.get()));  // a piece of its own would cost more
  CHECK(small.sole());
  chain.append(Bytes(small->data(), 4096, small.get()));
  CHECK_FALSE(small.sole());
  CHECK(text_of(chain) == std::string((32 << 10) - 1, 'x') + std::string(8191, 'y'));
}

TEST_CASE("chain: what stands behind a shared part does not touch the slab") {
  Slabs slabs;
  SlabRef slab = slabs.take(16 << 10);
  std::memset(slab->data(), 'x', slab->capacity);
  Chain chain(slabs);
  chain.append(Bytes(slab->data(), 8 << 10, slab.get()));
  chain.append("behind");
  CHECK(slab->data()[8 << 10] == 'x');
  CHECK(text_of(chain) == std::string(8 << 10, 'x') + "behind");
}

TEST_CASE("chain: a part of one chain may be shared with another, which outlives it") {
  Slabs slabs;
  Chain to(slabs);
  {
    Chain from(slabs);
    from.append(std::string(20'000, 'a'));
    to.append(from.front());
    from.append("behind");  // goes where the first chain has room, not into what was shared
    from.consume(from.size());
  }
  Chain other(slabs);
  other.append(std::string(20'000, 'b'));
  CHECK(text_of(to) == std::string(20'000, 'a'));
}

TEST_CASE("chain: bytes of the largest slab that travel through many chains cost one slab") {
  Slabs slabs;
  SlabRef slab = slabs.take(256 << 10);
  const std::size_t before = slabs.allocated();
  Chain first(slabs);
  Chain second(slabs);
  for (int i = 0; i < 100; ++i) {
    first.append(Bytes(slab->data(), slab->capacity, slab.get()));
    second.append(first.front());
    first.consume(first.size());
  }
  CHECK(second.size() == 100u * slab->capacity);
  CHECK(slabs.allocated() == before);
}

TEST_CASE("chain: peek gives no more pieces than there is room for, consume crosses them") {
  Slabs slabs;
  SlabRef slab = slabs.take(4 << 10);
  std::memset(slab->data(), 'x', slab->capacity);
  Chain chain(slabs);
  for (int i = 0; i < 5; ++i) chain.append(Bytes(slab->data(), 4096, slab.get()));
  iovec pieces[3];
  CHECK(chain.peek(pieces, 3) == 3);
  chain.consume(4096 + 4096 + 1);
  CHECK(chain.size() == 2 * 4096 + 4095);
  CHECK(chain.front().size == 4095);
  CHECK(chain.peek(pieces, 3) == 3);
}

TEST_CASE("chain: who holds the first pieces keeps their bytes") {
  Slabs slabs;
  SlabRef held[3];
  Chain chain(slabs);
  chain.append(std::string(100'000, 'a'));  // in two pieces
  CHECK(chain.hold(held, 3) == 2);
  const char* const bytes = chain.front().data;
  chain.clear();
  chain.append(std::string(100'000, 'b'));
  CHECK(*bytes == 'a');
  CHECK(held[0].sole());
  CHECK_FALSE(held[2]);
}

TEST_CASE("chain: moves, and is empty after it") {
  Slabs slabs;
  Chain first(slabs);
  first.append("text");
  Chain second(std::move(first));
  CHECK(first.empty());
  CHECK(text_of(second) == "text");
  first.append("new");
  second = std::move(first);
  CHECK(text_of(second) == "new");
}

TEST_CASE("chain: reserved room may be larger than what is left, and than the smallest slab") {
  Slabs slabs;
  Chain chain(slabs);
  chain.append(std::string(4'000, 'a'));
  char* room = chain.reserve(16 << 10);
  std::memset(room, 'b', 16 << 10);
  chain.commit(16 << 10);
  chain.reserve(8'000);  // nothing is committed
  chain.append("c");
  CHECK(text_of(chain) == std::string(4'000, 'a') + std::string(16 << 10, 'b') + "c");
  chain.consume(4'000 + (16 << 10));
  CHECK(chain.front().text() == "c");
}

TEST_CASE("slabs: the smallest that holds a size, used again when it comes back") {
  Slabs slabs;
  Slab* first = nullptr;
  {
    const SlabRef slab = slabs.take(5'000);
    CHECK(slab->capacity == 16 << 10);
    first = slab.get();
  }
  CHECK(slabs.take(16 << 10).get() == first);
  CHECK(slabs.take(1)->capacity == 4 << 10);
  CHECK(slabs.take(256 << 10)->capacity == 256 << 10);
}

TEST_CASE("slabs: free ones are kept up to a bound, the others go back to the system") {
  Slabs slabs;
  {
    std::vector<SlabRef> many;
    for (int i = 0; i < 100; ++i) many.push_back(slabs.take(256 << 10));
    CHECK(slabs.allocated() == 100u * (256 << 10));
  }
  CHECK(slabs.allocated() == Slabs::kept_per_class);
}

TEST_CASE("slabs: a share counts, a moved one does not") {
  Slabs slabs;
  SlabRef one = slabs.take(100);
  CHECK(one.sole());
  SlabRef two = one;
  CHECK_FALSE(one.sole());
  SlabRef three = std::move(two);
  CHECK_FALSE(two);
  three.release();
  CHECK(one.sole());
  CHECK_FALSE(three.sole());
}
