// ClientHello: what a server has to know of a client before it can choose a certificate.
// ClientHelloReader: finds one in the first bytes of a connection.
//
// Reads only; mbedTLS reads the same message again and has the last word on it. No copy of it is
// made but the reader's own, no matter how it was cut into records and packets.
// Source: RFC 8446 §4.1.2, §4.2, §5.1; RFC 5246 §7.4.1.2; RFC 6066 §3; RFC 7301 §3.1.
// Thread: any; pure.
#pragma once

#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace proxycore::tls {

// Views into the message that it was read from. Lists are as they were on the wire.
struct ClientHello {
  std::string_view server_name;           // as the client wrote it; empty: named none
  std::string_view alpn;                  // names, each behind a byte of length
  std::string_view signature_algorithms;  // two bytes each
  std::string_view versions;              // two bytes each; empty before TLS 1.3
  std::uint16_t legacy_version = 0;       // 0x0303 for TLS 1.2 and 1.3

  [[nodiscard]] bool has_protocol(std::string_view name) const noexcept;
  [[nodiscard]] bool has_signature_algorithm(std::uint16_t id) const noexcept;
  [[nodiscard]] bool has_version(std::uint16_t id) const noexcept;
};

// `message`: a whole handshake message, its 4 bytes of header included.
// Errors: protocol (what is wrong).
Result<ClientHello> parse_client_hello(std::string_view message);

// Puts the message together again from records.
class ClientHelloReader {
 public:
  // The most a message may have, so that it fits one record. Real ones have 200 to 2500 bytes.
  static constexpr std::size_t max_message = 16384;

  // Takes the bytes up to the message's end, returns how many those were.
  // Errors: protocol (not TLS, or no ClientHello), limit (a longer message). Nothing may follow.
  Result<std::size_t> feed(std::string_view bytes);
  [[nodiscard]] bool complete() const noexcept;
  // The message so far, without record headers.
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  // Whether the bytes that were fed are the beginning of a request in plain HTTP/1.
  [[nodiscard]] bool is_http() const noexcept { return is_http_; }

 private:
  std::string message_;
  char header_[5] = {};           // of the record that is being read
  std::uint8_t header_size_ = 0;  // bytes of it that are there
  bool is_http_ = false;
  std::uint16_t left_ = 0;  // bytes of the record's content that are not there yet
};

}  // namespace proxycore::tls
