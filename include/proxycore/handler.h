// Handler: answer requests yourself instead of forwarding them.
//
// A handler gets whole requests (bodies are collected up to a bound) and answers now or later,
// once, from any thread, through the Responder it was given; bit by bit, if it wants to. Mount it
// with Server::mount(). The server's own metrics and health pages are handlers too. Source: RFC
// 9110. Thread: handle() runs on a worker's loop and must not block.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore {

struct Request {
  std::string method;  // "GET"; case-sensitive (RFC 9110 §9.1)
  std::string target;  // origin form, as received: "/a?b=c"
  std::string host;    // canonical host name, no port
  std::vector<std::pair<std::string, std::string>> fields;  // in order, names as received
  std::string body;
  std::string client_address;  // "192.0.2.1"; behind trusted proxies the one they report
  bool tls = false;

  // The first field of that name (ASCII case-insensitive), or nullptr.
  [[nodiscard]] const std::string* field(std::string_view name) const noexcept;
  // `target` up to '?'.
  [[nodiscard]] std::string_view path() const noexcept;
  [[nodiscard]] std::string_view query() const noexcept;
};

struct Response {
  int status = 200;  // 200..599
  // Content-Length and Connection are the server's business and are dropped from here.
  std::vector<std::pair<std::string, std::string>> fields = {};
  std::string body = {};
};

// A response whose body comes bit by bit, as events do. Destroyed, it ends. Any thread.
class ResponseStream {
 public:
  static constexpr std::size_t max_waiting = std::size_t{256} << 10;  // bytes

  virtual ~ResponseStream() = default;
  // false: the client has gone, or has let max_waiting bytes wait: then it is cut off. Nothing that
  // is written after that is sent.
  virtual bool write(std::string part) = 0;
};

// The one chance to answer a request. Destroyed unused, it answers 500. Any thread.
class Responder {
 public:
  class Sink {  // implemented by the server
   public:
    virtual ~Sink() = default;
    virtual void respond(Response response) = 0;
    virtual std::unique_ptr<ResponseStream> begin(Response head) = 0;
  };
  explicit Responder(std::unique_ptr<Sink> sink) : sink_(std::move(sink)) {}
  Responder(Responder&&) = default;
  Responder& operator=(Responder&&) = default;
  ~Responder();

  // Once, one of both; what comes after that does nothing.
  void respond(Response response);
  // `head` with its body, if any, goes out at once. nullptr: it was answered before.
  std::unique_ptr<ResponseStream> begin(Response head);

 private:
  std::unique_ptr<Sink> sink_;
};

class Handler {
 public:
  virtual ~Handler() = default;
  virtual void handle(Request request, Responder responder) = 0;
  // Largest body it takes, bytes; more is answered 413 without calling it.
  [[nodiscard]] virtual std::size_t max_body() const noexcept { return std::size_t{1} << 20; }
};

}  // namespace proxycore
