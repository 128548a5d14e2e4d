// HttpClient: blocking HTTP and HTTPS requests of the control plane: to CAs, DNS vendors, webhooks.
//
// HTTP/1.1 by the same codec and TLS engine as the data plane, over sockets that wait under a
// Deadline. Connections are kept alive for a moment; a kept one that turns out to have ended is
// replaced once, without a word. Redirects are not followed, and a proxy is used if one is given,
// never because of the environment. Errors name the server; neither paths, queries, header fields
// nor bodies are in them.
// Source: RFC 9110, RFC 9112. Owner: whoever sends. Thread: one call at a time; many may exist.
#pragma once

#include "base/chain.h"
#include "client/proxy.h"
#include "client/url.h"
#include "http/h1_codec.h"
#include "io/blocking.h"
#include "tls/context.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::client {

struct Header {
  std::string name;
  std::string value;
};

struct Request {
  std::string method = "GET";
  std::string url;
  // Host, Content-Length, Connection and User-Agent come by themselves.
  std::vector<Header> headers = {};
  std::string body = {};
};

struct Response {
  std::uint16_t status = 0;
  std::vector<Header> headers = {};
  std::string body = {};

  // The first of that name, any case; empty: none.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
};

class HttpClient {
 public:
  struct Options {
    std::shared_ptr<const tls::Authorities> authorities = {};  // null: the system's
    std::string user_agent = {};                               // empty: "proxycore/<version>"
    std::size_t response_limit = std::size_t{4} << 20;         // bytes of a response's body
    std::optional<Proxy> proxy = {};                           // that everything goes through
  };
  static constexpr std::size_t max_kept = 8;  // idle connections, each to another server
  static constexpr Millis keep_for{15'000};   // unused; servers end them later than that

  HttpClient();
  explicit HttpClient(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any response is a success, whatever its status. Errors: invalid (url, method, a header),
  // not_found (no such host), refused, closed, protocol, limit (the response is too large), denied
  // (the certificate, with why; by the proxy), timeout, cancelled, busy (name service), io.
  Result<Response> send(const Request& request, const Deadline& by);

 private:
  class Connection;

  std::unique_ptr<Connection> take_kept(const Url& url);
  Result<std::unique_ptr<Connection>> connect(const Url& url, const Deadline& by);
  Result<io::Fd> socket_to(const Url& url, const Deadline& by);
  Result<tls::ClientContext*> tls_context();
  void keep(std::unique_ptr<Connection> connection);

  Options options_;
  base::Slabs slabs_;
  http::Limits limits_;
  http::H1Parsers parsers_;
  io::Poll poll_;
  std::unique_ptr<tls::ClientContext> tls_;        // made when it is first needed
  std::vector<std::unique_ptr<Connection>> kept_;  // the last used last
};

// How many seconds the response asks to wait (RFC 9110 §10.2.3), whether as a number or as a date
// after `now_s`. nullopt: it does not say, or nothing that makes sense.
std::optional<std::uint32_t> retry_after(const Response& response, std::int64_t now_s);

}  // namespace proxycore::client
