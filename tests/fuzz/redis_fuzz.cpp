// What a Redis server may send.
//
// Input: a byte that says how the rest is cut, then the bytes. Claims: nothing is read beyond them;
// the replies are the same however the bytes are cut; an error is the last word.

#include "redis/protocol.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace proxycore;
using redis::Replies;
using redis::Reply;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

void show(const Reply& reply, std::string& out) {
  out.append(std::to_string(static_cast<int>(reply.type))).append(std::to_string(reply.integer));
  out.append("(").append(reply.text);
  for (const Reply& item : reply.items) show(item, out);
  out.append(")");
}

std::string read(std::string_view bytes, std::size_t size) {
  Replies replies;
  std::string all;
  while (!bytes.empty()) {
    replies.feed(bytes.substr(0, size));
    bytes.remove_prefix(std::min(size, bytes.size()));
    for (;;) {
      auto next = replies.next();
      if (!next) {
        require(!replies.next(), "an error is the last word");
        return all.append(name_of(next.error().code));
      }
      if (!*next) break;
      show(**next, all);
    }
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  require(read(bytes, bytes.size()) == read(bytes, std::size_t{data[0]} + 1),
          "the replies are the same however they are cut");
  return 0;
}
