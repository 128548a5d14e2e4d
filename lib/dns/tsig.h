// TSIG: messages signed by a key that both sides know.
//
// Not here: where keys come from, updates themselves (rfc2136), HMAC (tls/digest).
// Source: RFC 8945. Thread: values.
#pragma once

#include "dns/message.h"
#include "tls/digest.h"
#include <proxycore/result.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::dns {

class TsigKey {
 public:
  static constexpr std::uint16_t fudge_s = 300;  // RFC 8945 §10

  // `name` as the server has it; `algorithm` "hmac-sha256" (sha1, sha224, sha384, sha512);
  // `secret` as base64. Errors: invalid (which of them, and what was expected).
  static Result<TsigKey> create(std::string_view name, std::string_view algorithm,
                                std::string_view secret);

  struct Signed {
    std::string wire;
    std::string mac;  // which the answer's is made over as well
  };
  // Precondition: `message` is well-formed and has no signature. Errors: io.
  [[nodiscard]] Result<Signed> sign(std::string_view message, std::int64_t now_s) const;

  // Whether `wire`, which `answer` was read from, is the answer to what was signed with `mac`.
  // Errors: denied (the server does not take our signature, or its own is not good; the clocks
  // differ; says which), io.
  [[nodiscard]] Result<void> verify(std::string_view wire, const Message& answer,
                                    std::string_view mac, std::int64_t now_s) const;

 private:
  TsigKey() = default;
  [[nodiscard]] Result<std::string> digest(std::string_view before, std::string_view message,
                                           std::string_view variables) const;

  std::string name_;  // as it is on the wire, as is the next
  std::string algorithm_;
  std::string shown_name_;
  tls::Hash hash_ = tls::Hash::sha256;
  std::string secret_;
};

}  // namespace proxycore::dns
