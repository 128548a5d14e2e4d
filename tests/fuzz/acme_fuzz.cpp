// What a CA sends: the objects of RFC 8555, problem documents, chains.
//
// Input: a byte that says which, then the content of the response.
// Claims: what is read is safe to go on with (urls are urls, tokens are base64url); what is not is
// the CA's fault, and problems are short; a chain that was put in order stays as it is.

#include "acme/objects.h"
#include "acme/problem.h"
#include "tls/issued.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace proxycore;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

template <class Object>
bool is_read(const Result<Object>& object) {
  if (!object) {
    require(object.error().code == Errc::protocol, "what makes no sense is the CA's fault");
    require(object.error().detail.size() < 4096, "the reason is short");
  }
  return object.has_value();
}

void require_url(const std::string& url) {
  require(acme::is_url(url), "a url is one");
}

void check_problem(const acme::Problem& problem) {
  require(problem.subproblems.size() <= 100 && problem.text().size() < 500'000, "it is bounded");
  require(problem.text().find('\n') == std::string::npos, "it is one line");
  static_cast<void>(acme::error_of(problem, 0));
}

void check_chain(std::string_view text) {
  const auto issued = tls::read_issued(text);
  if (!issued) {
    require(issued.error().code == Errc::invalid, "what is no chain is invalid");
    return;
  }
  const auto again = tls::read_issued(issued->chain_pem);
  require(again && again->chain_pem == issued->chain_pem, "a chain in order stays in order");
  require(again->names == issued->names && again->serial == issued->serial, "and is the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'd':
      if (const auto directory = acme::read_directory(rest); is_read(directory)) {
        require_url(directory->new_order);
        require_url(directory->new_nonce);
      }
      break;
    case 'a':
      static_cast<void>(is_read(acme::read_account(rest, "u")));
      break;
    case 'o':
      if (const auto order = acme::read_order(rest, "u"); is_read(order)) {
        require_url(order->finalize);
        for (const std::string& url : order->authorizations) require_url(url);
      }
      break;
    case 'z':
      if (const auto authorization = acme::read_authorization(rest, "u"); is_read(authorization)) {
        for (const acme::Challenge& challenge : authorization->challenges) {
          require_url(challenge.url);
          require(challenge.token.empty() || acme::is_base64url(challenge.token),
                  "tokens are safe");
          if (challenge.error) check_problem(*challenge.error);
        }
      }
      break;
    case 'r':
      if (const auto info = acme::read_renewal_info(rest); is_read(info)) {
        require(info->start < info->end, "a window has an inside");
      }
      break;
    case 'p':
      check_problem(acme::read_problem(rest, 400));
      break;
    default:
      check_chain(rest);
  }
  return 0;
}
