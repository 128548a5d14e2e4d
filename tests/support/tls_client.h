// A blocking HTTPS client by OpenSSL: one connection, one request. Verifies nothing, but tells what
// it was shown. Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct ssl_session_st;

namespace proxycore::test {

struct TlsVisit {
  std::vector<std::string> names;  // of the certificate: its DNS names
  bool resumed = false;
  std::string reply;                        // everything up to the end
  std::shared_ptr<ssl_session_st> session;  // to resume; null: none was given
};

// Connects to 127.0.0.1, asks for `server_name` ("" names nobody) and sends `request`, whose answer
// has to end the connection. A handshake that fails leaves `names` empty.
TlsVisit visit(std::uint16_t port, const std::string& server_name, std::string_view request,
               const std::shared_ptr<ssl_session_st>& resume = {});

}  // namespace proxycore::test
