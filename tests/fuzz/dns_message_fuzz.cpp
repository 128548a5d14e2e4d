// What a DNS server may answer.
//
// Claims: nothing is read beyond the message; no name is over 255 bytes on the wire; a name that
// was read can be asked for, and is the same then, unless it has bytes that no host name has; a
// signature lies within the message, and no message that nobody signed is taken for a signed one.

#include "dns/message.h"
#include "dns/tsig.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace proxycore;

namespace {

constexpr std::size_t max_shown_name = 4 * 255;  // every byte escaped

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

void check_name(const std::string& name) {
  require(name.size() <= max_shown_name, "no name is over 255 bytes");
  if (name.find('\\') != std::string::npos) return;
  const auto query = dns::make_query(1, {name, dns::Type::txt}, true);
  require(query.has_value(), "a name that was read can be asked for");
  const auto read = dns::Message::parse(*query);
  require(read && read->questions.front().name == name, "it is the same then");
}

void check_records(const std::vector<dns::Record>& records) {
  for (const dns::Record& record : records) {
    check_name(record.name);
    const bool is_name = record.type == dns::Type::ns || record.type == dns::Type::cname ||
                         record.type == dns::Type::soa;
    if (is_name) check_name(record.data);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const dns::TsigKey key = *dns::TsigKey::create("k", "hmac-sha256", "c2VjcmV0");
  const std::string wire(reinterpret_cast<const char*>(data), size);  // of that size exactly
  const auto message = dns::Message::parse(wire);
  if (!message) return 0;
  for (const dns::Question& question : message->questions) check_name(question.name);
  check_records(message->answers);
  check_records(message->authority);
  check_records(message->additional);
  if (message->signature) {
    require(message->signature->at < size, "a signature lies within the message");
    require(!key.verify(wire, *message, "none", 0), "nobody can sign without the key");
  }
  return 0;
}
