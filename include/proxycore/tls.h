// TlsConfig: how TLS is spoken to clients and to origins.
//
// The defaults are what current browsers and the recommendations of RFC 9325 agree on: TLS 1.2 and
// 1.3, forward secrecy, AEAD suites only. There is nothing to switch on that is known to be weak.
// Thread: a value.
#pragma once

#include <proxycore/deadline.h>

#include <cstdint>
#include <string>
#include <vector>

namespace proxycore {

enum class TlsVersion : std::uint8_t { tls_1_2, tls_1_3 };

struct TlsConfig {
  TlsVersion min_version = TlsVersion::tls_1_2;  // tls.min_version: "1.2" or "1.3"
  // tls.alpn: what is offered by ALPN (RFC 7301), the preferred first: "h2", "http/1.1".
  std::vector<std::string> alpn = {"h2", "http/1.1"};
  // tls.tickets: sessions can be resumed by tickets (RFC 8446 §4.6.1, RFC 5077).
  bool tickets = true;
  Millis ticket_lifetime{
      86'400'000};  // tls.ticket_lifetime: how long one is honoured, up to a week
  // tls.fallback_chain: PEM file of the certificate for names that have none. Empty: one is made at
  // the first start and kept in the store.
  std::string fallback_chain = {};
  std::string fallback_key = {};  // tls.fallback_key: PEM file of its private key
  // tls.public_port: what redirects to https say; 0: the port of the first https listener. For a
  // machine in front that maps ports.
  std::uint16_t public_port = 0;
  std::uint32_t certificates = 10'000;  // tls.certificates: parsed ones kept in memory
  Millis certificate_wait{10'000};      // tls.certificate_wait: what a handshake waits for one
  // tls.origin_ca: PEM file of the authorities that origins are verified by; empty: the system's.
  std::string origin_ca = {};
};

}  // namespace proxycore
