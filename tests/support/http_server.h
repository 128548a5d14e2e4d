// HttpServer: an HTTP/1.1 server for tests of clients, on a free loopback port, plain or over TLS.
//
// A thread per connection reads requests, asks the handler, and answers. It reads what our own
// client sends: heads with Content-Length. Handlers are called one at a time. Not here: strange
// peers, which tests play themselves on raw sockets (sockets.h). Thread: any.
#pragma once

#include "support/sockets.h"
#include <proxycore/cert.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace proxycore::test {

// A request.
struct Ask {
  std::string method;
  std::string target;  // as sent: "/a%20b?c=d"
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // The first of that name, any case; "": none.
  [[nodiscard]] std::string header(std::string_view name) const;
  [[nodiscard]] std::string path() const;  // "/a b"
  // Of the target's query, decoded; "": none.
  [[nodiscard]] std::string parameter(std::string_view name) const;
};

struct Reply {
  int status = 200;
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};  // beside Content-Length
  bool close = false;                                             // after it
  std::string raw = {};  // if not empty: sent as it is in place of all the above, then closed
};

class HttpServer {
 public:
  using Handler = std::function<Reply(const Ask&)>;
  struct Options {
    std::string ip = "127.0.0.1";
    CertBundle certificate = {};  // of its TLS; empty: plain
    std::string name = {};        // in url(); empty: the ip
  };
  explicit HttpServer(Handler handler) : HttpServer(std::move(handler), Options{}) {}
  HttpServer(Handler handler, Options options);
  // Ends all connections.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return door_.address.port(); }
  [[nodiscard]] std::string url(std::string_view target = "") const;  // "http://127.0.0.1:1234"
  // How many connections there were, and how many requests.
  [[nodiscard]] std::size_t connections() const { return connections_; }
  [[nodiscard]] std::size_t requests() const { return requests_; }

 private:
  class Visit;
  void accept();
  Reply answer(const Ask& ask);

  Handler handler_;
  const Options options_;
  Door door_;
  std::atomic<std::size_t> connections_{0};
  std::atomic<std::size_t> requests_{0};
  std::mutex asking_;
  std::mutex mutex_;  // of the two below
  bool ending_ = false;
  std::list<Visit> visits_;
  std::thread accepting_;
};

}  // namespace proxycore::test
