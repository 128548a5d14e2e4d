// The first bytes of a connection that should speak TLS, whole and in pieces.
//
// Claims: cutting changes nothing; no more is kept than the bound; what was read lies within the
// message, and its lists have whole members.

#include "tls/client_hello.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace proxycore;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

void require_within(std::string_view part, std::string_view whole) {
  if (part.empty()) return;
  require(part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size(),
          "what was read lies within the message");
}

void check_message(std::string_view message) {
  const auto hello = tls::parse_client_hello(message);
  if (!hello) return;
  require_within(hello->server_name, message);
  require_within(hello->alpn, message);
  require_within(hello->signature_algorithms, message);
  require_within(hello->versions, message);
  require(hello->signature_algorithms.size() % 2 == 0, "signature algorithms have two bytes");
  require(hello->versions.size() % 2 == 0, "versions have two bytes");
  static_cast<void>(hello->has_protocol("h2"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_message(input);  // without records around it

  tls::ClientHelloReader whole;
  const auto taken = whole.feed(input);
  require(whole.message().size() <= tls::ClientHelloReader::max_message, "what is kept is bounded");

  tls::ClientHelloReader pieces;
  std::size_t total = 0;
  bool failed = false;
  for (std::size_t at = 0; at < size && !failed; ++at) {
    const auto one = pieces.feed(input.substr(at, 1));
    failed = !one;
    if (one) total += *one;
  }
  // What stands behind the message in its record is seen as soon as it is whole.
  require(failed == !taken.has_value(), "cutting the input changes nothing");
  require(failed || pieces.message() == whole.message(), "cutting the input changes no message");
  require(failed || total == *taken, "cutting the input changes no count");
  require(pieces.is_http() == whole.is_http(), "cutting does not make it HTTP");
  if (whole.complete()) check_message(whole.message());
  return 0;
}
