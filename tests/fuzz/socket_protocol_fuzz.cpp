// The lookup socket, from both sides: any client, any service.
//
// Input: a byte that says how the rest is cut, then the stream. Claims: the values are the same
// however it is cut; what is taken for a request or a reply is read again as it is written.

#include "lookup/socket_protocol.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

using namespace proxycore;

namespace {

constexpr std::size_t most = 256;

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

// false: the stream is of no use any more.
bool take(lookup::JsonStream& stream, std::vector<std::string>& values) {
  for (;;) {
    const auto value = stream.next();
    if (!value) {
      values.push_back(value.error().message());
      return false;
    }
    if (!*value) return true;
    require(!(*value)->empty() && (*value)->size() <= most, "a value has its bounds");
    values.emplace_back(**value);
  }
}

std::vector<std::string> values_of(std::string_view bytes, std::size_t step) {
  std::vector<std::string> values;
  lookup::JsonStream stream(most);
  while (!bytes.empty()) {
    stream.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    if (!take(stream, values)) return values;
  }
  stream.end();
  take(stream, values);
  return values;
}

void check(std::string_view text) {
  if (const auto request = lookup::LookupRequest::parse(text)) {
    std::string out;
    lookup::append_request(out, request->domain);
    const auto again = lookup::LookupRequest::parse(out);
    require(again && again->domain == request->domain, "a request is read as it was written");
  }
  if (const auto record = lookup::LookupReply::parse(text)) {
    std::string out;
    lookup::append_reply(out, *record);
    const auto again = lookup::LookupReply::parse(out);
    require(again && *again == *record, "a reply is read as it was written");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = std::size_t{data[0]} + 1;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = values_of(stream, std::max<std::size_t>(stream.size(), 1));
  require(values_of(stream, step) == whole, "the values do not depend on how the stream is cut");
  require(values_of(stream, 1) == whole, "nor on its coming byte by byte");
  for (const std::string& value : whole) check(value);
  return 0;
}
