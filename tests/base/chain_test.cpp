#include "base/chain.h"

#include <string>

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
